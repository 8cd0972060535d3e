"""Duties of all runs: timers that have run out, and a look at what Redis may have lost."""

from __future__ import annotations

from dataclasses import dataclass

from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs.requests import ScriptCall, Steps
from executor_worker.broker.graphs.scripts import duties_script
from executor_worker.broker.names import hurry_key, looks_key, timers_key
from executor_worker.graph.ends import RunEnd, run_ends

TIMERS_AT_ONCE = 20
ITEMS_AT_ONCE = 100
"""A script's share: a millisecond or two."""
LOOK_MS = 9_000
"""Between two looks at a run; longer if there are more than so many thousand."""
TURN_S = 0.2
LOOKS_A_TURN, HURRIED_LOOKS_A_TURN = 200, 2_000


@dataclass(frozen=True, slots=True)
class Due:
    """
    Attributes:
        next_s: Seconds until something is due; None: nothing is.
        fired, mended: Timers, items.
        given_up: Runs that have ended for what other programs have done to their keys, each with what Redis says of it.
    """

    next_s: float | None
    fired: int
    mended: int
    ends: tuple[RunEnd, ...] = ()
    given_up: tuple[tuple[str, str], ...] = ()


def work_off(shard: int = 0, *, hurry: bool = False) -> Steps[Due]:
    """
    Do what is due, in slices; each thing is done once, however many ask.

    Args:
        hurry: Redis may just have lost something: look at all runs now, ten times as fast as usual.
    """
    fired = mended = looked = 0
    ends: tuple[RunEnd, ...] = ()
    given_up: list[str] = []
    most = HURRIED_LOOKS_A_TURN if hurry else LOOKS_A_TURN
    keys = [timers_key(shard), looks_key(shard), hurry_key(shard)]
    while True:
        args = [TIMERS_AT_ONCE, min(ITEMS_AT_ONCE, max(most - looked, 0)), LOOK_MS, int(hurry)]
        (reply,) = checked((yield [ScriptCall(duties_script(), keys, args)]))
        timer_ms, look_ms, done, lost, seen, told, damaged = reply
        given_up += [word.decode("utf-8", "backslashreplace") for word in damaged]
        fired, mended, looked = fired + done, mended + lost, looked + seen
        ends += run_ends(told)
        if look_ms == 0 and looked >= most:
            look_ms = int(TURN_S * 1000)
        following = [ms for ms in (timer_ms, look_ms) if ms >= 0]
        if 0 not in following:
            pairs = tuple(zip(given_up[::2], given_up[1::2], strict=True))
            return Due(min(following) / 1000 if following else None, fired, mended, ends, pairs)


def overdue_s(shard: int = 0) -> Steps[float]:
    """Tell for how many seconds the oldest timer or look has been due: keepers leave nothing lying for long."""
    firsts = [(b"ZRANGE", key(shard), 0, 0, b"WITHSCORES") for key in (timers_key, looks_key)]
    *rows, now = checked((yield [*firsts, (b"TIME",)]))
    due_ms = [float(row[1]) for row in rows if row]
    return max(int(now[0]) - min(due_ms) / 1000, 0.0) if due_ms else 0.0
