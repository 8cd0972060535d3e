"""
Each signal of the table while every worker is busy and more is waiting: nothing is lost, nothing is run twice.

HUP and USR2 under load are scenarios 23 and 24, in `test_drain.py`.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx2
import pytest

from tests.faults.stage import GIVEN_BACK_MS, WORK, Stage, pids_of
from tests.kit import Pool, wait_until

Signal = signal.Signals
WORKERS = 4
BATCH = 24
STILL = 5  # looks in a row at which nothing was begun
pytestmark = [pytest.mark.xdist_group("signals"), pytest.mark.cold]


class Load:
    """
    A pool that has more to do than it can, whatever happens to it; another takes its place where it has ended.

    Attributes:
        graphs: Of all items so far, with how often each may have been run.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.graphs: Counter[str] = Counter()
        self.pool = self._start()

    def _start(self) -> Pool:
        return self.stage.pool(workers=WORKERS, LEASE="30")

    def replace(self) -> None:
        """Have a new pool do what the last one has left."""
        self.pool = self._start()

    def push(self, tool: str, runs: int = 1, **params: Any) -> str:
        graph = f"g{len(self.graphs)}"
        self.graphs[graph] = runs
        self.stage.push(tool, graph, **params)
        return graph

    def occupy(self, tool: str, runs: int = 1) -> list[str]:
        """Have all workers call *tool*, with more waiting; return the graphs."""
        held = [self.push(tool, runs) for _ in range(WORKERS)]
        self.until(lambda: all(row["phase"] == f"tool:{tool}" for row in self.pool.workers()))
        wait_until(lambda: all(self.stage.journal.starts(graph) for graph in held))  # the phase comes first
        return held

    def until(self, condition: Callable[[], object]) -> int:
        """Keep up the load until *condition*; return the fewest workers that were ready meanwhile."""
        ready = [WORKERS]

        def turn() -> object:
            if self.stage.db.xlen(WORK) < BATCH:
                for _ in range(BATCH):
                    self.push("nap", seconds=0.02)
            with suppress(httpx2.TransportError):  # we have met the keeper that leaves
                ready.append(sum(row["state"] in ("idle", "busy") for row in self.pool.workers()))
            return condition()

        wait_until(turn, 30)
        return min(ready)

    def send(self, number: signal.Signals, event: str) -> int:
        """Send a signal under load until it was heard; return the fewest workers that were ready meanwhile."""
        before = len(self.pool.seen(event))
        self.pool.send(number)
        return self.until(lambda: len(self.pool.seen(event)) > before)

    def flow(self) -> int:
        """Let some items be run, with more behind them; return the fewest workers that were ready meanwhile."""
        before = len(self.stage.journal.starts())
        return self.until(lambda: len(self.stage.journal.starts()) > before + WORKERS)

    def assert_well(self) -> None:
        """Let all be done: each item has one result, was not held against it, and was run as often as it should be."""
        self.stage.assert_settled_once(self.graphs)
        assert Counter(fact.mark for fact in self.stage.journal.starts()) == self.graphs
        assert {event["data"]["attempt"] for event in self.stage.results()} == {1}


@pytest.fixture(scope="module")
def shared_load(shared_stage: Stage) -> Load:
    return Load(shared_stage)


@pytest.fixture
def load(shared_load: Load) -> Load:
    """Flowing; where a test before has failed and left no pool, with a new one."""
    if not shared_load.pool.process.running():
        shared_load.replace()
    shared_load.flow()
    return shared_load


def test_usr1_and_alrm(load: Load) -> None:
    """Logs are opened anew and the status is told, by the same workers, none of which stands back."""
    before = pids_of(load.pool)
    for _ in range(2):
        load.pool.send(Signal.SIGUSR1)
        assert load.send(Signal.SIGALRM, "pool.status") == WORKERS
    assert load.flow() == WORKERS
    load.assert_well()
    assert pids_of(load.pool) == before


def test_ttin_and_ttou(load: Load) -> None:
    """Two slots more, then as many fewer: who leaves finishes first, all others work on."""
    for number in (Signal.SIGTTIN, Signal.SIGTTIN, Signal.SIGTTOU, Signal.SIGTTOU):
        assert load.send(number, "pool.resized") >= WORKERS - 1
    assert load.until(lambda: len(load.pool.workers()) == WORKERS) >= WORKERS - 1
    load.assert_well()


def test_tstp_and_cont(load: Load) -> None:
    """What is in hand is finished, what came just then is given back; then all goes on with the same workers."""
    before = pids_of(load.pool)
    load.pool.send(Signal.SIGTSTP)
    begun: list[int] = []

    def stands_still() -> bool:
        begun.append(len(load.stage.journal.starts()))
        idle = all(row["state"] == "idle" for row in load.pool.workers())
        in_hand = [row for row in load.stage.pending().values() if row[1] < GIVEN_BACK_MS]
        return idle and not in_hand and len(begun) > STILL and len(set(begun[-STILL:])) == 1

    load.until(stands_still)
    assert load.stage.db.xlen(WORK) and len(load.stage.results()) == begun[-1]
    load.pool.send(Signal.SIGCONT)
    assert load.flow() == WORKERS
    load.assert_well()
    assert pids_of(load.pool) == before


@pytest.mark.parametrize("number", [Signal.SIGTERM, Signal.SIGINT])
def test_drain(load: Load, number: signal.Signals) -> None:
    """What is in hand is finished, what waits, or came with a last result, is left to others; the end is clean."""
    held = load.occupy("hold")
    load.pool.send(number)
    load.pool.wait_event("pool.draining")
    for graph in held:
        load.stage.journal.let_go(graph)
    assert load.pool.wait() == 0
    assert load.stage.db.xlen(WORK) and all(idle > GIVEN_BACK_MS for _, idle, _ in load.stage.pending().values())
    load.replace()
    load.assert_well()


def test_quit(load: Load) -> None:
    """What is in hand is given back and run again by others, without a delivery counted; what waits is run once."""
    load.occupy("hold_first", runs=2)
    load.pool.send(Signal.SIGQUIT)
    assert load.pool.wait() == 0
    left = load.stage.pending().values()
    assert len(left) == WORKERS and all(idle > GIVEN_BACK_MS for _, idle, _ in left)
    load.replace()
    load.assert_well()
