"""The systems that are compared: what each is called, where it is installed, what it was set to."""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from tests.kit.install import make_environment

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CACHE = ROOT / ".cache" / "peers"


@dataclass(frozen=True)
class System:
    """A queue with its adapter, `on_<name>.py`; without a lock it is in our own environment."""

    name: str
    title: str

    @property
    def adapter(self) -> Path:
        return HERE / f"on_{self.name}.py"

    @property
    def lock(self) -> Path:
        return HERE / "locks" / f"{self.name}.lock"

    @property
    def python(self) -> Path:
        return CACHE / self.name / "bin" / "python" if self.lock.exists() else Path(sys.executable)

    @cached_property
    def settings(self) -> str:
        """Settings of it, in a line; the reasons stand below it in the adapter."""
        return (ast.get_docstring(ast.parse(self.adapter.read_text())) or "").partition("\n")[0]

    @cached_property
    def program_a_worker(self) -> bool:
        """Tell whether its processes have to be started one by one."""
        return "\nPROGRAM_A_WORKER = True\n" in self.adapter.read_text()

    @cached_property
    def version(self) -> str:
        """Of the lock, so of what is installed."""
        if not self.lock.exists():
            return version("da-node-executor")
        found = re.search(rf"^{self.name}(?:\[[^]]*\])?==(\S+)", self.lock.read_text(), re.MULTILINE)
        assert found, f"{self.lock} has no {self.name}"
        return found[1]

    def install(self) -> None:
        """Make its environment, exactly as its lock says, unless it is there."""
        if not self.lock.exists():
            return
        folder = CACHE / self.name
        wanted = hashlib.sha256(self.lock.read_bytes() + sys.version.encode()).hexdigest()
        stamp = folder / "installed"
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        sys.stderr.write(f"installing {self.title} {self.version} into {folder.relative_to(ROOT)}\n")
        make_environment(folder, self.lock)
        stamp.write_text(wanted)


OURS = System("ours", "DA Node Executor")
SYSTEMS = (
    OURS,
    System("celery", "Celery"),
    System("rq", "RQ"),
    System("dramatiq", "dramatiq"),
    System("huey", "huey"),
    System("taskiq", "taskiq"),
    System("streaq", "streaq"),
)
