"""MCP servers that are started here, honest and otherwise."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from executor_worker.errors import (
    Abandoned,
    NodeTimeout,
    ToolFailed,
    ToolTimeout,
    ToolUnavailable,
    ToolUncertain,
    UnknownTool,
)
from executor_worker.run_context import RunContext
from executor_worker.tools import ToolRegistry
from tests.kit import Stopwatch, alive, everything_stdio, time_stdio, wait_until

Make = Callable[..., ToolRegistry]
Odd = Callable[..., dict[str, Any]]


def dead(pid: int) -> bool:
    return not alive(pid)


def test_real_servers_over_stdio_answer_in_text_structure_and_blocks(
    make_registry: Make, run_context: RunContext
) -> None:
    """`server-everything` and `mcp-server-time` run side by side and are called like any tool."""
    registry = make_registry(everything=everything_stdio(), clock=time_stdio())
    assert registry.find("echo").call({"message": "hi"}, run_context, "k").value == "Echo: hi"
    weather = registry.find("get-structured-content").call({"location": "Chicago"}, run_context, "k")
    assert set(weather.value) == {"temperature", "conditions", "humidity"}
    image = registry.find("get-tiny-image").call({}, run_context, "k")
    assert [block["type"] for block in image.value] == ["text", "image", "text"]
    assert [block["type"] for block in image.blocks] == ["image"]
    assert "here's the image" in image.text.lower()
    links = registry.find("everything.get-resource-links").call({"count": 2}, run_context, "k")
    assert [block["type"] for block in links.blocks] == ["resource_link", "resource_link"]
    now = registry.find("get_current_time").call({"timezone": "Europe/Berlin"}, run_context, "k")
    assert now.value["timezone"] == "Europe/Berlin"
    assert registry.find("get_current_time").call({"timezone": "Nowhere/City"}, run_context, "k").is_error


def test_a_session_is_kept_open_across_calls(make_registry: Make, odd: Odd, run_context: RunContext) -> None:
    """Two items are served by the same process."""
    registry = make_registry(odd=odd())
    first, second = (registry.find("pid").call({}, run_context, "k").value for _ in range(2))
    assert first == second


def test_all_pages_are_listed_and_the_first_of_a_name_counts(make_registry: Make, odd: Odd) -> None:
    """A list in pages of four is read to its end; a name that comes twice is one tool."""
    names = [tool.name for tool in make_registry(odd=odd()).all() if tool.source == "mcp odd"]
    assert len(names) == len(set(names)) == 25
    assert {"echo", "image"} <= set(names)


def test_values_come_through_unchanged(make_registry: Make, odd: Odd, run_context: RunContext) -> None:
    """Structured content is the output as it is, large integers, nulls and doubles included."""
    registry = make_registry(odd=odd())
    answer = registry.find("structured").call({}, run_context, "k")
    assert answer.value == {"deep": [1, 2.5, None, {"big": 2**70}]}
    assert answer.text == "for people"
    sent: dict[str, Any] = {"a": None, "b": [1.0, {"c": "é\u2028"}], "": {}}
    assert json.loads(registry.find("echo").call({"value": sent}, run_context, "k").value) == sent
    assert registry.find("null").call({}, run_context, "k").value == ""
    assert registry.find("image").call({}, run_context, "k").value == [
        {"type": "image", "data": "aGk=", "mimeType": "image/png"}
    ]


def test_ten_mebibytes_come_through(make_registry: Make, odd: Odd, run_context: RunContext) -> None:
    """A large answer is no reason to fail."""
    assert len(make_registry(odd=odd()).find("big").call({"mib": 10}, run_context, "k").value) == 10 << 20


def test_each_call_carries_its_idempotency_key(make_registry: Make, odd: Odd, run_context: RunContext) -> None:
    """A server that wants to can tell a repeated call from a new one."""
    assert make_registry(odd=odd()).find("key").call({}, run_context, "item-7/call-1").value == "item-7/call-1"


def test_progress_that_a_server_reports_reaches_whoever_watches(
    make_registry: Make, odd: Odd, run_context: RunContext
) -> None:
    """In the worker's own thread, so that it may be written to Redis; what is no number is not passed on."""
    seen: list[tuple[float, float | None, int]] = []
    on_progress = lambda done, total: seen.append((done, total, threading.get_ident()))  # noqa: E731
    tool = make_registry(odd=odd()).find("steps")
    assert tool.call({"steps": [1, 2, 3], "total": 3}, run_context, "k", on_progress).value == "done"
    assert seen.pop() == (3, 3, threading.get_ident())
    seen.clear()
    assert tool.call({"steps": [1, float("inf")], "total": float("nan")}, run_context, "k", on_progress).value == "done"
    assert seen.pop() == (1, None, threading.get_ident())


