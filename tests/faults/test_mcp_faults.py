"""
Scenario 35: whatever an MCP server does, the item ends in time, with a result or the right error.

The whole program against real servers over stdio and HTTP. One worker runs all items, so that what a server does to
one item would be seen by the next.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.wire import Json, Wire
from tests.faults.stage import Stage, pids_of
from tests.kit import EverythingServer, Process, Stopwatch, free_port, port_answers, wait_until
from tests.kit.paths import SERVERS
from tests.kit.processes import alive
from tests.unit.executor_worker.providers.dialects import Dialect
from tests.unit.executor_worker.providers.fault_server import FaultServer, Reply, stream

# One place for all: they share what takes long to start.
pytestmark = [pytest.mark.xdist_group("mcp-faults"), pytest.mark.timeout(300)]

MIB = 1 << 20
TIMEOUT_S = 1.0
LIMIT_S = 12.0


class Modern:
    """`modern.py` over HTTP: killed and started again on the same port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self.start()

    def start(self) -> None:
        self.process = Process([sys.executable, SERVERS / "modern.py", "http", str(self.port)])
        wait_until(lambda: port_answers(self.port), 20, "our MCP server listens")

    def restart(self) -> None:
        self.process.kill()
        self.start()


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mcp")


@pytest.fixture(scope="module")
def modern() -> Iterator[Modern]:
    server = Modern()
    yield server
    server.process.kill()


@pytest.fixture(scope="module")
def older(room: Path) -> Iterator[EverythingServer]:
    """A server of the older protocol, with sessions."""
    (room / "everything").mkdir()
    server = EverythingServer(room / "everything")
    yield server
    server.close()


@pytest.fixture(scope="module")
def model() -> Iterator[FaultServer]:
    """Speaks Messages, as it is told."""
    server = FaultServer()
    yield server
    server.close()


def stdio(server: str, *arguments: str, **env: str) -> Json:
    return {"command": sys.executable, "args": [str(SERVERS / server), *arguments], "env": env}


@pytest.fixture(scope="module")
def wire(
    room: Path, modern: Modern, older: EverythingServer, model: FaultServer, shared_pool: Callable[..., Wire]
) -> Wire:
    """One worker and servers of every kind: good, odd, silent, dead, and one that can't be started."""
    servers = {
        "odd": stdio("odd.py", ODD_CANCELLED=str(room / "cancelled")) | {"tools": {"hang": {"timeout": TIMEOUT_S}}},
        "local": stdio("modern.py", "stdio") | {"tools": {"slow": {"timeout": TIMEOUT_S}}},
        "remote": {"url": modern.url, "tools": {"slow": {"timeout": TIMEOUT_S}, "which": {"timeout": 4}}},
        "older": {"url": older.url},
        "silent": stdio("odd.py", ODD_SILENT="1"),
        "broken": stdio("odd.py", ODD_FAIL="no licence found"),
        "dead": {"url": "http://127.0.0.1:1/mcp"},
    }
    path = room / "mcp.json"
    path.write_text(json.dumps({"mcpServers": servers}))
    talks = {"LLM_PROVIDER": "anthropic", "LLM_BASE_URL": model.url, "LLM_API_KEY": "k", "LLM_MODEL": "m"}
    return shared_pool(workers=1, MCP_CONFIG=str(path), NODE_TIMEOUT="60s", **talks)


@pytest.fixture(autouse=True)
def worker_survives(wire: Wire) -> Iterator[None]:
    """No server's fault may cost the worker; and none may be held back for what it did in another test."""
    before = pids_of(wire.pool)
    forget_breakers(wire)
    yield
    assert pids_of(wire.pool) == before


def forget_breakers(wire: Wire) -> None:
    for key in wire.redis.scan_iter("dago:breaker:*"):
        wire.redis.delete(key)


def call(wire: Wire, tool: str, **params: Any) -> Json:
    """Run a tool node; return its result event's data, which must have come in time."""
    taken = Stopwatch()
    data = wire.run({"tool_name": tool, "tool_params": params})
    assert data["duration_ms"] < (LIMIT_S + taken.others_s()) * 1000, data
    return data


def output(wire: Wire, tool: str, **params: Any) -> Any:
    data = call(wire, tool, **params)
    assert "error" not in data, data
    given = data["output"]
    return given["result"] if isinstance(given, dict) and list(given) == ["result"] else given


def error(wire: Wire, tool: str, **params: Any) -> tuple[str, str]:
    data = call(wire, tool, **params)
    return data["error_code"], data["error"]


def answers(*calls: tuple[str, Json]) -> list[Reply]:
    """A model that makes these calls one by one, and is done."""
    speech = Dialect("anthropic")
    asked = [stream(speech.calling((name, json.dumps(arguments)))) for name, arguments in calls]
    return [*asked, stream(speech.begin(), speech.text("done"), speech.end())]


