"""The README is true: its commands run, its example works from an empty environment, its settings exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from lakequeue import parse_job

from tests.fix_system import System
from worker.settings import describe

pytestmark = pytest.mark.timeout(300)
"""The first of them builds a wheel and installs it, with what it needs, in an environment of its own."""

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def run(command: str, environ: dict[str, str], *, cwd: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        env={**os.environ, **environ, "PATH": path},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module")
def example(system: System, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The README's Python example, run with nothing installed but the wheel of `producers/`; what it printed."""
    folder = tmp_path_factory.mktemp("empty")
    built = run(f"{sys.executable} -m pip wheel --quiet --no-deps -w {folder} {PROJECT / 'producers'}", {}, cwd=folder)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("lakequeue-*.whl")
    pip = f"{sys.executable} -m pip --python {folder / 'venv'}/bin/python"
    made = run(
        f"{sys.executable} -m venv --without-pip {folder / 'venv'} && "
        f"{pip} install --quiet -c {PROJECT / 'constraints.txt'} {wheel}",
        {},
        cwd=folder,
    )
    assert made.returncode == 0, made.stderr
    (source,) = blocks("python")
    source = source.replace("redis://localhost:6379/0", system.redis.url)
    source += "\nimport sys; print(sorted({'celery', 'databricks', 'tasks', 'worker', 'rich'} & set(sys.modules)))\n"
    script = folder / "example.py"
    script.write_text(source, encoding="utf-8")
    done = run(f"{folder / 'venv'}/bin/python -I {script}", {}, cwd=folder)
    assert done.returncode == 0, done.stderr
    listed = run(f"{pip} list --format=freeze", {}, cwd=folder).stdout
    assert not re.search(r"^(celery|databricks|kombu|duckdb)", listed, re.MULTILINE), listed
    return done.stdout


def test_the_example_runs_with_the_clients_wheel_alone(example: str) -> None:
    lines = example.splitlines()
    assert re.fullmatch(r"2 1 [0-9a-f-]{36}", lines[0])
    assert lines[1] == "2 [{'id': 2, 'amount': None}, {'id': 1, 'amount': Decimal('9.90')}]"
    assert int(lines[2]) > 1
    assert "'seven'" not in lines[3]
    assert lines[3].endswith("['data', 0, 'id']")
    assert lines[4] == "[]"


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize("command", [line for block in blocks("bash run") for line in block.splitlines()])
def test_a_command_of_the_readme_runs(system: System, command: str) -> None:
    done = run(command, system.environ)
    assert done.returncode == 0, done.stdout + done.stderr


EXAMPLES = re.findall(r"^\| (\w+) \|[^\n]*\| `(\{[^\n]*\})` \|$", README, re.MULTILINE)


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize(("kind", "job"), EXAMPLES, ids=[kind for kind, _ in EXAMPLES])
def test_the_example_of_a_verb_runs(system: System, kind: str, job: str) -> None:
    assert parse_job(job).kind == kind
    assert system.queue.enqueue(parse_job(job)).result(timeout=30).count >= 1


def test_every_verb_has_its_example() -> None:
    assert [kind for kind, _ in EXAMPLES] == ["write", "update", "delete", "read"]


def test_the_servers_are_started_as_the_tests_start_them() -> None:
    (served,) = blocks("bash serve")
    assert [line.split()[:4] for line in served.splitlines()] == [
        ["celery", "-A", "worker", "worker"],
        ["celery", "-A", "worker", "flower"],
    ]


def test_the_two_commands_exist() -> None:
    (made,) = blocks("bash make")
    for line in made.splitlines():
        target = line.split("#")[0].split()[1]
        assert run(f"make -n {target}", {}).returncode == 0


def test_every_setting_in_the_readme_exists_with_its_default() -> None:
    defaults = {name: default for name, default, _ in describe()}
    told = re.findall(r"^\| (`LAKEQUEUE_[^|]*) \| ([^|]*) \|", README, re.MULTILINE)
    assert told
    for names, values in told:
        for name, value in zip(re.findall(r"`(\w+)`", names), re.findall(r"`([^`]*)`", values), strict=True):
            assert defaults[name] == value
    assert set(re.findall(r"LAKEQUEUE_[A-Z_]+", README)) <= set(defaults)


@pytest.mark.parametrize("file", ["README.md", *sorted(str(p.relative_to(PROJECT)) for p in PROJECT.glob("docs/*.md"))])
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(file: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", (PROJECT / file).read_text(encoding="utf-8")):
        path, _, heading = target.partition("#")
        if "://" in target:
            continue
        linked = (PROJECT / file).parent / path if path else PROJECT / file
        assert linked.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}, target
