"""Python functions as tools: what they return, how they fail, how long they may take."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import decimal
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from pydantic import BaseModel

from executor_worker.errors import Abandoned, Cancelled, NodeTimeout, ToolFailed, ToolTimeout
from executor_worker.run_context import RunContext
from executor_worker.tools import FunctionTool, ToolContext, tool
from executor_worker.tools.functions.functions import time_limit
from executor_worker.tools.functions.marks import Mark, mark_of
from tests.kit import Stopwatch, wait_until


class Place(BaseModel):
    city: str
    at: datetime.datetime


@dataclasses.dataclass
class Pair:
    left: int
    right: decimal.Decimal


def call(function: Callable[..., Any], run_context: RunContext, timeout: float | None = None, **arguments: Any) -> Any:
    return FunctionTool(function, Mark(None, None, None, timeout)).call(arguments, run_context, "item/1").value


def returning(value: Any) -> Callable[[], Any]:
    def give() -> Any:
        return value

    return give


def raising(error: BaseException) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


def forked(then: Callable[[], Any]) -> int:
    """Fork, leave *then* to the child; returns the child's exit status."""
    pid = os.fork()
    if pid == 0:
        then()
        return 0
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    "then", [returning(None), raising(FileNotFoundError("no such program")), raising(SystemExit())]
)
def test_a_forked_process_does_not_come_back_from_the_function(
    run_context: RunContext, then: Callable[[], Any]
) -> None:
    """It would be a second worker with the same item: it ends, and the one that was asked goes on."""

    async def awaited() -> int:
        return forked(then)

    ours = os.getpid()
    assert call(lambda: forked(then), run_context) == call(awaited, run_context) == 1
    assert os.getpid() == ours


def test_a_marked_function_stays_a_function() -> None:
    """It can be called and tested like any other."""

    @tool
    def double(n: int) -> int:
        return 2 * n

    @tool(name="triple", effects="none", timeout=5)
    def times_three(n: int) -> int:
        return 3 * n

    assert (double(2), times_three(2)) == (4, 6)
    assert mark_of(times_three) == Mark("triple", None, "none", 5)
    assert mark_of(len) is None


@pytest.mark.parametrize(
    "options", [{"effects": "maybe"}, {"timeout": 0}, {"name": " "}, {"timeout": float("nan")}, {"on_open": "no"}]
)
def test_a_wrong_mark_is_refused_where_it_stands(options: dict[str, Any]) -> None:
    """The author hears of it when the module is imported."""
    with pytest.raises(ValueError, match="@tool"):
        tool(**options)


def test_a_class_can_not_be_marked() -> None:
    """Only functions can be called by name and schema."""
    with pytest.raises(TypeError, match="functions"):
        tool(Pair)
    with pytest.raises(TypeError, match="by name"):
        tool("search")  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("value", "json"),
    [
        (Place(city="Ulm", at=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)), {"city": "Ulm"}),
        (Pair(1, decimal.Decimal("0.10")), {"left": 1, "right": "0.10"}),
        ({"when": datetime.date(2026, 1, 2)}, {"when": "2026-01-02"}),
        ((1, (2,)), [1, [2]]),
        ({1: "one"}, {"1": "one"}),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (2**100, 2**100),
        (None, None),
    ],
)
def test_what_is_returned_becomes_json(run_context: RunContext, value: Any, json: Any) -> None:
    """Models, dataclasses, dates and the like have a plain form."""
    found = call(returning(value), run_context)
    assert found == json or {**found, **json} == found


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "value", [b"bytes", {"a": float("nan")}, float("inf"), object(), {(1, 2): 3}, nested(1000), LOOP, (n for n in "ab")]
)
def test_what_json_has_no_form_for_fails_the_call(run_context: RunContext, value: Any) -> None:
    """It is said where it is and of what type, not what it holds."""
    with pytest.raises(ToolFailed, match="output that is not JSON"):
        call(returning(value), run_context)


def overflow() -> Any:
    return overflow()


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (raising(ValueError("no such city")), "ValueError: no such city"),
        (raising(SystemExit(3)), "SystemExit: 3"),
        (raising(KeyboardInterrupt()), "KeyboardInterrupt"),
        (raising(MemoryError()), "MemoryError"),
        (raising(GeneratorExit()), "GeneratorExit"),
        (raising(asyncio.CancelledError()), "CancelledError"),
        (raising(BaseExceptionGroup("two", [SystemExit(1)])), "two"),
        (raising(TimeoutError("socket")), "TimeoutError: socket"),
        (raising(Unprintable()), "Unprintable"),
        (overflow, "RecursionError"),
    ],
)
def test_whatever_a_function_raises_is_an_outcome(
    run_context: RunContext, function: Callable[[], Any], said: str
) -> None:
    """tool_failed with its type and text; the worker lives."""
    with pytest.raises(ToolFailed, match=said):
        call(function, run_context)


