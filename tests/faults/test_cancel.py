"""A graph that is cancelled, or an item past its deadline, stops the node that is running: whatever it is at."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.faults.stage import GROUP, WORK, Stage, pids_of
from tests.faults.tools import SLEEPER
from tests.kit import ModelServer, Proxy, alive, command_line, descendants, holds_for, wait_until, waited_for_others
from tests.kit.paths import SERVERS

PROMISED_S = 2.0
BUSY_S = 15.0  # at most this much later for waiting for a core or the disk
DEADLINE_S = 2.0
TASK = "Think for long"
LARGE = "x" * (300 * 1024)
Config = dict[str, Any]


class Graph:
    """A graph of one node, its document and its item."""

    def __init__(self, stage: Stage, name: str = "g", **inputs: Any) -> None:
        self.stage = stage
        self.name = name
        self.waited = waited_for_others()
        self.document: dict[str, Any] = {"graph_id": name, "status": "running", "inputs": inputs, "node_states": {}}
        self.store()

    def store(self) -> None:
        self.stage.db.set(f"dago:state:{self.name}", json.dumps(self.document))

    def push(self, config: Config, **more: Any) -> str:
        item = {"graph_id": self.name, "node_id": "n", "node_type": "", "config": config, **more}
        return self.stage.push_raw(json.dumps(item).encode())

    def call(self, tool: str, **params: Any) -> str:
        return self.push({"tool_name": tool, "tool_params": params})

    def end(self, status: str = "cancelled") -> float:
        """Give the graph that status; returns when."""
        self.waited = waited_for_others()
        self.document["status"] = status
        self.store()
        return time.monotonic()

    def assert_stopped(self, since: float, code: str = "cancelled") -> dict[str, Any]:
        """The node has failed in time, its item is gone, its graph's status is as it was; returns the event's data."""
        event = self.stage.result(self.name)
        took = time.monotonic() - since
        assert event["type"] == "node.failed" and event["data"]["error_code"] == code, event
        busy = waited_for_others() - self.waited
        assert took < PROMISED_S + min(BUSY_S, busy), (took, busy)
        self._assert_written(code)
        data: dict[str, Any] = event["data"]
        return data

    def _assert_written(self, code: str) -> None:
        entry, status = self.stage.node(self.name), self.stage.state(self.name)["status"]
        assert (entry["status"], entry["metadata"]["error_code"], status) == ("failed", code, self.document["status"])


@contextmanager
def silent_server() -> Iterator[tuple[str, Callable[[], int]]]:
    """An HTTP server that lists one tool and answers nothing else; its address, and how many wait for it."""
    waiting: set[int] = set()
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.endswith("/tools"):
                return self._wait()
            listed = json.dumps([{"name": "remote", "input_schema": {"type": "object"}}]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(listed)))
            self.end_headers()
            self.wfile.write(listed)
            return None

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._wait()

        def _wait(self) -> None:
            waiting.add(id(self))
            self.connection.settimeout(0.05)
            while not over.is_set():
                try:
                    if not self.rfile.read1(1):
                        break  # it was closed
                except TimeoutError:
                    # A file object does not go on after a timeout.
                    self.rfile = self.connection.makefile("rb")
                except OSError:
                    break
            waiting.discard(id(self))

        def log_message(self, *args: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", lambda: len(waiting)
    over.set()
    server.shutdown()
    server.server_close()
    thread.join()


class Everything:
    """One pool, and a node of every kind that waits for something outside."""

    def __init__(self, stage: Stage, model: ModelServer, line: Proxy, config: Path, url: str) -> None:
        self.stage = stage
        self.model = model
        self.line = line
        self.pool = stage.pool(
            workers=8,
            **{**model.env, "LLM_BASE_URL": f"http://{line.addr}"},
            LLM_MAX_RETRIES="50",
            MCP_CONFIG=str(config),
            API_TOOLS_URL=url,
            HTTP_ALLOW="127.0.0.1",
        )
        limited = {"error": {"message": "slow down", "type": "rate_limit_error"}, "status": 429, "retryAfter": 60}
        model.answer("limited", limited)
        model.answer("silent", "late", latency=600_000)
        model.calls_tool("agent", "hold", {"mark": "agent"}, "never")
        model.answer("hello", "Hello.")
        self.configs: dict[str, Config] = {
            "function": {"tool_name": "nap", "tool_params": {"mark": "function", "seconds": 600}},
            "children": {"tool_name": "run_sleeper", "tool_params": {"mark": "children"}},
            "agent": {"llm_config": {"prompt": "agent"}, "tools": ["hold"]},
            "silent": {"llm_config": {"prompt": "silent"}},
            "limited": {"llm_config": {"prompt": "limited", "model": "limited-model"}},
            "mcp": {"tool_name": "odd.hang", "tool_params": {}},
            "http": {"tool_name": "http_request", "tool_params": {"url": f"{url}/slow"}},
            "rest": {"tool_name": "remote", "tool_params": {}},
        }

    def push(self, *names: str, suffix: str = "", **more: Any) -> dict[str, Graph]:
        graphs = {name: Graph(self.stage, name + suffix) for name in names or self.configs}
        for name, graph in graphs.items():
            graph.push(self.configs[name], **more)
        return graphs

    def wait_at_work(self, waiting: Callable[[], int]) -> int:
        """Wait until each is at what it will not come back from; returns the process that a tool has started."""
        for mark in ("function", "children", "agent"):
            self.stage.started(mark)
        wait_until(lambda: asked(self.model, "silent") and asked(self.model, "limited"), 20, "the model is called")
        wait_until(lambda: waiting() == 2, 20, "both HTTP tools are called")
        self.pool.wait_workers(lambda rows: "tool:odd.hang" in [row["phase"] for row in rows])
        worker = self.stage.started("children").pid
        (child,) = wait_until(lambda: sleepers(worker), 20, "it has started its child")
        return child


def sleepers(worker: int) -> list[int]:
    return [pid for pid in descendants(worker) if SLEEPER in command_line(pid)]


def asked(model: ModelServer, prompt: str) -> bool:
    return any(prompt in json.dumps(request["body"]["messages"]) for request in model.requests())


def odd_server(told: Path) -> dict[str, Any]:
    """An MCP server that notes there what was cancelled."""
    env = {"ODD_CANCELLED": str(told)}
    return {"command": sys.executable, "args": ["-I", "-S", str(SERVERS / "odd.py")], "env": env}


def test_whatever_a_node_waits_for(
    stage: Stage,
    model_server: ModelServer,
    proxy: Callable[..., Proxy],
    mcp_config: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Its call is closed, its server told, its child gone; the same workers go on, also when a deadline passes."""
    told, line = tmp_path / "told", proxy(model_server.port)
    with silent_server() as (url, waiting):
        every = Everything(stage, model_server, line, mcp_config(odd=odd_server(told)), url)
        workers = pids_of(every.pool)
        graphs = every.push()
        child = every.wait_at_work(waiting)
        since = [graph.end() for graph in graphs.values()][-1]
        ends = {name: graph.assert_stopped(since) for name, graph in graphs.items()}
        stage.assert_settled_once(graphs)
        wait_until(lambda: waiting() == 0 and line.connections() == 0, 10, "all calls were closed")
        wait_until(told.exists, 10, "the MCP server was told")
        wait_until(lambda: not alive(child), 10, "the tool's child is gone")
        assert ends["agent"]["iterations"] == 1 and "usage" in ends["agent"]
        assert [call["name"] for call in ends["agent"]["tool_calls"]] == ["hold"]
        _let_deadline_pass(every)
        Graph(stage, "next").push({"llm_config": {"prompt": "hello"}})
        assert stage.result("next")["data"]["output"]["content"] == "Hello."
        assert pids_of(every.pool) == workers


