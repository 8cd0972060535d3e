"""Both transition tables, cell by cell, without a process."""

from __future__ import annotations

import pytest

from supervisor.transitions import (
    FOLLOW,
    POOL,
    SLOT,
    Mode,
    PoolAction,
    PoolEvent,
    SlotAction,
    SlotEvent,
    SlotState,
    StopReason,
)

S, E = SlotState, SlotEvent
M, P = Mode, PoolEvent

# What can't happen in a state, with the reason; every other pair must be listed.
IMPOSSIBLE_SLOT: dict[tuple[SlotState, SlotEvent], str] = {
    (S.DEAD, E.FORK_FAILED): "the state is left before the fork is tried",
    (S.DEAD, E.CAME_UP): "there is no child",
    (S.DEAD, E.TOOK): "there is no child",
    (S.DEAD, E.SETTLED): "there is no child",
    (S.DEAD, E.OVERDUE): "there is no child",
    (S.DEAD, E.EXITED): "there is no child",
    (S.STARTING, E.REFILLED): "there is a child",
    (S.STARTING, E.TOOK): "it comes up first",
    (S.STARTING, E.SETTLED): "it comes up first",
    (S.IDLE, E.REFILLED): "there is a child",
    (S.IDLE, E.FORK_FAILED): "there is a child",
    (S.IDLE, E.CAME_UP): "it is up",
    (S.IDLE, E.SETTLED): "it has nothing in hand",
    (S.BUSY, E.REFILLED): "there is a child",
    (S.BUSY, E.FORK_FAILED): "there is a child",
    (S.BUSY, E.CAME_UP): "it is up",
    (S.BUSY, E.TOOK): "it has something in hand",
    (S.DRAINING, E.REFILLED): "there is a child",
    (S.DRAINING, E.FORK_FAILED): "there is a child",
    (S.DRAINING, E.CAME_UP): "nobody looks any more",
    (S.DRAINING, E.TOOK): "nobody looks any more",
    (S.DRAINING, E.SETTLED): "nobody looks any more",
}
IMPOSSIBLE_POOL: dict[tuple[Mode, PoolEvent], str] = {
    **{(mode, P.ALL_UP): "only waited for while starting" for mode in M if mode is not M.STARTING},
    **{(mode, P.REFUSED): "only a reload is refused" for mode in M if mode is not M.RELOADING},
    **{(mode, P.ROLLED): "only a reload rolls" for mode in M if mode is not M.RELOADING},
    **{(mode, P.ENDED): "only a drain ends" for mode in M if mode is not M.DRAINING},
    (M.STOPPED, P.BOOT_FAILED): "nothing is forked any more",
    (M.STOPPED, P.GIVE_UP): "nothing is forked any more",
}


@pytest.mark.parametrize(("state", "event"), [(state, event) for state in S for event in E])
def test_every_pair_of_a_seat_is_listed_or_impossible(state: SlotState, event: SlotEvent) -> None:
    """No pair is forgotten: it has a transition, or a reason why it can't happen."""
    assert ((state, event) in SLOT) is not ((state, event) in IMPOSSIBLE_SLOT)


@pytest.mark.parametrize(("mode", "event"), [(mode, event) for mode in M for event in P])
def test_every_pair_of_the_pool_is_listed_or_impossible(mode: Mode, event: PoolEvent) -> None:
    """No pair is forgotten: it has a transition, or a reason why it can't happen."""
    assert ((mode, event) in POOL) is not ((mode, event) in IMPOSSIBLE_POOL)


def test_every_action_is_used() -> None:
    """None is left over; that each is done is seen to by the type checker, where they are matched."""
    assert {step.action for step in SLOT.values()} == set(SlotAction)
    assert {step.action for step in POOL.values()} == set(PoolAction)


@pytest.mark.parametrize("stop_reason", list(StopReason))
def test_every_errand_has_an_end(stop_reason: StopReason) -> None:
    """Of every child that was sent away it is said what becomes of its seat."""
    assert stop_reason in FOLLOW


@pytest.mark.parametrize("state", [state for state in S if state is not S.DEAD])
def test_a_seat_whose_child_died_is_dead(state: SlotState) -> None:
    """Whatever a child was at: once it has died, its seat is empty."""
    assert SLOT[state, E.EXITED].state is S.DEAD


@pytest.mark.parametrize("state", [S.STARTING, S.IDLE, S.BUSY, S.DRAINING])
def test_an_overdue_child_is_always_killed(state: SlotState) -> None:
    """No state protects a child from its deadline."""
    assert SLOT[state, E.OVERDUE].action is SlotAction.SHOW_AND_KILL


@pytest.mark.parametrize("mode", [M.STARTING, M.RUNNING, M.RELOADING])
def test_a_drain_comes_before_anything_else(mode: Mode) -> None:
    """TERM and QUIT win in every mode."""
    assert POOL[mode, P.DRAIN].mode is M.DRAINING
    assert POOL[mode, P.HURRY].mode is M.DRAINING


@pytest.mark.parametrize("event", [event for event in P if (M.DRAINING, event) in POOL and event is not P.ENDED])
def test_a_drain_is_never_taken_back(event: PoolEvent) -> None:
    """Nothing but its end ends a drain."""
    assert POOL[M.DRAINING, event].mode is M.DRAINING
