"""A real container engine without a daemon, and containers that can't outlive the tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.kit.install import CACHE
from tests.kit.waiting import wait_until

ROOT = CACHE / "container-engine" / "root"
STORAGE = CACHE / "container-engine" / "storage"
PYTHON_ROOT = CACHE / "container-python" / "root"
PYTHON_IMAGE = "localhost/stand-in-for-python:latest"
LONGEST_S = 600  # a container whose test has died ends by itself
PIP_OPTIONS = ("index-url", "extra-index-url", "proxy", "timeout", "trusted-host")


class Engine:
    """
    Buildah and Podman out of the cache, with a storage of their own in it, as root.

    Args:
        folder: For what lives only as long as this.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._env = _environment(folder)
        self.run("rm", "--force", "--all")  # left by a test run that was killed

    def run(self, *command: str | Path, check: bool = True, seconds: float = 60) -> Done:
        """
        Run a Podman command to its end.

        Raises:
            AssertionError: It failed, and *check* is set; shows what it said.
        """
        return self._run([ROOT / "usr/bin/podman", *command], check=check, seconds=seconds)

    def shell(self, script: str, folder: Path, seconds: float = 120) -> Done:
        """Have bash run *script* in *folder*, whose programs it finds first, then the engine's."""
        return self._run(["bash", "-c", f"cd {folder}; PATH={folder}:$PATH\n{script}"], check=False, seconds=seconds)

    def load_python(self) -> None:
        """Have the stand-in for the Python image that the Dockerfile starts from."""
        if self.run("image", "exists", PYTHON_IMAGE, check=False).status == 0:
            return
        archive = self.folder / "python.tar"
        subprocess.run(["tar", "-C", PYTHON_ROOT, "-cf", archive, "."], check=True)
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.run("import", "--quiet", "--change", f"ENV {path}", archive, PYTHON_IMAGE)
        archive.unlink()

    def build(self, context: Path, tag: str, seconds: float = 600) -> str:
        """Build the Dockerfile in *context*; steps whose inputs are as before come from the cache, as ever."""
        configuration = self.folder / "pip.conf"
        configuration.write_text(_pip_configuration())
        options = [
            "--isolation",
            "oci",
            "--runtime",
            str(ROOT / "usr/sbin/runc"),
            "--network",
            "host",
            "--format",
            "docker",
            "--pull-never",
            "--layers",
        ]
        options += ["--build-arg", f"PYTHON_IMAGE={PYTHON_IMAGE}", "--secret", f"id=pip.conf,src={configuration}"]
        command: list[str | Path] = [ROOT / "usr/bin/buildah", "build", *options, "--tag", tag, context]
        return self._run(command, seconds=seconds).said

    def start(self, image: str, *options: str | Path, **settings: str) -> Container:
        """Start *image* with settings in its environment; *options* are those of `podman run`."""
        name = f"test-{uuid.uuid4().hex[:8]}"
        environment = [f"--env={key}={value}" for key, value in settings.items()]
        limits = ("--network", "host", "--timeout", str(LONGEST_S))
        self.run("run", "--detach", "--name", name, *limits, *environment, *options, image)
        return Container(self, name)

    def _run(self, command: Sequence[str | Path], *, check: bool = True, seconds: float = 60) -> Done:
        done = subprocess.run(
            [str(part) for part in command],
            env=self._env,
            cwd=self.folder,  # a container's monitor notes there that memory ran out
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert not check or done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}"
        return Done(done.returncode, done.stdout)


class Done:
    """The end of a command: its status and all it said."""

    def __init__(self, status: int, said: str) -> None:
        self.status = status
        self.said = said


