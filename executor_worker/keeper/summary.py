"""One log line a minute of what the pool did, as long as it does something."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from executor_worker.broker.queue.backlog import Backlog
from executor_worker.telemetry import logs
from executor_worker.telemetry.summary import Reader, Tally, figures, since, summed
from supervisor.scoreboard.scoreboard import Scoreboard

SUMMARY_S = 60.0


class Summary:
    """
    Args:
        backlogs: Says how much there was to do when it was looked last.
    """

    def __init__(self, board: Scoreboard, backlogs: Callable[[], Sequence[Backlog]]) -> None:
        self._board = board
        self._backlogs = backlogs
        self._reader = Reader()
        self._before = self._read()

    def run(self) -> None:
        """Log what was done since the last time; nothing if nothing was, and nothing is in hand."""
        now = self._read()
        done = {name: value for name, value in figures(since(now, self._before)).items() if value}
        self._before = now
        rows = self._board.rows()
        busy = sum(1 for row in rows if row.held)
        if not (done or busy):
            return
        backlogs = self._backlogs()
        waiting = sum(one.waiting for one in backlogs)
        oldest_s = round(max((one.oldest_age_s for one in backlogs), default=0.0), 1)
        logs.info("pool.summary", **done, workers=len(rows), busy=busy, waiting=waiting, oldest_s=oldest_s)

    def _read(self) -> Tally:
        return summed(self._reader.tally(area) for area in self._board.all_counters())
