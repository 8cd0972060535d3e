"""The words of a slot's row, and some of the pool's head, by number: where each stands in shared memory."""

from __future__ import annotations

from enum import IntEnum, unique


@unique
class RowWord(IntEnum):
    PLACED = 0
    PID = 1
    GENERATION = 2
    STATE = 3
    SINCE = 4
    STARTED = 5
    LEASE_UNTIL = 6
    LOST = 7
    STOP_RUN = 8
    ITEMS_DONE = 9
    RESTARTS = 10
    WANTS_REPLACEMENT = 11
    RSS = 12
    PSS = 13
    CLIENT_ID = 14
    LEAVING = 15
    RESPAWN_AT = 16
    STOPPED = 17
    CUT_SHORT = 18
    RUN = 19
    LOST_RUN = 20
    UNWATCHED_RUN = 21
    ATTEMPT = 22
    LISTED = 23
    TURNED = 24


W = RowWord
OF_ONE_WORKER = (
    W.PID, W.STARTED, W.LEASE_UNTIL, W.LOST, W.STOP_RUN, W.WANTS_REPLACEMENT, W.RSS, W.PSS, W.CLIENT_ID, W.LEAVING,
    W.STOPPED, W.CUT_SHORT, W.RUN, W.LOST_RUN, W.UNWATCHED_RUN, W.TURNED,
)  # fmt: skip
"""What begins anew with each worker of a slot."""

# As plain numbers for what is read or written many times with every item: an enum's member takes five times as long.
STATE, LOST, LEASE_UNTIL, STOP_RUN, ITEMS_DONE, RUN, ATTEMPT, UNWATCHED_RUN, LEAVING = map(
    int,
    (W.STATE, W.LOST, W.LEASE_UNTIL, W.STOP_RUN, W.ITEMS_DONE, W.RUN, W.ATTEMPT, W.UNWATCHED_RUN, W.LEAVING),
)
WANTS_REPLACEMENT, RSS = int(W.WANTS_REPLACEMENT), int(W.RSS)

PAUSED, REDIS_UP, LAST_DONE, NOTICED, LOG_LEVEL, TOOLS_UNANSWERED = 3, 8, 11, 17, 19, 30
"""Of the pool's head: what its workers look at, or write, with every item."""
