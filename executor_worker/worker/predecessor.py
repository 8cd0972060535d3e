"""The predecessor of a worker in its slot: it may have left an item that it was ended for."""

from __future__ import annotations

from contextlib import suppress

from executor_worker.broker import Held
from executor_worker.errors import ToolTimeout
from executor_worker.worker.poisoned import death_with, tell_place
from executor_worker.worker.stages import Conclusion, Work
from supervisor.scoreboard.scoreboard import Row

TOOL_PHASE = "tool:"


class Predecessor:
    """
    Attributes:
        dealt_with: Nothing of it concerns us any more; what the row says of a kill from now on is for our successor.
    """

    def __init__(self, row: Row) -> None:
        self.dealt_with = False
        self._row = row

    def killed_for(self) -> tuple[str, str] | None:
        """
        Stream and entry whose last worker was ended for its sake: it is answered, not run, so taking it is not counted.
        """
        if self.dealt_with or not self._row.failure_code:
            return None
        with suppress(ValueError):
            return Held.parse(self._row.killed_for).name
        return None

    def failure_code_of(self, held: Held) -> str:
        """Answer under which code it was ended for *held*; "" if it was not."""
        return self._row.failure_code if not self.dealt_with and self.killed_for() == held.name else ""

    def tool_of(self, work: Work, failure_code: str) -> str:
        """Say in *work*'s answer where it stood when it was ended; answers which tool was overdue, "" if none was."""
        if isinstance(work.decision, Conclusion):
            work.decision = tell_place(work.decision, self._row.death, work.held.name)
        death = death_with(self._row.death, work.held.name)
        tool = death.phase.partition(TOOL_PHASE)[2] if death else ""
        return tool if failure_code == ToolTimeout.code else ""

    def forget(self) -> None:
        """Forget its item, which has gone to another worker: keep no lease on it, show it no more."""
        self.forget_kill()
        if self._row.held:
            self._row.held = ""

    def forget_kill(self) -> None:
        if not self.dealt_with and self._row.failure_code:
            self._row.clear_kill()
        self.dealt_with = True
