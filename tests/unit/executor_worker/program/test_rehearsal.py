"""What is rehearsed before the workers are forked."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from executor_worker.broker import Endpoint
from executor_worker.broker.fleet.identity import Identity
from executor_worker.program import rehearsal
from executor_worker.program.pool import ExecutorProgram
from executor_worker.settings import Settings
from executor_worker.settings.kinds import Span
from executor_worker.telemetry import logs
from supervisor.scoreboard.scoreboard import HIDDEN_NAME, Scoreboard
from tests.kit import Stopwatch
from tests.kit.paths import ROOT

NOWHERE = Endpoint.parse("localhost:1")


class Told(Exception):
    """A signal's handler was run."""


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    board = Scoreboard(1)
    yield board
    board.close()


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """All events logged, at whatever level."""
    found: list[str] = []
    sink = logger.add(lambda message: found.append(message.record["message"]), level="DEBUG")
    yield found
    logger.remove(sink)


@pytest.fixture(autouse=True)
def slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be slow, and it is no failure; the alarm, which is pytest's time limit here, is a call's as in any worker."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    monkeypatch.setattr(rehearsal, "ENOUGH_S", 60.0)
    monkeypatch.setattr(rehearsal, "LONGEST_S", 60.0)
    monkeypatch.setitem(rehearsal._CONFIG, "timeout", 60.0)


def program(board: Scoreboard, **settings: str) -> ExecutorProgram:
    given = {"LLM_PROVIDER": "scripted", **settings}
    return ExecutorProgram(
        Settings.load(given), NOWHERE, board, Identity("pool"), None, lambda: (Settings.load(given), NOWHERE)
    )


def state_of_process() -> dict[str, Any]:
    """All that a rehearsal might change in its process."""
    gc.collect()
    return {
        "descriptors": {fd.name: str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.exists()},
        "memory": Path("/proc/self/maps").read_text().count(HIDDEN_NAME),
        "threads": (len(os.listdir("/proc/self/task")), threading.enumerate()),
        "children": [Path(f"{task}/children").read_text() for task in Path("/proc/self/task").iterdir()],
        "alarm": (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)),
        "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "stdout": sys.stdout,
        "log fields": dict(logs.around()),
        "environment": dict(os.environ),
    }


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="as it is"),
        pytest.param({"EVENT_CONTENT": "1", "MAX_ITEMS_PER_WORKER": "1", "MAX_RSS_MB": "1"}, id="told and recycled"),
        pytest.param({"QUEUES": "urgent,default", "LIMITS": "place=3", "FAILURES_TO_COMPLETED": "always"}, id="queues"),
        pytest.param({"ROLES": "agent,chat"}, id="roles"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1"}, id="traces"),
        pytest.param({"LEASE": "1s", "MAX_ITEM_BYTES": "1KiB", "DELETE_SETTLED": "0"}, id="at their least"),
    ],
)
def test_every_item_is_completed_and_nothing_of_it_is_left(
    board: Scoreboard, lines: list[str], settings: dict[str, str]
) -> None:
    """As the workers will do it, whatever they are told: no line, no figure, no descriptor, thread, child or timer."""
    made = program(board, **settings)
    table, before = bytes(board.shared), state_of_process()
    lines.clear()
    assert made.rehearse() == rehearsal.ITEMS
    assert state_of_process() == before
    assert bytes(board.shared) == table
    assert not lines


@pytest.mark.parametrize(
    "settings", [{"QUEUES": "none", "ROLES": "agent,chat"}, {"MAX_ITEM_BYTES": "500"}, {"serves alone": "1"}]
)
def test_pool_that_has_no_such_items_rehearses_none(
    board: Scoreboard, lines: list[str], settings: dict[str, str]
) -> None:
    """That is no failure."""
    made = program(board, **settings)
    if "serves alone" in settings:
        made.settings = made.settings.model_copy(update={"workers": Span(0, 0)})
    lines.clear()
    assert made.rehearse() == 0
    assert not lines


HELD = """
import sys
from executor_worker.program import rehearsal
from supervisor.scoreboard.scoreboard import Scoreboard
from tests.unit.executor_worker.program.test_rehearsal import program

class Looked:
    pass

names = [f"looked up {number}" for number in range(2000)]
made = program(Scoreboard(1))
before = sum(map(sys.getrefcount, names))
assert not any(hasattr(Looked, name) for name in names)
assert sum(map(sys.getrefcount, names)) > before + 100  # an address has one place in the cache: not all have room
made.rehearse()
assert sum(map(sys.getrefcount, names)) == before
"""


