"""Say which key another program has taken, as long as it has."""

from __future__ import annotations

import time

from executor_worker.broker.queue.key_types import CODE, FIX, wrong_keys
from executor_worker.errors import StreamError, StreamRefused
from executor_worker.keeper.pool_context import PoolContext
from executor_worker.telemetry import logs

LOOK_S, WAITS_S = 5.0, 2.0
SETTLING = "settling"  # the phase


class WrongKeys:
    """Looks at the types of our keys when Redis has refused something for one, until all are right again."""

    def __init__(self, around: PoolContext) -> None:
        self._around = around
        self._said: list[str] = []
        self._suspects = False

    def suspect(self, error: StreamRefused) -> bool:
        """Note that Redis has refused something by *error*; tells whether a key's type is why."""
        self._suspects = self._suspects or CODE in str(error)
        return CODE in str(error)

    def run(self) -> None:
        """Look, if there is reason to."""
        if not (self._suspects or self._said or self._result_waits()):
            return
        self._suspects = False
        found = wrong_keys(self._around.link)
        for problem in found:
            if problem not in self._said:
                logs.error("key.wrong_type", problem=problem, fix=FIX)
        self._said = found
        self._around.board.head.away = f"{found[0]}. {FIX}" if found else ""

    def _result_waits(self) -> bool:
        """Tell whether a worker can't hand its result in: only that worker hears what Redis refuses it."""
        late = time.monotonic_ns() - int(WAITS_S * 1e9)
        return any(row.phase == SETTLING and row.phase_since_ns < late for row in self._around.board.rows())


def explained(around: PoolContext, error: StreamRefused) -> str:
    """Say for what key Redis has refused something at the start, a sentence; empty if a key's type is not why."""
    if CODE not in str(error):
        return ""
    try:
        found = wrong_keys(around.link)
    except StreamError:
        return ""
    return f"{found[0]}. {FIX}" if found else ""
