"""How long a look-up waits for servers that are still starting: for none that does not matter."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from executor_worker.errors import ToolUnavailable, UnknownTool
from executor_worker.run_context import RunContext
from executor_worker.tools import ToolRegistry, tool
from executor_worker.tools.functions.functions import FunctionTool
from executor_worker.tools.known_names import KnownNames
from executor_worker.tools.mcp.catalogue import End
from tests.kit import Stopwatch

Make = Callable[..., ToolRegistry]
Told = Callable[..., dict[str, Any]]
SLOW_S = 20


@tool
def ours(value: int) -> int:
    """Count."""
    return value + 1


def listed(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "inputSchema": {"type": "object"}} for name in names]


@pytest.fixture
def functions() -> list[FunctionTool]:
    return [FunctionTool(ours)]


def test_a_function_and_another_servers_tool_do_not_wait_for_a_server_that_starts(
    make_registry: Make, told: Told, run_context: RunContext, functions: list[FunctionTool]
) -> None:
    """The first process of a pool gives it a second; those that come later, in the same pool, none."""
    known = KnownNames()
    slow = told(listed("late"), STARTS_AFTER=str(SLOW_S))
    first = make_registry(functions=functions, known=known, slow=slow, quick=told(listed("soon")))
    began = Stopwatch()
    assert first.find("ours").call({"value": 1}, run_context, "k").value == 2
    assert first.find("soon").call({}, run_context, "k").value == "called"
    assert first.find("calculate").source == "built-in"
    assert began.own_s() < 3
    later = make_registry(functions=functions, known=known, slow=slow, quick=told(listed("soon")))
    began = Stopwatch()
    assert later.find("ours").call({"value": 1}, run_context, "k").value == 2
    assert began.own_s() < 0.5


def test_a_name_that_a_starting_server_has_waits_for_that_server(
    make_registry: Make, told: Told, run_context: RunContext, functions: list[FunctionTool]
) -> None:
    """MCP goes before functions also in a fresh process, where another one or MCP_CONFIG has told whose the name is."""
    known = KnownNames()
    server = told(listed("ours"), STARTS_AFTER="1.5")
    known.note("s", ["ours"])
    assert make_registry(functions=functions, known=known, s=server).find("ours").source == "mcp s"
    rule = {"tools": {"ours": {"effects": "none"}}}
    assert make_registry(functions=functions, s=server | rule).find("ours").source == "mcp s"
    assert make_registry(functions=functions, s=server).find("s.ours").source == "mcp s"
    assert make_registry(functions=functions, s=told(listed("ours"))).find("ours").source == "mcp s"


def test_a_name_that_two_servers_have_is_so_at_once(make_registry: Make, told: Told) -> None:
    """Though one of them is still starting."""
    known = KnownNames()
    known.note("slow", ["both"])
    registry = make_registry(known=known, slow=told(listed("both"), STARTS_AFTER="1.5"), quick=told(listed("both")))
    with pytest.raises(UnknownTool, match="2 MCP servers"):
        registry.find("both")


def test_names_are_shared_between_processes() -> None:
    """What a child notes its siblings read; what was not reached is told apart; what is torn is not believed."""
    known = KnownNames()
    assert known.read() == {}
    for server in ("a", "b"):
        if not os.fork():
            known.note(server, ["two", "one"])
            os._exit(0)
        os.wait()
    known.note_missed(["a", "c"])
    assert known.read() == {"a": ["one", "two"], "b": ["one", "two"], "c": None}
    known.note("c", [])
    assert known.read()["c"] == []
    known.note("big", [f"{number:0200}" for number in range(1000)])
    assert "big" not in known.read()
    known._memory[20] ^= 1
    assert known.read() == {}
    known.note("a", ["one"])
    assert known.read() == {"a": ["one"]}


def test_a_look_up_that_makes_a_server_be_tried_does_not_wait_for_the_try_after(
    make_registry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused connection takes no time: it has ended before the look-up begins to wait."""
    registry = make_registry(away={"url": "http://127.0.0.1:1/mcp"})
    with pytest.raises(ToolUnavailable):
        registry.find("away.search")
    servers = registry._mcp
    assert servers is not None
    (server,) = servers.all()
    tried_at_once = threading.Event()

    def run(act: Callable[..., Any], *arguments: Any) -> Any:
        assert act == server.hurry
        server._note_down(End("refused", "refused"), 0)
        tried_at_once.set()

    monkeypatch.setattr(servers._loop, "run", run)
    began = Stopwatch()
    servers.find_again("away.search")
    assert tried_at_once.is_set() and began.own_s() < 0.5
    monkeypatch.undo()