def test_what_a_tool_calls_an_error_is_an_answer_that_says_so(
    make_registry: Make, odd: Odd, run_context: RunContext
) -> None:
    """`isError` is for the caller to judge: a tool node fails, a model is told."""
    answer = make_registry(odd=odd()).find("error").call({}, run_context, "k")
    assert answer.is_error
    assert answer.text == "the disk is full"


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ("rpc_error", "the database is closed"),
        ("garbage", "no JSON-RPC message"),
        ("nonsense", "no tool result"),
        ("nan", "not JSON"),
    ],
)
def test_a_broken_answer_fails_the_call_and_not_the_connection(
    make_registry: Make, odd: Odd, run_context: RunContext, tool: str, said: str
) -> None:
    """Errors, unreadable and ill-shaped answers, and values JSON has no form for: tool_failed, and on it goes."""
    registry = make_registry(odd=odd())
    before = registry.find("pid").call({}, run_context, "k").value
    with pytest.raises(ToolFailed, match=said):
        registry.find(tool).call({}, run_context, "k")
    assert registry.find("pid").call({}, run_context, "k").value == before


def test_lines_printed_by_mistake_are_passed_over(make_registry: Make, odd: Odd, run_context: RunContext) -> None:
    """A server that prints to its stdout is still understood."""
    assert make_registry(odd=odd()).find("noise").call({}, run_context, "k").value == "heard"


def test_a_hanging_call_ends_in_time_and_the_server_is_told(
    make_registry: Make, odd: Odd, run_context: RunContext, tmp_path: Path
) -> None:
    """tool_timeout, `notifications/cancelled` on the wire, and the session goes on."""
    told = tmp_path / "cancelled"
    registry = make_registry(odd=odd(ODD_CANCELLED=str(told)), tool_timeout_s=1.5)
    before = registry.find("pid").call({}, run_context, "k").value
    with pytest.raises(ToolTimeout, match=r"tool hang gave no answer within 1\.5 s"):
        registry.find("hang").call({}, run_context, "k")
    wait_until(told.exists, 5)
    assert registry.find("pid").call({}, run_context, "k").value == before


def test_the_items_own_limit_is_reported_as_such(make_registry: Make, odd: Odd) -> None:
    """Where the node's time ends before the tool's, it is node_timeout."""
    tool = make_registry(odd=odd()).find("hang")
    with pytest.raises(NodeTimeout):
        tool.call({}, RunContext(time.monotonic() + 0.3), "k")


def test_an_item_that_is_taken_away_ends_its_call(make_registry: Make, odd: Odd, tmp_path: Path) -> None:
    """The watch is asked while waiting, and the server is told that nobody waits any more."""

    class Taken(RunContext):
        def check(self) -> None:
            if self.left() < 9.5:
                raise Abandoned("taken over")

    told = tmp_path / "cancelled"
    tool = make_registry(odd=odd(ODD_CANCELLED=str(told))).find("hang")
    began = Stopwatch()
    with pytest.raises(Abandoned):
        tool.call({}, Taken(time.monotonic() + 10), "k")
    assert began.own_s() < 3
    wait_until(told.exists, 5)


@pytest.mark.parametrize("tool", ["die_once_none", "die_once_idempotent"])
def test_a_lost_call_that_may_be_repeated_is(
    make_registry: Make, odd: Odd, run_context: RunContext, tmp_path: Path, tool: str
) -> None:
    """Read-only and idempotent tools are called again once their server is back."""
    path = tmp_path / "calls"
    assert make_registry(odd=odd()).find(tool).call({"path": str(path)}, run_context, "k").value == "alive"
    assert path.read_text().count("called") == 2


def test_a_lost_call_that_may_not_be_repeated_is_uncertain(
    make_registry: Make, odd: Odd, run_context: RunContext, tmp_path: Path
) -> None:
    """What declares nothing is called once; the next call finds a new server."""
    path = tmp_path / "calls"
    registry = make_registry(odd=odd())
    with pytest.raises(ToolUncertain):
        registry.find("die_once_undeclared").call({"path": str(path)}, run_context, "k")
    assert path.read_text().count("called") == 1
    assert registry.find("die_once_undeclared").call({"path": str(path)}, run_context, "k").value == "alive"


def test_a_tool_that_kills_its_server_every_time_is_given_up(
    make_registry: Make, odd: Odd, run_context: RunContext, tmp_path: Path
) -> None:
    """Declared idempotent, it is called twice and no more."""
    path = tmp_path / "calls"
    server = odd() | {"tools": {"die": {"effects": "idempotent"}}}
    with pytest.raises(ToolUncertain):
        make_registry(odd=server).find("die").call({"path": str(path)}, run_context, "k")
    assert path.read_text().count("called") == 2


