"""Duties of all runs: timers that have run out, and a look at what Redis may have lost."""

from __future__ import annotations

from dataclasses import dataclass

from executor_worker.broker.graphs.requests import ScriptCall, Steps, checked
from executor_worker.broker.graphs.scripts import duties_script
from executor_worker.broker.names import looks_key, timers_key

TIMERS_AT_ONCE = 20
ITEMS_AT_ONCE = 500
LOOK_MS = 9_000
"""Between two looks at a run; longer if there are more than so many thousand."""


@dataclass(frozen=True, slots=True)
class Due:
    """Attributes: next_s (seconds until something is due, None: nothing is), fired (timers), mended (items)."""

    next_s: float | None
    fired: int
    mended: int


def work_off(shard: int = 0) -> Steps[Due]:
    """Do what is due, in slices; each thing is done once, however many ask."""
    fired = mended = 0
    while True:
        args = [TIMERS_AT_ONCE, ITEMS_AT_ONCE, LOOK_MS]
        (reply,) = checked((yield [ScriptCall(duties_script(), [timers_key(shard), looks_key(shard)], args)]))
        timer_ms, look_ms, done, lost = reply
        fired, mended = fired + done, mended + lost
        following = [ms for ms in (timer_ms, look_ms) if ms >= 0]
        if 0 not in following:
            return Due(min(following) / 1000 if following else None, fired, mended)
