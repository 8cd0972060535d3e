"""
What may happen to a seat and to the supervisor, and what is then done: tables, pure data.

An action is the name of a method of whoever steps through the table. A pair that is not listed is a bug: it is logged
and survived.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class SlotState(StrEnum):
    DEAD = "dead"  # no child; the next one when its time has come
    STARTING = "starting"  # forked, not yet up
    IDLE = "idle"  # up
    BUSY = "busy"  # has something in hand
    DRAINING = "draining"  # asked to leave, or about to be killed


class SlotEvent(StrEnum):
    REFILLED = "refilled"  # its time has come
    FORK_FAILED = "fork_failed"
    CAME_UP = "came_up"
    TOOK = "took"
    SETTLED = "settled"
    DISMISSED = "dismissed"  # asked to leave; the errand says what comes after
    RECALLED = "recalled"  # the seat is wanted again
    HURRIED = "hurried"  # asked to leave at once
    OVERDUE = "overdue"  # past a deadline: boot, phase, item, beat
    EXITED = "exited"


class StopReason(StrEnum):
    """Why a child leaves that does not leave by itself."""

    DRAINED = "drained"
    REMOVED = "removed"
    RELOADED = "reloaded"
    WORN = "replaced"
    HUNG = "deadline"
    HUNG_BOOT = "boot"
    SILENT = "silent"


class Follow(StrEnum):
    """What becomes of the seat then."""

    REST = "rest"
    VACATE = "vacate"
    REFILL = "refill"
    BACK_OFF = "back_off"


FOLLOW: Mapping[StopReason, Follow] = {
    StopReason.DRAINED: Follow.REST,
    StopReason.REMOVED: Follow.VACATE,
    StopReason.RELOADED: Follow.REFILL,
    StopReason.WORN: Follow.REFILL,
    StopReason.HUNG: Follow.REFILL,
    StopReason.HUNG_BOOT: Follow.BACK_OFF,
    StopReason.SILENT: Follow.BACK_OFF,
}


class SlotStep(NamedTuple):
    state: SlotState
    action: str


S, E = SlotState, SlotEvent

SLOT: Mapping[tuple[SlotState, SlotEvent], SlotStep] = {
    (S.DEAD, E.REFILLED): SlotStep(S.STARTING, "fork"),
    (S.DEAD, E.DISMISSED): SlotStep(S.DEAD, "follow_stop_reason"),
    (S.DEAD, E.RECALLED): SlotStep(S.DEAD, "recall"),
    (S.DEAD, E.HURRIED): SlotStep(S.DEAD, "nothing"),
    (S.STARTING, E.FORK_FAILED): SlotStep(S.DEAD, "back_off"),
    (S.STARTING, E.CAME_UP): SlotStep(S.IDLE, "welcome"),
    (S.STARTING, E.DISMISSED): SlotStep(S.DRAINING, "ask_to_leave"),
    (S.STARTING, E.RECALLED): SlotStep(S.STARTING, "nothing"),
    (S.STARTING, E.HURRIED): SlotStep(S.DRAINING, "kill"),
    (S.STARTING, E.OVERDUE): SlotStep(S.DRAINING, "condemn"),
    (S.STARTING, E.EXITED): SlotStep(S.DEAD, "boot_failed"),
    (S.IDLE, E.TOOK): SlotStep(S.BUSY, "nothing"),
    (S.IDLE, E.DISMISSED): SlotStep(S.DRAINING, "ask_to_leave"),
    (S.IDLE, E.RECALLED): SlotStep(S.IDLE, "nothing"),
    (S.IDLE, E.HURRIED): SlotStep(S.DRAINING, "hurry"),
    (S.IDLE, E.OVERDUE): SlotStep(S.DRAINING, "condemn"),
    (S.IDLE, E.EXITED): SlotStep(S.DEAD, "crashed"),
    (S.BUSY, E.SETTLED): SlotStep(S.IDLE, "nothing"),
    (S.BUSY, E.DISMISSED): SlotStep(S.DRAINING, "ask_to_leave"),
    (S.BUSY, E.RECALLED): SlotStep(S.BUSY, "nothing"),
    (S.BUSY, E.HURRIED): SlotStep(S.DRAINING, "hurry"),
    (S.BUSY, E.OVERDUE): SlotStep(S.DRAINING, "condemn"),
    (S.BUSY, E.EXITED): SlotStep(S.DEAD, "crashed"),
    (S.DRAINING, E.DISMISSED): SlotStep(S.DRAINING, "nothing"),
    (S.DRAINING, E.RECALLED): SlotStep(S.DRAINING, "recall"),
    (S.DRAINING, E.HURRIED): SlotStep(S.DRAINING, "hurry"),
    (S.DRAINING, E.OVERDUE): SlotStep(S.DRAINING, "condemn"),
    (S.DRAINING, E.EXITED): SlotStep(S.DEAD, "follow_stop_reason"),
}


class Mode(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    RELOADING = "reloading"
    DRAINING = "draining"
    STOPPED = "stopped"


class PoolEvent(StrEnum):
    ALL_UP = "all_up"
    RELOAD = "reload"  # asked for
    REFUSED = "refused"  # the new settings can't be used
    BOOT_FAILED = "boot_failed"  # a child of the new settings did not come up
    ROLLED = "rolled"  # every child has the new settings
    DRAIN = "drain"
    HURRY = "hurry"
    GIVE_UP = "give_up"
    ENDED = "ended"  # nothing of ours is left


class PoolStep(NamedTuple):
    mode: Mode
    action: str


M, P = Mode, PoolEvent

POOL: Mapping[tuple[Mode, PoolEvent], PoolStep] = {
    (M.STARTING, P.ALL_UP): PoolStep(M.RUNNING, "announce_ready"),
    (M.STARTING, P.RELOAD): PoolStep(M.STARTING, "remember_reload"),
    (M.STARTING, P.BOOT_FAILED): PoolStep(M.STARTING, "nothing"),
    (M.STARTING, P.DRAIN): PoolStep(M.DRAINING, "drain"),
    (M.STARTING, P.HURRY): PoolStep(M.DRAINING, "hurry"),
    (M.STARTING, P.GIVE_UP): PoolStep(M.DRAINING, "drain"),
    (M.RUNNING, P.RELOAD): PoolStep(M.RELOADING, "reload"),
    (M.RUNNING, P.BOOT_FAILED): PoolStep(M.RUNNING, "nothing"),
    (M.RUNNING, P.DRAIN): PoolStep(M.DRAINING, "drain"),
    (M.RUNNING, P.HURRY): PoolStep(M.DRAINING, "hurry"),
    (M.RUNNING, P.GIVE_UP): PoolStep(M.DRAINING, "drain"),
    (M.RELOADING, P.RELOAD): PoolStep(M.RELOADING, "reload_again"),
    (M.RELOADING, P.REFUSED): PoolStep(M.RUNNING, "go_on"),
    (M.RELOADING, P.BOOT_FAILED): PoolStep(M.RELOADING, "abandon_reload"),
    (M.RELOADING, P.ROLLED): PoolStep(M.RUNNING, "end_reload"),
    (M.RELOADING, P.DRAIN): PoolStep(M.DRAINING, "drain"),
    (M.RELOADING, P.HURRY): PoolStep(M.DRAINING, "hurry"),
    (M.RELOADING, P.GIVE_UP): PoolStep(M.DRAINING, "drain"),
    (M.DRAINING, P.RELOAD): PoolStep(M.DRAINING, "nothing"),
    (M.DRAINING, P.BOOT_FAILED): PoolStep(M.DRAINING, "nothing"),
    (M.DRAINING, P.DRAIN): PoolStep(M.DRAINING, "nothing"),
    (M.DRAINING, P.HURRY): PoolStep(M.DRAINING, "hurry"),
    (M.DRAINING, P.GIVE_UP): PoolStep(M.DRAINING, "nothing"),
    (M.DRAINING, P.ENDED): PoolStep(M.STOPPED, "end"),
    (M.STOPPED, P.RELOAD): PoolStep(M.STOPPED, "nothing"),
    (M.STOPPED, P.DRAIN): PoolStep(M.STOPPED, "nothing"),
    (M.STOPPED, P.HURRY): PoolStep(M.STOPPED, "nothing"),
}
