"""What the tools of these tests really did: one line for each fact, in a file that all pools of a test share."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "FAULTS_JOURNAL"


@dataclass(frozen=True, slots=True)
class Fact:
    """
    Attributes:
        at: Seconds on the clock that all processes of this machine share.
    """

    mark: str
    what: str
    pid: int
    at: float


class Journal:
    """
    Args:
        folder: Holds the journal, and a file for each call that the test has let go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "journal"

    def write(self, mark: str, what: str) -> None:
        """Add a fact in one write, which no other can come between."""
        line = f"{mark} {what} {os.getpid()} {time.monotonic()!r}\n"
        file = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    def facts(self, mark: str = "", what: str = "") -> list[Fact]:
        """All facts so far, or those of one call or kind."""
        if not self._file.exists():
            return []
        found = []
        whole, _, _ = self._file.read_text().rpartition("\n")  # the last line may be being written
        for line in whole.splitlines():
            name, kind, pid, at = line.split()
            if mark in ("", name) and what in ("", kind):
                found.append(Fact(name, kind, int(pid), float(at)))
        return found

    def starts(self, mark: str = "") -> list[Fact]:
        """Each time a call was begun."""
        return self.facts(mark, "start")

    def let_go(self, mark: str) -> None:
        """Let a call that holds on come to its end, now and in every further run."""
        (self.folder / f"{mark}.go").touch()

    def may_go(self, mark: str) -> bool:
        return (self.folder / f"{mark}.go").exists()


def journal_here() -> Journal:
    """The journal that the test has told its pools of."""
    return Journal(Path(os.environ[VARIABLE]))
