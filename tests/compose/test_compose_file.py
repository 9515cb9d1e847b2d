"""compose.yaml by the letter: valid, every service confined, every variable known. `make compose-test` runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from worker.settings import describe

PROJECT = Path(__file__).parents[2]
FILES = ("compose.yaml", "compose.databricks.yaml")
COMPOSE = yaml.safe_load((PROJECT / "compose.yaml").read_text(encoding="utf-8"))
EXAMPLE = (PROJECT / ".env.example").read_text(encoding="utf-8")
SERVICES = ("redis", "localwarehouse", "worker", "flower")


class _Loader(yaml.SafeLoader):
    """Knows the tag by which one file takes out what another says."""


_Loader.add_constructor("!reset", lambda loader, node: None)


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load((PROJECT / name).read_text(encoding="utf-8"), _Loader)
    for service in found["services"].values():
        for key in [key for key, value in service.items() if value is None]:
            del service[key]
    return found


def variables(name: str) -> list[tuple[str, str]]:
    """Every ${NAME…} of a file, with what follows the name; `$$` is no variable."""
    text = (PROJECT / name).read_text(encoding="utf-8")
    return re.findall(r"(?<!\$)\$\{([A-Z_]+)([^}]*)\}", text)


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = COMPOSE["services"][name]
    return found


@pytest.mark.parametrize("name", FILES)
def test_the_file_is_valid_by_the_schema_of_compose(name: str) -> None:
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(schema).validate(read(name))


def test_it_has_the_four_services() -> None:
    assert tuple(COMPOSE["services"]) == SERVICES


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined(name: str) -> None:
    found = service(name)
    uid, _, gid = found["user"].partition(":")
    assert int(uid) > 0
    assert int(gid) > 0
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert "cap_add" not in found
    assert "privileged" not in found
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}


@pytest.mark.parametrize("name", [name for name in SERVICES if "build" in service(name)])
def test_python_is_not_the_first_process_of_its_container(name: str) -> None:
    """As such it would ignore a SIGTERM that comes before it listens, and be killed when the grace is over."""
    assert service(name)["init"] is True


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_comes_back_by_itself_and_tells_of_its_health(name: str) -> None:
    found = service(name)
    assert found["restart"] == "unless-stopped"
    assert found["healthcheck"].keys() == {"test", "interval", "timeout", "retries", "start_period"}
    assert seconds(found["stop_grace_period"]) >= 30


def test_a_stopped_worker_has_time_for_its_longest_statement() -> None:
    defaults = {name: default for name, default, _ in describe()}
    longest = sum(float(defaults[f"LAKEQUEUE_{name}_S"]) for name in ("START_WITHIN", "STATEMENT_TIMEOUT"))
    assert seconds(service("worker")["stop_grace_period"]) > longest


@pytest.mark.parametrize("name", SERVICES)
def test_a_port_is_bound_to_loopback_alone(name: str) -> None:
    for port in service(name).get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z_]+:-\d+\}:\d+", port)


def test_the_base_of_the_image_runs_as_the_user_of_the_file() -> None:
    dockerfile = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    (user,) = re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE)
    assert {service(name)["user"] for name in SERVICES if "build" in service(name)} == {user}


@pytest.mark.parametrize("name", FILES)
def test_every_variable_is_in_the_example_and_no_password_has_a_default(name: str) -> None:
    for variable, rest in variables(name):
        assert re.search(rf"^#?{variable}=", EXAMPLE, re.MULTILINE), variable
        if "PASSWORD" in variable or "AUTH" in variable:
            assert rest == "" or rest.startswith(":?"), variable
            assert re.search(rf"^{variable}=$", EXAMPLE, re.MULTILINE), variable


def test_the_example_names_nothing_that_is_not_read() -> None:
    known = {variable for name in FILES for variable, _ in variables(name)} | {"COMPOSE_FILE"}
    assert set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE, re.MULTILINE)) == known


@pytest.mark.parametrize("name", SERVICES)
def test_a_setting_of_ours_is_one_that_workers_know(name: str) -> None:
    settings = {each for each, _, _ in describe()}
    given = {each for each in service(name).get("environment", {}) if each.startswith("LAKEQUEUE_")}
    assert given <= settings


def seconds(duration: str) -> float:
    match = re.fullmatch(r"(\d+)s", duration)
    assert match is not None
    return float(match[1])