def test_the_configuration_overrules_what_a_server_declares(
    make_registry: Make, odd: Odd, run_context: RunContext, tmp_path: Path
) -> None:
    """`effects` and `timeout` of MCP_CONFIG count more than the server's hints."""
    rules = {"die_once_none": {"effects": "unsafe"}, "hang": {"timeout": 0.2}}
    registry = make_registry(odd=odd() | {"effects": "none", "tools": rules})
    assert registry.find("echo").effects == "none"
    assert registry.find("die_once_none").effects == "unsafe"
    assert registry.find("hang").timeout == 0.2
    with pytest.raises(ToolUncertain):
        registry.find("die_once_none").call({"path": str(tmp_path / "calls")}, run_context, "k")


def test_a_server_killed_between_calls_is_started_again(make_registry: Make, odd: Odd, run_context: RunContext) -> None:
    """No call is lost: it had not been sent."""
    registry = make_registry(odd=odd())
    for _ in range(3):
        pid = int(registry.find("pid").call({}, run_context, "k").value)
        os.kill(pid, signal.SIGKILL)
        wait_until(partial(dead, pid), 5, every=0.0001)
        assert int(registry.find("pid").call({}, run_context, "k").value) != pid


def test_a_changed_list_is_heard_of(make_registry: Make, odd: Odd, run_context: RunContext) -> None:
    """A tool that was added can be found soon after the server said so."""
    registry = make_registry(odd=odd())
    registry.find("grow").call({"name": "fresh"}, run_context, "k")
    assert registry.find("fresh").call({}, run_context, "k").value == "fresh called"


def test_a_changed_list_is_found_though_nobody_said_so(make_registry: Make, odd: Odd, run_context: RunContext) -> None:
    """An unknown name makes the lists be read anew before it is called unknown."""
    registry = make_registry(odd=odd())
    registry.find("grow_silently").call({"name": "quiet"}, run_context, "k")
    assert registry.find("quiet").call({}, run_context, "k").value == "quiet called"
    with pytest.raises(UnknownTool):
        registry.find("nobody")


def test_a_server_gets_no_environment_but_what_it_is_given(
    make_registry: Make, odd: Odd, run_context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our keys are not its business; the pool's mark is handed on, so that it can be found."""
    monkeypatch.setenv("LLM_API_KEY", "sk-secret")
    monkeypatch.setenv("EXECUTOR_POOL", "pool-7")
    monkeypatch.setenv("TOKEN", "t0ken")
    env = make_registry(odd=odd(GIVEN="${TOKEN}!")).find("env").call({}, run_context, "k").value
    assert env["GIVEN"] == "t0ken!"
    assert env["EXECUTOR_POOL"] == "pool-7"
    assert "PATH" in env
    assert not {"LLM_API_KEY", "TOKEN"} & set(env)


def test_a_server_that_can_not_start_is_named_with_its_last_words(make_registry: Make, odd: Odd) -> None:
    """A tool nobody has is tool_unavailable while its possible server never came up."""
    registry = make_registry(broken=odd(ODD_FAIL="no licence found"))
    with pytest.raises(ToolUnavailable, match=r"server broken was never reached: .*status 1.*no licence found"):
        registry.find("wanted")
    missing = make_registry(gone={"command": "/no/such/program"})
    with pytest.raises(ToolUnavailable, match="'/no/such/program' can't be started: No such file"):
        missing.find("wanted")


def test_a_server_that_hangs_harms_nobody_who_does_not_need_it(
    make_registry: Make, odd: Odd, run_context: RunContext
) -> None:
    """A built-in and another server's tool are found though one server never answers."""
    registry = make_registry(silent=odd(ODD_SILENT="1"), odd=odd())
    began = Stopwatch()
    assert registry.find("echo").call({"value": 1}, run_context, "k").value == "1"
    assert registry.find("calculate").call({"expression": "1+1"}, run_context, "k").value == 2
    assert began.own_s() < 8


def test_closing_leaves_nothing_behind(make_registry: Make, odd: Odd, run_context: RunContext) -> None:
    """Servers end when their stdin does; what does not is killed, with what it started."""
    registry = make_registry(kind=odd(), stubborn=odd(ODD_STUBBORN="1"))
    pids = [int(registry.find(f"{name}.pid").call({}, run_context, "k").value) for name in ("kind", "stubborn")]
    pids += [int(registry.find(f"{name}.spawn").call({}, run_context, "k").value) for name in ("kind", "stubborn")]
    began = Stopwatch()
    registry.close()
    assert began.own_s() < 3
    wait_until(lambda: not any(alive(pid) for pid in pids), 3)


def test_closing_does_not_wait_for_a_call(make_registry: Make, odd: Odd) -> None:
    """Neither does it hang where a call was just given up."""
    registry = make_registry(odd=odd())
    with pytest.raises(NodeTimeout):
        registry.find("hang").call({}, RunContext(time.monotonic() + 0.1), "k")
    began = Stopwatch()
    registry.close()
    assert began.own_s() < 3