def _let_deadline_pass(every: Everything) -> None:
    """The same for an item whose time is up; what is asked to wait for longer than that fails at once."""
    names = set(every.configs) - {"limited"}
    at = time.time() + DEADLINE_S
    graphs = every.push(*names, suffix=" again", deadline=datetime.fromtimestamp(at, UTC).isoformat())
    since = time.monotonic() + at - time.time()
    for graph in graphs.values():
        graph.assert_stopped(since, "node_timeout")


def test_function_that_can_not_be_interrupted(stage: Stage) -> None:
    """Its worker is killed; the successor says why and goes on."""
    ways = ("loop", "gil", "stopped")
    pool = stage.pool(workers=3)
    graphs = [Graph(stage, way) for way in ways]
    for graph in graphs:
        graph.call("hang", mark=graph.name, how=graph.name)
    killed = {stage.started(way).pid for way in ways}
    since = [graph.end() for graph in graphs][-1]
    for graph in graphs:
        data = graph.assert_stopped(since)
        assert data["attempt"] == 1 and "its worker was ended" in data["error"]
    wait_until(lambda: {event["pid"] for event in pool.seen("slot.dead", why="cancelled")} == killed, 5, "all are told")
    Graph(stage, "next").call("nap", mark="next")
    assert stage.result("next")["data"]["output"] == "slept"
    stage.assert_settled_once([*ways, "next"])
    assert all(len(stage.journal.starts(way)) == 1 for way in ways)