def test_35_servers_that_are_away_harm_nobody_else(wire: Wire) -> None:
    """Dead, silent, broken ones: the others' tools work, also when one is looked for that nobody has."""
    assert output(wire, "odd.echo", value=1) == "1"
    assert output(wire, "remote.echo", value="here") == "here"
    assert output(wire, "get-sum", a=2, b=3) == "The sum of 2 and 3 is 5."
    code, said = error(wire, "dead.search")
    assert code == "tool_unavailable" and "server dead was never reached" in said
    code, said = error(wire, "broken.search")
    assert code == "tool_unavailable" and "no licence found" in said
    assert output(wire, "odd.echo", value=2) == "2"


@pytest.mark.parametrize("server", ["local", "remote"])
def test_35_a_call_that_hangs(wire: Wire, server: str, tmp_path: Path) -> None:
    """`tool_timeout` at the tool's own limit; the server is told, and its connection goes on."""
    path = tmp_path / "slow"
    while not path.exists():  # the server may not have begun with it when its time is up
        forget_breakers(wire)
        code, said = error(wire, f"{server}.slow", path=str(path), seconds=60)
        assert (code, said) == ("tool_timeout", f"tool {server}.slow gave no answer within 1 s")
    wait_until(lambda: path.read_text() == "cancelled", 5, "the server heard of it")
    assert output(wire, f"{server}.echo", value="on") == "on"


def test_35_a_server_that_hears_nothing_is_told_in_the_protocols_way(wire: Wire, room: Path) -> None:
    """`notifications/cancelled` names the request and says why it was given up."""
    server = output(wire, "odd.pid")
    assert error(wire, "hang")[0] == "tool_timeout"
    wait_until((room / "cancelled").exists, 5, "the server heard of it")
    assert json.loads((room / "cancelled").read_text())["requestId"]
    assert output(wire, "odd.pid") == server, "the connection was kept"


@pytest.mark.parametrize("server", ["local", "remote", "odd"])
def test_35_a_server_that_dies_in_mid_call(wire: Wire, modern: Modern, server: str, tmp_path: Path) -> None:
    """`tool_uncertain`: nothing says that it may be repeated, so it was called once; the server is used again."""
    path = tmp_path / "called"
    code, said = error(wire, f"{server}.die", path=str(path))
    if server == "remote":
        modern.restart()
    assert code == "tool_uncertain" and f"MCP server {server} was lost" in said and "may have done its work" in said
    assert path.read_text().split() == ["called"]
    assert "on" in output(wire, f"{server}.echo", value="on")


@pytest.mark.parametrize(
    ("tool", "calls"), [("die_once_none", 2), ("die_once_idempotent", 2), ("die_once_undeclared", 1)]
)
def test_35_only_what_may_be_repeated_is(wire: Wire, tool: str, calls: int, tmp_path: Path) -> None:
    """By what the tool declares; the count is the server's."""
    data = call(wire, tool, path=str(tmp_path / "called"))
    assert data.get("error_code") == (None if calls == 2 else "tool_uncertain")
    assert len((tmp_path / "called").read_text().splitlines()) == calls
    assert data["attempt"] == 1


def test_35_restarts_between_calls(wire: Wire, modern: Modern, older: EverythingServer) -> None:
    """Of a program that was killed, of a server without sessions and of one whose sessions are lost: nobody notices."""
    pid = int(output(wire, "odd.pid"))
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), 5)
    assert int(output(wire, "odd.pid")) != pid
    modern.restart()
    assert output(wire, "remote.echo", value="back") == "back"
    older.restart()
    assert output(wire, "get-sum", a=1, b=1) == "The sum of 1 and 1 is 2."


def test_35_a_server_that_stays_away(wire: Wire, modern: Modern) -> None:
    """`tool_unavailable` while its tools are known and it is not there; others work meanwhile."""
    assert output(wire, "remote.echo", value="here") == "here"
    modern.process.kill()
    try:
        code, said = error(wire, "remote.which")
        assert code == "tool_unavailable" and "MCP server remote can't be reached" in said
        assert output(wire, "local.echo", value="here") == "here"
    finally:
        modern.start()
    assert output(wire, "remote.echo", value="back") == "back"


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ("odd.error", "the disk is full"),
        ("local.fail", "Error executing tool fail"),
        ("remote.fail", "Error executing tool fail"),
        ("rpc_error", "the database is closed (code -32000)"),
        ("garbage", "MCP server odd: "),
        ("nonsense", "MCP server odd: what it answered is no tool result"),
        ("nan", ""),
    ],
)
def test_35_errors_and_answers_against_the_schema(wire: Wire, tool: str, said: str) -> None:
    """`tool_failed` with the server's own words, or what is wrong with them; the connection goes on."""
    code, told = error(wire, tool)
    assert code == "tool_failed"
    assert said in told
    assert output(wire, "odd.echo", value=1) == "1"


def test_35_a_result_against_its_servers_own_schema(wire: Wire) -> None:
    """The tool has done its work: its text is the output, and the log warns of the server."""
    assert output(wire, "wrong_output") == "x"
    wire.pool.wait_event("mcp.result_invalid", server="odd", tool="wrong_output")


