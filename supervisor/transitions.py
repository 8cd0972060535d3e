"""
State tables of a slot and of the pool: what may happen, and which action follows; pure data.

`Slot` and `PoolLifecycle` say what each action is. A pair that is not listed is a bug: it is logged and survived.
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
    DISMISSED = "dismissed"  # asked to leave; the stop reason says what comes after
    RECALLED = "recalled"  # the slot is wanted again
    HURRIED = "hurried"  # asked to leave at once
    OVERDUE = "overdue"  # past a deadline: boot, phase, item, beat
    EXITED = "exited"


class StopReason(StrEnum):
    """The reason for which a child leaves that does not leave by itself."""

    DRAINED = "drained"
    REMOVED = "removed"
    RELOADED = "reloaded"
    WORN = "replaced"
    HUNG = "deadline"
    HUNG_BOOT = "boot"
    SILENT = "silent"


class Follow(StrEnum):
    """The fate of a slot whose child has left: it rests, goes, or gets the next child, at once or later."""

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


class SlotAction(StrEnum):
    NOTHING = "nothing"
    FORK = "fork"
    WELCOME = "welcome"
    ASK_TO_LEAVE = "ask_to_leave"
    HURRY = "hurry"
    SHOW_AND_KILL = "show_and_kill"  # its stacks first
    KILL_NOW = "kill_now"
    COUNT_CRASH = "count_crash"
    COUNT_FAILED_BOOT = "count_failed_boot"
    BACK_OFF = "back_off"
    FOLLOW_STOP_REASON = "follow_stop_reason"
    RECALL = "recall"


class SlotStep(NamedTuple):
    state: SlotState
    action: SlotAction


S, E, A = SlotState, SlotEvent, SlotAction

SLOT: Mapping[tuple[SlotState, SlotEvent], SlotStep] = {
    (S.DEAD, E.REFILLED): SlotStep(S.STARTING, A.FORK),
    (S.DEAD, E.DISMISSED): SlotStep(S.DEAD, A.FOLLOW_STOP_REASON),
    (S.DEAD, E.RECALLED): SlotStep(S.DEAD, A.RECALL),
    (S.DEAD, E.HURRIED): SlotStep(S.DEAD, A.NOTHING),
    (S.STARTING, E.FORK_FAILED): SlotStep(S.DEAD, A.BACK_OFF),
    (S.STARTING, E.CAME_UP): SlotStep(S.IDLE, A.WELCOME),
    (S.STARTING, E.DISMISSED): SlotStep(S.DRAINING, A.ASK_TO_LEAVE),
    (S.STARTING, E.RECALLED): SlotStep(S.STARTING, A.NOTHING),
    (S.STARTING, E.HURRIED): SlotStep(S.DRAINING, A.KILL_NOW),
    (S.STARTING, E.OVERDUE): SlotStep(S.DRAINING, A.SHOW_AND_KILL),
    (S.STARTING, E.EXITED): SlotStep(S.DEAD, A.COUNT_FAILED_BOOT),
    (S.IDLE, E.TOOK): SlotStep(S.BUSY, A.NOTHING),
    (S.IDLE, E.DISMISSED): SlotStep(S.DRAINING, A.ASK_TO_LEAVE),
    (S.IDLE, E.RECALLED): SlotStep(S.IDLE, A.NOTHING),
    (S.IDLE, E.HURRIED): SlotStep(S.DRAINING, A.HURRY),
    (S.IDLE, E.OVERDUE): SlotStep(S.DRAINING, A.SHOW_AND_KILL),
    (S.IDLE, E.EXITED): SlotStep(S.DEAD, A.COUNT_CRASH),
    (S.BUSY, E.SETTLED): SlotStep(S.IDLE, A.NOTHING),
    (S.BUSY, E.DISMISSED): SlotStep(S.DRAINING, A.ASK_TO_LEAVE),
    (S.BUSY, E.RECALLED): SlotStep(S.BUSY, A.NOTHING),
    (S.BUSY, E.HURRIED): SlotStep(S.DRAINING, A.HURRY),
    (S.BUSY, E.OVERDUE): SlotStep(S.DRAINING, A.SHOW_AND_KILL),
    (S.BUSY, E.EXITED): SlotStep(S.DEAD, A.COUNT_CRASH),
    (S.DRAINING, E.DISMISSED): SlotStep(S.DRAINING, A.NOTHING),
    (S.DRAINING, E.RECALLED): SlotStep(S.DRAINING, A.RECALL),
    (S.DRAINING, E.HURRIED): SlotStep(S.DRAINING, A.HURRY),
    (S.DRAINING, E.OVERDUE): SlotStep(S.DRAINING, A.SHOW_AND_KILL),
    (S.DRAINING, E.EXITED): SlotStep(S.DEAD, A.FOLLOW_STOP_REASON),
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


class PoolAction(StrEnum):
    NOTHING = "nothing"
    ANNOUNCE_READY = "announce_ready"
    REMEMBER_RELOAD = "remember_reload"
    RELOAD = "reload"
    RELOAD_AGAIN = "reload_again"
    GO_ON = "go_on"
    ABANDON_RELOAD = "abandon_reload"
    END_RELOAD = "end_reload"
    DRAIN = "drain"
    HURRY = "hurry"
    END = "end"


class PoolStep(NamedTuple):
    mode: Mode
    action: PoolAction


M, P, D = Mode, PoolEvent, PoolAction

POOL: Mapping[tuple[Mode, PoolEvent], PoolStep] = {
    (M.STARTING, P.ALL_UP): PoolStep(M.RUNNING, D.ANNOUNCE_READY),
    (M.STARTING, P.RELOAD): PoolStep(M.STARTING, D.REMEMBER_RELOAD),
    (M.STARTING, P.BOOT_FAILED): PoolStep(M.STARTING, D.NOTHING),
    (M.STARTING, P.DRAIN): PoolStep(M.DRAINING, D.DRAIN),
    (M.STARTING, P.HURRY): PoolStep(M.DRAINING, D.HURRY),
    (M.STARTING, P.GIVE_UP): PoolStep(M.DRAINING, D.DRAIN),
    (M.RUNNING, P.RELOAD): PoolStep(M.RELOADING, D.RELOAD),
    (M.RUNNING, P.BOOT_FAILED): PoolStep(M.RUNNING, D.NOTHING),
    (M.RUNNING, P.DRAIN): PoolStep(M.DRAINING, D.DRAIN),
    (M.RUNNING, P.HURRY): PoolStep(M.DRAINING, D.HURRY),
    (M.RUNNING, P.GIVE_UP): PoolStep(M.DRAINING, D.DRAIN),
    (M.RELOADING, P.RELOAD): PoolStep(M.RELOADING, D.RELOAD_AGAIN),
    (M.RELOADING, P.REFUSED): PoolStep(M.RUNNING, D.GO_ON),
    (M.RELOADING, P.BOOT_FAILED): PoolStep(M.RELOADING, D.ABANDON_RELOAD),
    (M.RELOADING, P.ROLLED): PoolStep(M.RUNNING, D.END_RELOAD),
    (M.RELOADING, P.DRAIN): PoolStep(M.DRAINING, D.DRAIN),
    (M.RELOADING, P.HURRY): PoolStep(M.DRAINING, D.HURRY),
    (M.RELOADING, P.GIVE_UP): PoolStep(M.DRAINING, D.DRAIN),
    (M.DRAINING, P.RELOAD): PoolStep(M.DRAINING, D.NOTHING),
    (M.DRAINING, P.BOOT_FAILED): PoolStep(M.DRAINING, D.NOTHING),
    (M.DRAINING, P.DRAIN): PoolStep(M.DRAINING, D.NOTHING),
    (M.DRAINING, P.HURRY): PoolStep(M.DRAINING, D.HURRY),
    (M.DRAINING, P.GIVE_UP): PoolStep(M.DRAINING, D.NOTHING),
    (M.DRAINING, P.ENDED): PoolStep(M.STOPPED, D.END),
    (M.STOPPED, P.RELOAD): PoolStep(M.STOPPED, D.NOTHING),
    (M.STOPPED, P.DRAIN): PoolStep(M.STOPPED, D.NOTHING),
    (M.STOPPED, P.HURRY): PoolStep(M.STOPPED, D.NOTHING),
}
