"""`@tool(isolate=True)`: a call in a process of its own, whatever it does there."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from executor_worker.errors import Abandoned, Cancelled, NodeTimeout, ToolError, ToolFailed, ToolTimeout
from executor_worker.run_context import RunContext
from executor_worker.tools import Tool, ToolRegistry, ToolSettings, tool
from executor_worker.tools.isolation.launcher import Launcher
from tests.kit import Stopwatch, wait_until
from tests.kit.processes import alive, descendants, read_proc, state_of
from tests.unit.executor_worker.tools.conftest import Log

# One place for all: they share what takes long to start.
pytestmark = [pytest.mark.xdist_group("isolation"), pytest.mark.timeout(300)]

MODULE = "tests.system.tools.isolated_tools"


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[ToolRegistry, Log]]:
    """One registry for the file: what it forks from takes half a second to start."""
    log = Log()
    registry = ToolRegistry(ToolSettings(tool_modules=(MODULE,), tool_timeout_s=60), log=log)
    yield registry, log
    registry.close()


@pytest.fixture
def registry(shared: tuple[ToolRegistry, Log]) -> ToolRegistry:
    """All tools of `isolated_tools.py`."""
    return shared[0]


@pytest.fixture
def log(shared: tuple[ToolRegistry, Log]) -> Log:
    """What that registry logs from now on."""
    shared[1].clear()
    return shared[1]


@pytest.fixture
def call(registry: ToolRegistry, run_context: RunContext) -> Callable[..., Any]:
    """`call(name, **arguments)`: what the tool returned."""

    def make(name: str, **arguments: Any) -> Any:
        return registry.find(name).call(arguments, run_context, "item/1").value

    return make


def zygotes() -> list[int]:
    """Processes of ours that isolated calls are forked from, by what they call themselves."""
    return [pid for pid in descendants(os.getpid()) if b"isolated tools" in read_proc(pid, "cmdline") and alive(pid)]


def test_a_call_has_a_process_of_its_own(call: Callable[..., Any]) -> None:
    """With its own session, the idempotency key and the time that is left; the next call has another."""
    first, second = call("who"), call("who")
    assert len({first["pid"], second["pid"], os.getpid()}) == 3
    assert first["session"] == first["pid"]
    assert first["key"] == "item/1"
    assert 10 < first["left"] <= 60
    wait_until(lambda: not alive(first["pid"]), 5)


@pytest.mark.parametrize(
    "value", [None, "ä\ud800", 2**80, [], {"deep": [{"er": [1.5]}]}, "x" * (5 << 20)], ids=lambda value: str(value)[:9]
)
def test_arguments_and_results_pass_exactly(call: Callable[..., Any], value: Any) -> None:
    """As they would without a process in between."""
    assert call("give_back", value=value) == value


def test_an_async_function_and_progress(registry: ToolRegistry, run_context: RunContext, log: Log) -> None:
    """They work as without isolation: progress reaches whoever watches the run, and the log."""
    seen: list[tuple[float, float | None]] = []
    on_progress = lambda done, total: seen.append((done, total))  # noqa: E731
    assert registry.find("wait_a_moment").call({}, run_context, "k").value == "waited"
    assert registry.find("report").call({}, run_context, "k", on_progress).value == "done"
    assert seen == [(1, 2)]
    assert ("debug", "tool.progressed", {"tool": "report", "done": 1, "total": 2, "message": "half"}) in log


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("segfault", r"tool end gave no result: its process was killed by SIGSEGV$"),
        ("abort", "its process was killed by SIGABRT$"),
        ("kill", "its process was killed by SIGKILL$"),
        ("_exit", "tool end gave no result: its process ended$"),
        ("exit", "tool end raised SystemExit: enough$"),
        ("raise", "tool end raised LookupError: no such customer$"),
        ("recursion", "tool end raised RecursionError"),
        ("no json", "output that is not JSON: a value of type object$"),
    ],
)
def test_every_end_but_a_result_is_told(call: Callable[..., Any], how: str, said: str) -> None:
    """It is `tool_failed`, with the signal's name where there was one; the next call is none the worse for it."""
    with pytest.raises(ToolFailed, match=said):
        call("end", how=how)
    assert call("give_back", value=how) == how


