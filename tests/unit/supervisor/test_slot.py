"""One slot and its row, fed with what workers do; no process here."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from supervisor.event_log import EventLog
from supervisor.processes.processes import Child, Exit
from supervisor.program import PoolSettings
from supervisor.scoreboard.scoreboard import Row, Scoreboard
from supervisor.slots.host import Host
from supervisor.slots.worker_slot import WorkerSlot
from supervisor.transitions import SlotState, StopReason

if TYPE_CHECKING:
    from supervisor.program import Program

PID = 4711
SENT: list[signal.Signals] = []


class Nobody(Child):
    """A child that can't be hurt."""

    def signal(self, number: signal.Signals) -> None:
        SENT.append(number)

    def look(self) -> str:
        return "T"


class Pool:
    """A host with a clock of its own and children that are none, and the rules of a pool."""

    def __init__(self) -> None:
        self.settings = PoolSettings("dummy", 1, boot_timeout_s=5.0)
        self.generation = 1
        self.time = 100.0
        self.draining = False
        self.keeper_needed = True
        self.failed_boots = 0

    def fork(self, name: str, main: Callable[[], int], set_handlers: Callable[[], None]) -> Child:
        return Nobody(PID, -1)

    def boot_failed(self, died: Exit, failures: int) -> None:
        self.failed_boots += 1

    @property
    def host(self) -> Host:
        return Host(self.fork, lambda: self.time, EventLog(lambda *_: None))


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
def slot(board: Scoreboard, pool: Pool) -> WorkerSlot:
    """A slot whose worker was just forked."""
    made = WorkerSlot(board.place(1), board, pool.host, pool, cast("Program", None))
    made.fill()
    assert made.refill() and made.state is SlotState.STARTING
    return made


def killed(slot: WorkerSlot) -> bool:
    return slot.kill_at is not None


def told_to_leave(slot: WorkerSlot) -> bool:
    return slot.row.leaving


def restarts(slot: WorkerSlot) -> dict[str, float]:
    """How often a worker was replaced, by the reason."""
    return {key.decode().partition("\x1f")[2]: value for key, value in slot.board.head.counters.items().items()}


def test_a_worker_has_its_number_before_it_works(board: Scoreboard, pool: Pool) -> None:
    """Whoever sees it idle or busy can name its process, however late the supervisor has its next turn."""
    seen: list[int] = []

    def work(row: Row) -> int:
        seen.append(row.pid)
        return 0

    program = SimpleNamespace(work=work)
    slot = WorkerSlot(board.place(1), board, pool.host, pool, cast("Program", program))
    assert slot.main() == 0 and seen == [os.getpid()]


def test_a_worker_that_takes_and_dies_before_anybody_looked_did_boot(slot: WorkerSlot, pool: Pool) -> None:
    """Its item is to blame, not the program: a pool is given up when its workers don't boot."""
    for _ in range(5):
        slot.row.begin("held", "g/n", "running")
        slot.exited(Exit(-11))
        pool.time += 60
        slot.refill()
    assert restarts(slot) == {"crashed": 5} and slot.backoff.boot_failures == 0
    slot.exited(Exit(1))
    assert restarts(slot) == {"crashed": 5, "boot": 1} and pool.failed_boots == 1, "this one was never up"


@pytest.mark.parametrize("draining", [False, True])
def test_a_worker_stopped_without_a_deadline_is_replaced(slot: WorkerSlot, pool: Pool, draining: bool) -> None:
    """While it settles no deadline runs, but its lease is renewed: without an end its item would be nobody's."""
    slot.row.begin("held", "g/n", "running", int(1e18))
    slot.row.finish("settling")
    slot.observe()
    slot.observe()
    if draining:
        slot.dismiss(StopReason.RELOADED)
    slot.note_stopped(True)
    pool.time += 4
    slot.observe()
    assert not killed(slot)
    pool.time += 2
    slot.observe()
    assert slot.state is SlotState.DRAINING and killed(slot)
    assert not slot.row.failure_code, "it is run again: nobody knows how far it has come"


