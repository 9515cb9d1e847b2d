"""Docker with its compose, or podman with podman-compose in a store of its own, asked the same questions."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
COMMAND_S = 300.0
SERVICES = ("redis", "localwarehouse", "worker", "flower")
OURS = ("REDIS_", "FLOWER_", "VALKEY_", "WORKER_", "DATABRICKS_", "LAKEQUEUE_", "COMPOSE_")
"""Variables that compose.yaml reads would win over the file of the test."""


class Failed(Exception):
    """A step of the test did not go as it should; says what was found."""


class NoEngine(Exception):
    """Nothing here runs containers; says what to install."""


class Engine:
    """One project on one engine. What differs between engines is in the subclasses."""

    name: str
    program: str

    def __init__(self, folder: Path, project: str) -> None:
        self.folder = folder
        self.project = project
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        self.files: list[Path] = [PROJECT / "compose.yaml"]
        self.env_file = folder / "env"

    def run(self, *args: str, check: bool = True, within_s: float = COMMAND_S) -> subprocess.CompletedProcess[str]:
        """The engine's own command."""
        return self._run([self.program, *args], check=check, within_s=within_s)

    def compose(self, *args: str, more: Sequence[Path] = (), check: bool = True) -> subprocess.CompletedProcess[str]:
        files = [part for each in (*self.files, *more) for part in ("--file", str(each))]
        given = ["--project-name", self.project, "--env-file", str(self.env_file), *files, *args]
        return self._run([*self.compose_command(), *given], check=check)

    def compose_command(self) -> list[str]:
        raise NotImplementedError

    def _run(
        self, command: list[str], *, check: bool = True, within_s: float = COMMAND_S
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=PROJECT, env=self.environ, capture_output=True, text=True, timeout=within_s, check=False
        )
        if check and done.returncode:
            shown = " ".join(command[:12])
            raise Failed(f"{shown} … ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done

    def containers(self) -> list[str]:
        """Those of the project, also ones that have ended."""
        return self.run("ps", "-aq", "--filter", f"label=com.docker.compose.project={self.project}").stdout.split()

    def container(self, service: str) -> str:
        label = f"label=com.docker.compose.service={service}"
        project = f"label=com.docker.compose.project={self.project}"
        found = self.run("ps", "-aq", "--filter", project, "--filter", label).stdout.split()
        if len(found) != 1:
            raise Failed(f"{len(found)} containers of {service} in place of one")
        return found[0]

    def inspect(self, service: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self.run("inspect", self.container(service)).stdout)
        return found[0]

    def execute(self, service: str, *command: str) -> subprocess.CompletedProcess[str]:
        return self.run("exec", self.container(service), *command, check=False)

    def healthy(self, service: str) -> bool:
        return bool(self.inspect(service)["State"]["Health"]["Status"] == "healthy")

    def kill(self, service: str) -> None:
        """`kill -9` of the main process by its id, which an engine takes for a crash, unlike its own command `kill`."""
        found = self.inspect(service)
        pid = int(found["State"]["Pid"])
        cgroups = Path(f"/proc/{pid}/cgroup")
        # An engine in a machine of its own gives ids of that machine.
        if not cgroups.exists() or found["Id"] not in cgroups.read_text(encoding="utf-8"):
            self.kill_there(found["Image"], pid)
            return
        try:
            os.kill(pid, signal.SIGKILL)
        except PermissionError:
            self.kill_there(found["Image"], pid)

    def kill_there(self, image: str, pid: int) -> None:
        """Of a process that this one cannot reach."""
        raise NotImplementedError

    def pull(self, image: str, *, within_s: float) -> bool:
        """Whether a registry has it to give."""
        try:
            return self.run("pull", "-q", image, check=False, within_s=within_s).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def logs(self) -> str:
        told = []
        for service in SERVICES:
            try:
                done = self.run("logs", "--tail", "60", self.container(service), check=False)
            except Failed as exc:
                told.append(f"--- {service}: {exc}")
                continue
            told.append(f"--- {service}\n{done.stdout}{done.stderr}")
        return "\n".join(told)

    def remove(self) -> list[str]:
        """Remove all of the project. Returns what is left over after it."""
        self.compose("down", "--volumes", "--timeout", "1", check=False)
        for container in self.containers():
            self.run("rm", "-f", container, check=False)
        left = [f"container {each}" for each in self.containers()]
        for kind in ("volume", "network"):
            names = self.run(kind, "ls", "--format", "{{.Name}}").stdout.split()
            left += [f"{kind} {name}" for name in names if name.startswith(f"{self.project}_")]
        return left


class Docker(Engine):
    name = "docker"
    program = "docker"

    def compose_command(self) -> list[str]:
        return ["docker", "compose"]

    def kill_there(self, image: str, pid: int) -> None:
        outside = ["--rm", "--pid=host", "--privileged", "--user=0"]
        self.run("run", *outside, "--entrypoint=python", image, "-c", f"import os; os.kill({pid}, 9)")


class Podman(Engine):
    """podman, with images, containers, networks and locks in the test's folder: nothing of the machine is touched."""

    name = "podman"
    program = "podman"

    def __init__(self, folder: Path, project: str) -> None:
        super().__init__(folder, project)
        self._storage = folder / "storage"
        # podman's own defaults are more than a user without privileges, or root in a sandbox, may set.
        limits = [
            f'"{name}={(given := _limit(number, most))}:{given}"'
            for name, number, most in (
                ("nofile", resource.RLIMIT_NOFILE, 65_536),
                ("nproc", resource.RLIMIT_NPROC, 4096),
            )
        ]
        lines = ["[containers]", f"default_ulimits = [{', '.join(limits)}]"]
        lines += ["[network]", 'network_backend = "netavark"', f'network_config_dir = "{folder}/networks"']
        lines += ["[engine]", 'events_logger = "file"', 'lock_type = "file"', f'tmp_dir = "{self._storage}/run/libpod"']
        if not Path("/run/systemd/system").exists():
            lines.append('cgroup_manager = "cgroupfs"')
        if shutil.which("runc"):  # crun wants more of a machine
            lines.append('runtime = "runc"')
        (folder / "containers.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
        places = f'[storage]\ndriver = "overlay"\ngraphroot = "{self._storage}"\nrunroot = "{self._storage}/run"\n'
        (folder / "storage.conf").write_text(places, encoding="utf-8")
        self.environ |= {
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "TMPDIR": str(folder),
        }

    def compose_command(self) -> list[str]:
        # For the build the machine's own network: it is the one that reaches a package index. No layers, since what is
        # built here is built once.
        return [sys.executable, "-m", "podman_compose", "--podman-build-args=--network=host --layers=false"]

    def healthy(self, service: str) -> bool:
        """Timers of systemd run podman's health checks. Where there is none nobody does, so it is done here."""
        self.run("healthcheck", "run", self.container(service), check=False)
        return super().healthy(service)

    def kill_there(self, image: str, pid: int) -> None:
        # Without root it belongs to another user of podman's own namespace.
        self.run("unshare", "kill", "-9", str(pid))

    def remove(self) -> list[str]:
        left = super().remove()
        self.run("rm", "-af", check=False)
        self.run("volume", "prune", "-f", check=False)
        # A store is itself a mount while it is in use.
        for mount in self._mounts():
            subprocess.run(["umount", mount], capture_output=True, check=False)
        left += [f"mount {mount}" for mount in self._mounts()]
        return left + [f"process {line}" for line in self._processes()]

    def _mounts(self) -> list[str]:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
        return [mount for line in reversed(lines) if (mount := line.split()[1]).startswith(str(self.folder))]

    def _processes(self) -> list[str]:
        """conmon and the network's name server end by themselves, a moment after the last container."""
        deadline = time.monotonic() + 10
        while (found := _named(str(self.folder))) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found


def _limit(number: int, most: int) -> int:
    hard = resource.getrlimit(number)[1]
    return most if hard == resource.RLIM_INFINITY else min(hard, most)


def _named(folder: str) -> list[str]:
    """Command lines of other processes that name the folder."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = each.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if folder in line and int(each.parent.name) != os.getpid():
            found.append(line)
    return found


def answers(command: Sequence[str], environ: Mapping[str, str] = os.environ) -> bool:
    try:
        return subprocess.run(command, env=environ, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def find(folder: Path, project: str) -> Engine:
    """Docker, where an engine and its compose answer, else podman.

    Raises:
        NoEngine: neither is there.
    """
    if answers(["docker", "info"]) and answers(["docker", "compose", "version"]):
        return Docker(folder, project)
    if shutil.which("podman"):
        missing = [name for name in ("netavark", "aardvark-dns") if not _helper(name)]
        if missing:
            raise NoEngine(f"podman is there, but not {' and '.join(missing)}: install them")
        return Podman(folder, project)
    raise NoEngine("no Docker engine with compose, and no podman: install podman, netavark, aardvark-dns and catatonit")


def _helper(name: str) -> bool:
    places = ("/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman", "/usr/lib/podman")
    return shutil.which(name) is not None or any((Path(place) / name).exists() for place in places)