def test_a_thread_does_not_keep_a_call_alive(call: Callable[..., Any]) -> None:
    """It ends with its process."""
    assert call("end", how="thread") == "left a thread"


@pytest.mark.parametrize("how", ["at once", "bit by bit"])
def test_memory_is_limited(call: Callable[..., Any], how: str) -> None:
    """`memory_mb` is what the call itself may use: beyond it there is a MemoryError, and it says whose limit."""
    assert call("take_memory", mib=60, how=how) == 60
    with pytest.raises(ToolFailed, match=r"take_memory raised MemoryError \(its memory_mb is 100\)$"):
        call("take_memory", mib=200, how=how)
    assert call("limit_of_memory") == -1, "unlimited where none is declared"


@pytest.mark.parametrize(("how", "killed"), [("polite", False), ("stubborn", True), ("gil", True)])
def test_what_is_overdue_is_ended(
    registry: ToolRegistry, run_context: RunContext, log: Log, how: str, killed: bool
) -> None:
    """`tool_timeout`; killed only where it takes no notice."""
    endless = registry.find("never_end")
    for _ in range(1 if killed else 5):  # one that has no core for a third of a second takes no notice either
        log.clear()
        began = Stopwatch()
        with pytest.raises(ToolTimeout, match=r"tool never_end did not end within 0\.5 s"):
            endless.call({"how": how}, run_context, "k")
        assert began.own_s() < 5
        if not log.events("warn"):
            break
    assert log.events("warn") == (["tool.killed"] if killed else [])
    assert registry.find("give_back").call({"value": 1}, run_context, "k").value == 1


@pytest.mark.parametrize("how", ["child", "daemon"])
def test_nothing_is_left_behind_by_a_good_end(call: Callable[..., Any], tmp_path: Path, how: str) -> None:
    """Not what has a session of its own, and an environment without any mark."""
    left = int(call("leave_behind", path=str(tmp_path / "pid"), how=how))
    assert not alive(left)


class Interrupting(RunContext):
    """Raises *reason* once a file is there."""

    def __init__(self, reason: BaseException, path: Path) -> None:
        super().__init__(time.monotonic() + 60)
        self.reason = reason
        self.path = path
        self.interrupted: Stopwatch | None = None

    def check(self) -> None:
        if self.path.exists():
            self.interrupted = self.interrupted or Stopwatch()
            raise self.reason


@pytest.mark.parametrize("reason", [Abandoned("taken over"), Cancelled("the graph is"), NodeTimeout("over")])
def test_an_interrupted_call_is_killed_at_once(registry: ToolRegistry, tmp_path: Path, reason: BaseException) -> None:
    """With its children in other sessions; whatever the interruption was reaches the node."""
    path = tmp_path / "pids"
    run_context = Interrupting(reason, path)
    with pytest.raises(type(reason)):
        registry.find("wait_for_ever").call({"path": str(path)}, run_context, "k")
    assert run_context.interrupted is not None and run_context.interrupted.own_s() < 2
    assert not [pid for pid in path.read_text().split() if alive(int(pid))]