def test_a_condemned_worker_takes_nothing_more(slot: WorkerSlot, pool: Pool) -> None:
    """It has a moment to show its stacks: whatever it took then would be killed with it."""
    slot.row.begin("held", "g/n", "running", int((pool.time + 1) * 1e9))
    slot.observe()
    slot.observe()
    assert not told_to_leave(slot)
    pool.time += 2
    slot.observe()
    assert told_to_leave(slot)
    assert (slot.row.failure_code, slot.row.killed_for) == ("node_timeout", "held")


def idle(slot: WorkerSlot, pool: Pool) -> None:
    """The worker waits for something to do, and has just said so."""
    slot.row.state = "idle"
    slot.row.since_ns = 1
    slot.row.turned_ns = int(pool.time * 1e9)
    slot.observe()
    slot.row.clear_wake()


def test_an_idle_worker_is_woken_before_it_is_taken_for_stuck(slot: WorkerSlot, pool: Pool) -> None:
    """Where all stood still for long it comes round when it is woken, and is left alone."""
    idle(slot, pool)
    pool.time += pool.settings.idle_timeout_s + 1
    slot.observe()
    assert slot.row.clear_wake() and not killed(slot)
    slot.row.turned_ns = int(pool.time * 1e9)
    pool.time += pool.settings.idle_timeout_s - 1
    slot.observe()
    assert not slot.row.clear_wake() and not killed(slot)


def test_an_idle_worker_that_does_not_answer_is_killed(slot: WorkerSlot, pool: Pool) -> None:
    """No state of a worker is outside every time limit; nothing was in hand, so nothing is held against an item."""
    idle(slot, pool)
    for step_s in (pool.settings.idle_timeout_s + 1, pool.settings.idle_timeout_s / 3 - 1):
        pool.time += step_s
        slot.observe()
        assert not killed(slot)
    pool.time += 2
    slot.observe()
    assert killed(slot) and not slot.row.failure_code


def test_a_worker_that_has_just_finished_an_item_is_not_silent(slot: WorkerSlot, pool: Pool) -> None:
    """It may have had items in hand for hours, one after the other, without looking for what there is to do."""
    idle(slot, pool)
    pool.time += 3600
    slot.row.since_ns = int(pool.time * 1e9)
    slot.observe()
    assert not slot.row.clear_wake() and not killed(slot)


@pytest.fixture
def run(slot: WorkerSlot) -> int:
    """A run in progress."""
    SENT.clear()
    slot.row.state = "idle"
    slot.row.begin("held", "g/n", "running")
    begun = slot.row.begin_run("g/n", "running", 0, "watched")
    slot.observe()
    assert slot.state is SlotState.BUSY
    return begun


def test_run_that_is_over_may_end_by_itself(slot: WorkerSlot, pool: Pool, run: int) -> None:
    """First it is let be, then its worker is interrupted, once, and then killed for it."""
    slot.row.stop_run = run
    slot.observe()
    assert not SENT
    at = slot.next_look()
    assert at is not None and at > pool.time
    pool.time = at
    slot.observe()
    slot.observe()
    assert SENT == [signal.SIGUSR2] and not killed(slot)
    at = slot.next_look()
    assert at is not None and at > pool.time
    pool.time = at
    slot.observe()
    assert killed(slot) and (slot.row.failure_code, slot.row.killed_for) == ("cancelled", "held")


def test_run_that_has_ended_is_left_alone(slot: WorkerSlot, pool: Pool, run: int) -> None:
    """So is the one that follows, though it is the same worker's."""
    slot.row.stop_run = run
    slot.observe()
    slot.row.end_run()
    slot.row.begin_run("g/n", "running", 0, "watched")
    for _ in range(3):
        pool.time += 5
        slot.observe()
    assert not SENT and not killed(slot) and slot.next_look() is None


def test_run_whose_item_is_lost_is_interrupted_only(slot: WorkerSlot, pool: Pool, run: int) -> None:
    """There is nothing to be said of the item: it is somebody else's."""
    slot.row.lost_run = run
    for _ in range(5):
        slot.observe()
        pool.time += 5
    assert SENT == [signal.SIGUSR2] and not killed(slot) and slot.next_look() is None