def test_result_that_comes_with_the_cancellation(stage: Stage) -> None:
    """Nothing is published as completed any more, whoever is first."""
    stage.pool(workers=2)
    graphs = [Graph(stage, f"g{number}") for number in range(2)]
    for graph in graphs:
        graph.call("hold", mark=graph.name)
        stage.started(graph.name)
        since = graph.end()
        stage.journal.let_go(graph.name)
        graph.assert_stopped(since)
    stage.assert_settled_once([graph.name for graph in graphs])


def test_graphs_that_end_otherwise(stage: Stage) -> None:
    """Only a cancellation stops what is running: the word alone, somewhere else in the document, does not."""
    ends = ("completed", "failed", "running")
    stage.pool(workers=len(ends))
    graphs = [Graph(stage, end, note="the order was cancelled") for end in ends]
    for graph in graphs:
        graph.call("hold", mark=graph.name)
        stage.started(graph.name)
        graph.end(graph.name)
    holds_for(lambda: not any(map(stage.results, ends)), 1.5, "they are left alone")
    for end in ends:
        stage.journal.let_go(end)
        assert stage.result(end)["data"]["output"] == "held"


def test_graph_with_a_large_document(stage: Stage, model_server: ModelServer) -> None:
    """It is not read again and again: the node stops at its next step."""
    model_server.calls_tool(TASK, "hold", {"mark": "g"}, "never")
    pool = stage.pool(workers=1, **model_server.env)
    graph = Graph(stage, text=LARGE)
    graph.push({"llm_config": {"prompt": TASK}, "tools": ["hold"]})
    stage.started()
    graph.end()
    holds_for(lambda: not stage.results(), 1.5, "the tool goes on")
    stage.journal.let_go("g")
    graph.assert_stopped(time.monotonic())
    assert len(model_server.requests()) == 1 and not pool.seen("run.cancelled")


def test_item_that_went_to_somebody_else(stage: Stage) -> None:
    """Its run is interrupted, not only fenced at its end; its worker takes the next."""
    pool = stage.pool(workers=1, LEASE="2")
    stage.push("hang", how="sleep")
    stage.started()
    ((entry, _),) = stage.pending().items()
    stage.db.xclaim(WORK, GROUP, "elsewhere.1", 0, [entry])
    pool.wait_event("item.lost")
    stage.push("nap", "next")
    assert stage.result("next")["data"]["output"] == "slept"
    assert not pool.seen("slot.dead") and not stage.results("g")


def test_worker_alone(stage: Stage) -> None:
    """Without a supervisor the process that keeps the lease interrupts it."""
    stage.pool(command=("work",), wait=False)
    graph = Graph(stage)
    graph.call("hang", mark="g", how="sleep")
    stage.started()
    graph.assert_stopped(graph.end())
    Graph(stage, "next").call("nap", mark="next")
    assert stage.result("next")["data"]["output"] == "slept"