def test_names_that_were_looked_up_before_are_held_no_more() -> None:
    """
    Else each worker lets go of them one by one, and writes into all the pages they lie on.

    In an interpreter of its own: after thousands of tests one may have no version left for a new class, and caches
    nothing of it.
    """
    subprocess.run([sys.executable, "-c", HELD], cwd=ROOT, check=True)


def raising(kind: type[BaseException]) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise kind

    return fail


def hanging(*_: object, **__: object) -> Any:
    time.sleep(60)


def spinning(*_: object, **__: object) -> Any:
    while True:
        pass


@pytest.mark.parametrize(
    "broken",
    [
        *map(raising, (ValueError, SystemExit, KeyboardInterrupt, MemoryError, GeneratorExit)),
        *(hanging, spinning),
    ],
)
@pytest.mark.parametrize("part", ["pack", "dumps", "rehearsed", "FunctionTool", "Scoreboard"])
def test_rehearsal_that_fails_is_told_once_and_leaves_nothing(
    board: Scoreboard, lines: list[str], monkeypatch: pytest.MonkeyPatch, part: str, broken: Callable[..., Any]
) -> None:
    """Whatever is raised wherever, and whatever takes for ever: one warning, within its time."""
    made = program(board)
    lines.clear()
    monkeypatch.setattr(rehearsal, "LONGEST_S", 0.1)
    monkeypatch.setattr(rehearsal, "ENOUGH_S", 0.1)
    monkeypatch.setitem(rehearsal._CONFIG, "timeout", 0.1)
    before = state_of_process()
    monkeypatch.setattr(rehearsal, part, broken)
    took = Stopwatch()
    assert made.rehearse() == 0
    assert took.own_s() < 5
    assert lines == ["rehearsal.failed"]
    assert state_of_process() == before


def interrupted(usual: Callable[..., Any]) -> Callable[..., Any]:
    """Do as usual, but while an alarm comes."""

    def interrupt(*given: object) -> Any:
        signal.raise_signal(signal.SIGALRM)
        return usual(*given)

    return interrupt


@pytest.mark.parametrize("broken", [None, raising(ValueError)])
def test_alarm_that_comes_while_it_is_tidied_up_leaves_nothing(
    board: Scoreboard, lines: list[str], monkeypatch: pytest.MonkeyPatch, broken: Callable[..., Any] | None
) -> None:
    """Its time is up just then, as on a machine where everything takes long: no timer goes on, whose alarm kills."""
    made = program(board)
    before = state_of_process()
    lines.clear()
    if broken is not None:
        monkeypatch.setattr(rehearsal, "pack", broken)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Scoreboard, "close", interrupted(Scoreboard.close))
        usual = signal.setitimer
        meanwhile.setattr(signal, "setitimer", lambda *given: (interrupted(usual) if given[1] == 0 else usual)(*given))
        assert made.rehearse() == (rehearsal.ITEMS if broken is None else 0)
    assert state_of_process() == before
    assert lines == ([] if broken is None else ["rehearsal.failed"])


def test_rehearsal_that_takes_long_ends_with_fewer_items(
    board: Scoreboard, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow machine is no failure: the item that was begun is the last."""
    made = program(board)
    lines.clear()
    monkeypatch.setattr(rehearsal, "ENOUGH_S", 0.05)
    monkeypatch.setattr(rehearsal, "pack", lambda _: time.sleep(0.02))
    assert 0 < made.rehearse() < rehearsal.ITEMS
    assert not lines


def test_one_item_is_rehearsed_however_slow_the_machine_is(
    board: Scoreboard, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is over before the first was taken."""
    made = program(board)
    lines.clear()
    monkeypatch.setattr(rehearsal, "ENOUGH_S", -1.0)
    assert made.rehearse() == 1
    assert not lines


def test_signal_that_comes_meanwhile_ends_the_start_just_after(
    board: Scoreboard, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is neither lost nor taken for a failure."""
    made = program(board)
    lines.clear()
    monkeypatch.setattr(rehearsal, "pack", lambda _: signal.pthread_kill(threading.get_ident(), signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, raising(Told))
    try:
        with pytest.raises(Told):
            made.rehearse()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not lines