class Container:
    """One container, running or ended."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name

    def inspect(self) -> dict[str, Any]:
        """All the engine knows of it."""
        found: dict[str, Any] = json.loads(self.engine.run("inspect", "--type", "container", self.name).said)[0]
        return found

    @property
    def pid(self) -> int:
        """Its PID 1, as this machine numbers it."""
        return int(self.inspect()["State"]["Pid"])

    def running(self) -> bool:
        return bool(self.inspect()["State"]["Running"])

    def logs(self) -> str:
        """All it has said."""
        return self.engine.run("logs", self.name).said

    def events(self, name: str) -> list[dict[str, Any]]:
        """Its log events of that name."""
        lines = [json.loads(line) for line in self.logs().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]

    def execute(self, *command: str, check: bool = True) -> Done:
        """Run a command inside, as its user."""
        return self.engine.run("exec", self.name, *command, check=check)

    def check_health(self) -> tuple[int, str]:
        """Run the image's health check once, as the engine does every so often: its status, and how it is judged."""
        status = self.engine.run("healthcheck", "run", self.name, check=False).status
        state = self.inspect()["State"]
        return status, str((state.get("Health") or state["Healthcheck"])["Status"])

    def kill(self, signal_name: str) -> None:
        """Send its PID 1 a signal."""
        self.engine.run("kill", "--signal", signal_name, self.name)

    def wait(self, seconds: float = 60) -> int:
        """Wait for its end; return its exit status."""
        wait_until(lambda: not self.running(), seconds, "the container ends", every=0.1)
        return int(self.inspect()["State"]["ExitCode"])

    def remove(self) -> None:
        """End it whatever it does."""
        self.engine.run("rm", "--force", "--time", "0", self.name, check=False)


def _environment(folder: Path) -> Mapping[str, str]:
    """Variables that lead the engine to its parts, its storage and its settings, none of them this machine's own."""
    configuration = folder / "containers.conf"
    configuration.write_text(_containers_conf())
    storage = folder / "storage.conf"
    storage.write_text(
        f'[storage]\ndriver = "{_storage_driver()}"\ngraphroot = "{STORAGE}"\nrunroot = "{folder}/run"\n'
    )
    policy = folder / ".config" / "containers" / "policy.json"
    policy.parent.mkdir(parents=True)
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    temporary = CACHE / "container-engine" / "tmp"  # holds what `--mount=type=cache` keeps
    temporary.mkdir(exist_ok=True)
    libraries = ":".join(str(path) for path in sorted(ROOT.glob("usr/lib/*-linux-*")))
    return {
        **os.environ,
        "CONTAINERS_CONF": str(configuration),
        "CONTAINERS_STORAGE_CONF": str(storage),
        "CONTAINERS_REGISTRIES_CONF": str(ROOT / "etc/containers/registries.conf"),
        "HOME": str(folder),
        "LD_LIBRARY_PATH": libraries,
        "PATH": f"{ROOT}/usr/bin:{ROOT}/usr/sbin:{os.environ['PATH']}",
        "TMPDIR": str(temporary),
    }


def _containers_conf() -> str:
    """Nothing here needs systemd, and limits are none that a container itself may not set."""
    runtime = next(path for name in ("runc", "crun") if (path := shutil.which(name, path=_programs())))
    return f"""
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
log_driver = "k8s-file"
netns = "host"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
conmon_path = ["{ROOT}/usr/bin/conmon"]
helper_binaries_dir = ["{ROOT}/usr/lib/podman"]
runtime = "{Path(runtime).name}"
[engine.runtimes]
{Path(runtime).name} = ["{runtime}"]
[network]
network_backend = "netavark"
"""


def _programs() -> str:
    return f"{ROOT}/usr/bin:{ROOT}/usr/sbin"


def _storage_driver() -> str:
    """Overlay, except where the cache itself lies on one: it can't be stacked."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", CACHE], capture_output=True, text=True, check=True).stdout
    return "vfs" if "overlay" in kind else "overlay"


def _pip_configuration() -> str:
    """Say how this machine reaches its package index, for the build; places that are files here don't exist there."""
    listed = subprocess.run(
        [str(CACHE.parent / ".venv/bin/python"), "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        option, text = name.rpartition(".")[2].replace("_", "-"), value.strip("'\"")
        if option in PIP_OPTIONS and "file://" not in text:
            found[option] = text
    return "[global]\n" + "".join(f"{option} = {text}\n" for option, text in found.items())