@pytest.mark.parametrize("error", [Abandoned("taken over"), ToolFailed("on purpose"), Cancelled("by its graph")])
def test_what_is_ours_passes_through(run_context: RunContext, error: BaseException) -> None:
    """An interruption from outside is not the tool's failure."""
    with pytest.raises(type(error), match=str(error)):
        call(raising(error), run_context)


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def stubborn(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            time.sleep(seconds)
        except BaseException:  # noqa: BLE001 - the point of it
            continue


async def asleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "awake"


async def asleep_in_c(seconds: float) -> None:
    time.sleep(seconds)


@pytest.mark.parametrize("function", [sleep, asleep, asleep_in_c])
def test_a_function_that_takes_too_long_is_interrupted(run_context: RunContext, function: Callable[..., Any]) -> None:
    """tool_timeout; what was set up before the call is as it was."""
    before = signal.getsignal(signal.SIGALRM)
    began = Stopwatch()
    with pytest.raises(ToolTimeout, match=r"did not end within 0\.2 s"):
        call(function, run_context, timeout=0.2, seconds=20)
    assert began.own_s() < 3
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_limit_whose_block_was_left_without_its_end_interrupts_nobody() -> None:
    """As when another interruption comes just in between: its time is up in code that has nothing to do with it."""
    before = signal.getsignal(signal.SIGALRM)
    ran = threading.Event()

    def leave_without_end() -> None:
        time_limit(0.05).__enter__()

    try:
        leave_without_end()
        handler = signal.getsignal(signal.SIGALRM)
        assert callable(handler)

        def watched(number: int, frame: FrameType | None) -> None:
            handler(number, frame)
            ran.set()

        signal.signal(signal.SIGALRM, watched)
        wait_until(ran.is_set, 10, "its time is up")
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_one_that_swallows_the_interruption_is_interrupted_again(run_context: RunContext) -> None:
    """Sooner or later it is outside its `try`; if not, its worker is ended by the supervisor."""
    began = Stopwatch()
    with pytest.raises(ToolTimeout):
        call(once_stubborn, run_context, timeout=0.2)
    assert began.wall_s() > 1 and began.own_s() < 5


def once_stubborn() -> None:
    try:
        time.sleep(20)
    except BaseException:  # noqa: BLE001 - the point of it
        time.sleep(20)


def test_the_items_own_limit_is_reported_as_such() -> None:
    """Where the node's time ends first it is node_timeout, and nothing is called when it has ended."""
    with pytest.raises(NodeTimeout):
        call(sleep, RunContext(time.monotonic() + 0.2), timeout=30, seconds=20)
    called: list[int] = []
    with pytest.raises(NodeTimeout):
        call(lambda: called.append(1), RunContext(time.monotonic() - 1))
    assert not called


def test_outside_the_main_thread_it_works_without_interruption(run_context: RunContext) -> None:
    """Signals reach the main thread only."""
    values: list[Any] = []
    thread = threading.Thread(target=lambda: values.append(call(sleep, run_context, seconds=0)))
    thread.start()
    thread.join()
    assert values == [None]


def test_an_async_function_runs_to_its_end(run_context: RunContext) -> None:
    """Also what a plain function returns to be awaited."""
    assert call(asleep, run_context, seconds=0) == "awake"
    assert call(lambda: asleep(0), run_context) == "awake"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), ValueError("no"), TimeoutError("inner")])
def test_what_an_async_function_raises_is_an_outcome(run_context: RunContext, error: BaseException) -> None:
    """The same as for others."""

    async def fail() -> None:
        raise error

    with pytest.raises(ToolFailed, match=type(error).__name__):
        call(fail, run_context)


def test_a_function_that_asks_is_told_about_its_call(run_context: RunContext) -> None:
    """The key, the time left, and a place where a cancelled item ends."""

    def report(context: ToolContext, n: int) -> Any:
        context.progress(1, 2, "half")
        return [context.key, n, 0 < context.left() <= 5]

    made = FunctionTool(report, Mark(None, None, None, 5.0))
    assert "context" not in made.input_schema["properties"]
    assert made.call({"n": 3}, run_context, "item/1").value == ["item/1", 3, True]

    class Gone(RunContext):
        def check(self) -> None:
            raise Cancelled("its graph was cancelled")

    with pytest.raises(Cancelled):
        made.call({"n": 3}, Gone(time.monotonic() + 5), "item/1")


def test_arguments_arrive_as_the_hints_say(run_context: RunContext) -> None:
    """Models, dataclasses and dates are made from their JSON."""

    def kinds(place: Place, pair: Pair, day: datetime.date, tags: set[str]) -> list[str]:
        return [type(value).__name__ for value in (place, pair, day, tags)]

    arguments: dict[str, Any] = {
        "place": {"city": "Ulm", "at": "2026-01-02T03:04:05Z"},
        "pair": {"left": "1", "right": "0.1"},
        "day": "2026-01-02",
        "tags": ["a", "a"],
    }
    assert call(kinds, run_context, **arguments) == ["Place", "Pair", "date", "set"]


def test_arguments_that_do_not_fit_are_named_without_their_values(run_context: RunContext) -> None:
    """They may be secret."""
    with pytest.raises(ToolFailed, match="seconds: Input should be a valid number") as failed:
        call(sleep, run_context, seconds="s3cret")
    assert "s3cret" not in str(failed.value)


def test_prints_go_to_stderr(run_context: RunContext, capfd: pytest.CaptureFixture[str]) -> None:
    """stdout is for results: what a function or its children print does not get there."""

    def chatty() -> None:
        print("from Python")
        sys.stdout.flush()
        os.write(1, b"from C\n")
        subprocess.run(["echo", "from a child"], check=True)

    call(chatty, run_context)
    os.write(1, b"result\n")
    captured = capfd.readouterr()
    assert captured.out == "result\n"
    assert all(f"from {who}" in captured.err for who in ("Python", "C", "a child"))


def test_the_decorator_is_light() -> None:
    """A tool's module can be imported, and tested, without loading MCP or a model's SDK."""
    code = (
        "import sys; from executor_worker.tools import tool; "
        "print([name for name in ('mcp', 'anthropic', 'openai', 'httpx2', 'redis', 'loguru') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