@pytest.mark.parametrize("tool", ["odd.big", "remote.big"])
def test_35_ten_mebibytes(wire: Wire, tool: str) -> None:
    """Come through whole, into the result and into the state."""
    graph = wire.new_graph()
    config = {"tool_name": tool, "tool_params": {"mib": 10}}
    wire.add({"graph_id": graph, "node_id": "n", "config": config, "inputs": {}})
    wanted = "x" * (10 * MIB)
    given = wire.wait_result(graph, seconds=30)["data"]["output"]
    assert (given == wanted) or (given == {"result": wanted})  # an assertion's own words would be as long
    assert wire.node_state(graph)["output"] == given


def test_35_images(wire: Wire, model: FaultServer) -> None:
    """A tool node's output is the blocks; a model is shown the picture, not its text."""
    blocks = [{"type": "image", "data": "aGk=", "mimeType": "image/png"}]
    assert output(wire, "odd.image") == blocks
    assert output(wire, "remote.picture") == blocks
    model.will(*answers(("remote_picture", {})))
    data = wire.run({"prompt": "look at it", "tools": ["remote.picture"]})
    assert data["output"]["result"] == "done", data
    (result,) = model.requests[-1]["messages"][-1]["content"]
    assert result["content"][0]["source"] == {"type": "base64", "media_type": "image/png", "data": "aGk="}


@pytest.mark.parametrize("grow", ["odd.grow", "odd.grow_silently", "local.grow", "remote.grow"])
def test_35_list_changes(wire: Wire, grow: str) -> None:
    """A tool that comes later is found, whether the server said so or not."""
    name = grow.replace(".", "_") + "_new"
    assert output(wire, grow, name=name) == "grown"
    assert output(wire, f"{grow.partition('.')[0]}.{name}") in (name, f"{name} called")


@pytest.mark.parametrize("kind", ["stdio", "http"])
def test_35_an_item_that_is_given_back_cancels_its_call(
    stage: Stage, modern: Modern, kind: str, tmp_path: Path
) -> None:
    """The server hears of it before the worker leaves, which nobody has to kill."""
    path = tmp_path / "slow"
    config = tmp_path / "mcp.json"
    server = stdio("modern.py", "stdio") if kind == "stdio" else {"url": modern.url}
    config.write_text(json.dumps({"mcpServers": {"it": server}}))
    pool = stage.pool(workers=1, MCP_CONFIG=str(config), wait=False).wait_ready(60)
    params = {"path": str(path), "seconds": 600}
    item = {"graph_id": "g", "node_id": "n", "config": {"tool_name": "slow", "tool_params": params}, "inputs": {}}
    stage.push_raw(json.dumps(item).encode())
    wait_until(lambda: path.exists() and path.read_text() == "started", 30, "the call is being made")
    pool.send(signal.SIGQUIT)
    assert pool.wait() == 0
    wait_until(lambda: path.read_text() == "cancelled", 5, "the server heard of it")
    assert len(stage.pending()) == 1


def test_35_in_an_agent_every_fault_is_told_and_the_run_goes_on(wire: Wire, model: FaultServer, tmp_path: Path) -> None:
    """Timeout, death, error, one after the other: the model hears of each, is called once more, and answers."""
    tools = ["hang", "odd.die", "odd.error", "odd.echo"]
    path = str(tmp_path / "called")
    model.will(*answers(("hang", {}), ("odd_die", {"path": path}), ("odd_error", {}), ("odd_echo", {"value": 7})))
    model.requests.clear()
    data = wire.run({"prompt": "try all", "tools": tools})
    assert data["output"]["result"] == "done", data
    assert [(call["name"], call["ok"]) for call in data["output"]["tool_calls"]] == [
        ("hang", False), ("odd.die", False), ("odd.error", False), ("odd.echo", True),
    ]  # fmt: skip
    assert len(model.requests) == len(tools) + 1
    told = json.dumps(model.requests[-1]["messages"])
    assert "gave no answer within 1 s" in told and "The outcome of this call is unknown" in told
    assert "the disk is full" in told
    assert (tmp_path / "called").read_text().split() == ["called"]


def test_35_the_log_names_servers_and_reasons_in_our_own_words(wire: Wire) -> None:
    """Each outage once, as no item's fault; what servers say may hold secrets and is not there."""
    error(wire, "dead.search")
    error(wire, "broken.search")
    for server, reason in (("broken", "it ended with status 1"), ("dead", "ConnectError")):
        assert wire.pool.wait_event("mcp.disconnected", server=server, level="warn")["reason"] == reason
    assert len(wire.pool.seen("mcp.disconnected", server="dead")) == 1, "once, however often it is tried"
    of_items = {str(row["event"]) for row in wire.pool.events if "graph" in row and "event" in row}
    assert {event for event in of_items if event.startswith("mcp.")} <= {"mcp.result_invalid"}
    said = wire.pool.said(10_000)
    assert "no licence found" not in said and "the disk is full" not in said and "no such customer" not in said