def test_a_flood_of_output_is_cut(call: Callable[..., Any], log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    """The beginning is shown on stderr, the log says how much was not; stdout stays ours."""
    assert call("print_much", mib=20) == "printed"
    shown = capfd.readouterr()
    assert shown.err.startswith("first words\n")
    assert len(shown.err) == 1 << 16
    assert shown.out == ""
    dropped = [fields for _, event, fields in log if event == "tool.output_dropped"]
    assert dropped == [{"tool": "print_much", "bytes": (20 << 20) + len("first words\n") - (1 << 16)}]


def test_a_result_may_not_be_boundless(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is larger than any other tool's result may be ends as a failure, not as the worker's memory."""
    monkeypatch.setattr("executor_worker.tools.isolation.tool._LARGEST_RESULT", 2 << 20)
    with pytest.raises(ToolFailed, match="output of more than 2 MiB"):
        call("give_back", value="x" * (5 << 20))


def test_a_module_that_starts_threads(make_registry: Callable[..., ToolRegistry], run_context: RunContext) -> None:
    """It is imported by each call: threads don't survive a fork."""
    registry = make_registry(functions=None, tool_modules=("tests.system.tools.isolated_late",))
    assert [registry.find("ask_the_thread").call({}, run_context, "k").value for _ in range(2)] == [True, True]


def test_a_module_that_can_not_be_imported_again(
    make_registry: Callable[..., ToolRegistry], run_context: RunContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`tool_failed` says which and why."""
    module = tmp_path / "vanishing_tools.py"
    module.write_text("from executor_worker.tools import tool\n@tool(isolate=True)\ndef here() -> None: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = make_registry(functions=None, tool_modules=("vanishing_tools",))
    module.unlink()
    for _ in range(2):
        with pytest.raises(ToolFailed, match=r"isolated tools can't be run: .*'vanishing_tools' can't be imported"):
            registry.find("here").call({}, run_context, "k")


def test_the_process_that_forks_may_die(call: Callable[..., Any], log: Log) -> None:
    """Between calls nobody notices."""
    assert call("give_back", value=1) == 1
    (zygote,) = zygotes()
    os.kill(zygote, signal.SIGKILL)
    wait_until(lambda: not alive(zygote), 5)
    assert call("give_back", value=2) == 2
    assert zygotes() != [zygote]


@pytest.mark.parametrize("moment", ["before the call is sent", "before it is read"])
def test_a_call_that_was_never_begun_is_made_by_another_process(
    call: Callable[..., Any], log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The process that forks dies when nobody can know it yet: the tool is called once, and nobody is told of it."""
    assert call("give_back", value=1) == 1
    (zygote,) = zygotes()
    send = Launcher.send

    def send_and_kill(launcher: Launcher, request: bytes, pipe: int) -> None:
        monkeypatch.setattr(Launcher, "send", send)
        if moment == "before the call is sent":
            os.kill(zygote, signal.SIGKILL)
            wait_until(lambda: not alive(zygote), 5)
            send(launcher, request, pipe)
        else:
            os.kill(zygote, signal.SIGSTOP)
            wait_until(lambda: state_of(zygote) == "T", 5)
            send(launcher, request, pipe)
            os.kill(zygote, signal.SIGKILL)

    monkeypatch.setattr(Launcher, "send", send_and_kill)
    assert call("note", path=str(tmp_path / "notes")) == 1
    assert (tmp_path / "notes").read_text() == "x"
    assert zygote not in zygotes() and not log.events("warn")


def test_it_bears_the_pools_mark_and_ends_with_the_registry(
    make_registry: Callable[..., ToolRegistry], run_context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the mark the supervisor finds what is left; the environment is not written over by a title."""
    monkeypatch.setenv("EXECUTOR_POOL", "the-mark")
    monkeypatch.delenv("SPT_NOENV", raising=False)
    before = zygotes()
    registry = make_registry(functions=None, tool_modules=(MODULE,))
    registry.find("who").call({}, run_context, "k")
    (zygote,) = {*zygotes()} - {*before}
    assert b"EXECUTOR_POOL=the-mark" in read_proc(zygote, "environ")
    registry.close()
    assert zygotes() == before


def test_no_process_is_started_where_nothing_is_isolated(make_registry: Callable[..., ToolRegistry]) -> None:
    """Isolation costs those who ask for it."""
    before = zygotes()
    make_registry().all()
    assert zygotes() == before


@pytest.mark.parametrize("options", [{"memory_mb": 100}, {"memory_mb": 0, "isolate": True}])
def test_a_limit_without_isolation_is_refused(options: dict[str, Any]) -> None:
    """In the worker's own process nothing could keep it."""
    with pytest.raises(ValueError, match=r"@tool\(memory_mb="):
        tool(**options)


def test_the_listing_says_so(registry: ToolRegistry) -> None:
    """`tools list` shows which tools are isolated."""
    found: list[Tool] = registry.all()
    assert {each.source for each in found if each.name == "who"} == {"function isolated_tools.py (isolated)"}
    assert issubclass(ToolFailed, ToolError)
