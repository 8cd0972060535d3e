"""A machine that a real systemd has booted: namespaces of this kernel, gone with the test process."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.kit import Process, wait_until
from tests.kit.install import SYSTEMD_ROOT
from tests.kit.paths import ROOT
from tests.kit.processes import read_proc

CGROUPS = Path("/sys/fs/cgroup")
PREFIX = "executor-tests-"
SEARCH = "/usr/sbin:/usr/bin:/sbin:/bin"
BOOT_S = 60.0


class CannotBoot(Exception):
    """This machine does not let us; the sentence says why."""


class Machine:
    """
    Raises:
        CannotBoot: Namespaces, mounts or cgroups are not ours to make, or systemd did not come up.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ex-")
        folder = Path(self._folder.name)
        self._log = folder / "log"
        self._cgroups: list[Path] = []
        self._pid = 0
        (folder / "machine").mkdir()
        try:
            _remove_cgroups(_left_behind())
            self._cgroups = list(_make_cgroups(f"{PREFIX}{os.getpid()}"))
        except OSError as error:
            self._folder.cleanup()
            raise CannotBoot(f"no cgroup can be made: {error}") from None
        environment = (sys.base_prefix, sysconfig.get_path("purelib"))
        places = [str(folder / "machine"), *environment, str(ROOT), _missing_systemd()]
        with self._log.open("wb") as log:
            boot = str(Path(__file__).with_name("boot.sh"))
            command = ["sh", boot, *places, *map(str, self._cgroups)]
            self._process = Process(command, stdout=log, stderr=log)
        try:
            wait_until(self._is_up, BOOT_S, "systemd is up", every=0.02)
        except AssertionError as error:
            said = self._log.read_text().strip().splitlines()[-3:]
            self.close()
            raise CannotBoot(f"systemd did not boot ({' | '.join(said) or error})") from None

    @property
    def root(self) -> Path:
        """Its file system, as this process sees it."""
        return Path(f"/proc/{self._pid}/root")

    @property
    def limits_memory(self) -> bool:
        """Whether its cgroups can do that; those of a container that we run in may have been given none."""
        if not (CGROUPS / "cgroup.controllers").exists():
            return (CGROUPS / "memory").is_dir()
        return "memory" in (self.root / "sys/fs/cgroup/cgroup.controllers").read_text().split()

    def run(self, *command: str, check: bool = True, timeout: float = 150.0) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root."""
        enter = ["nsenter", "--target", str(self._pid), "--all", "env", "-i", f"PATH={SEARCH}", *command]
        done = subprocess.run(enter, capture_output=True, text=True, timeout=timeout, check=False)
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file inside."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def pids_of(self, unit: str) -> list[int]:
        """All processes of a service, by the numbers they have here."""
        hierarchy = "systemd/" if not (CGROUPS / "cgroup.controllers").exists() else ""
        service = self.root / f"sys/fs/cgroup/{hierarchy}system.slice"
        folders = [*service.glob(f"{unit}.service"), *service.glob(f"*/{unit}.service")]
        return [int(pid) for folder in folders for pid in (folder / "cgroup.procs").read_text().split()]

    def close(self) -> None:
        """Switch it off."""
        self._process.kill()
        wait_until(lambda: _remove_cgroups(self._cgroups), 20, "its cgroups to be empty", every=0.05)
        self._folder.cleanup()

    def _is_up(self) -> bool:
        if not self._process.running():
            raise AssertionError("it ended")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if not children or read_proc(int(children[0]), "comm") != b"systemd\n":
            return False
        self._pid = int(children[0])
        return self.run("systemctl", "is-active", "tests.target", check=False).returncode == 0


def inner_pid(pid: int) -> int:
    """The number that a process of ours has inside; 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next(int(line.split()[-1]) for line in status.splitlines() if line.startswith("NSpid:"))


def _missing_systemd() -> str:
    """Where the systemd is that this host lacks."""
    return str(SYSTEMD_ROOT) if SYSTEMD_ROOT.is_dir() else "-"


def _hierarchies() -> list[Path]:
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [path for path in CGROUPS.iterdir() if (path / "cgroup.procs").exists() and not path.is_symlink()]


def _make_cgroups(name: str) -> Iterator[Path]:
    for hierarchy in _hierarchies():
        made = hierarchy / name
        made.mkdir(exist_ok=True)
        for inherited in ("cpuset.cpus", "cpuset.mems"):  # without them nobody may enter
            if hierarchy != CGROUPS and (made / inherited).exists():
                (made / inherited).write_text((hierarchy / inherited).read_text())
        yield made


def _left_behind() -> list[Path]:
    """Cgroups of machines whose test process was killed."""
    found = [path for hierarchy in _hierarchies() for path in hierarchy.glob(f"{PREFIX}*")]
    return [path for path in found if not Path(f"/proc/{path.name.removeprefix(PREFIX)}").exists()]


def _remove_cgroups(paths: list[Path]) -> bool:
    """Remove them with all below; True when they are gone."""
    for path in paths:
        for folder, _, _ in os.walk(path, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError:  # what has been killed keeps it busy for a moment
                continue
    return not any(path.exists() for path in paths)
