"""What models and tools say while they are at it: by every way of following, to who listens, and kept nowhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx2
from websockets.sync.client import connect

from executor_worker.broker.names import DELTAS_CHANNEL, deltas_channel
from executor_worker.client import DagoClient
from orchestrator.rpc import orchestrator_pb2 as messages
from orchestrator.rpc import orchestrator_pb2_grpc
from tests.kit import PROGRAM, Pool, RedisServer, own_name, wait_until
from tests.system.orchestrator.sse import read

V1 = "/api/v1"
WORDS = " ".join(f"word{number}" for number in range(40))
SHOWING = {"EVENT_CONTENT": "1", "LLM_PROVIDER": "scripted"}
MEASURING = """\
from executor_worker.tools import ToolContext, tool

@tool
def measure(context: ToolContext) -> int:
    context.progress(1, 2)
    return 2
"""
AGENT: list[dict[str, Any]] = [
    {"reply": WORDS, "stream_s": 0.6, "tool_calls": [{"name": "calculate", "arguments": {"expression": "6 * 7"}}]},
    {"reply": "It is 42."},
]


def asking(script: list[dict[str, Any]]) -> dict[str, Any]:
    """An agent whose model says what *script* says; it begins when its tool is let go."""
    config = {
        "task": "Go on.",
        "tools": ["calculate"],
        "llm_config": {"system": "```script\n" + json.dumps(script) + "\n```"},
    }
    return {"nodes": {"ask": {"type": "agent", "config": config}}}


@contextmanager
def asked_under_pause(pool: Pool, graph: dict[str, Any]) -> Iterator[str]:
    """Submit a graph; its nodes begin behind the block."""
    pool.send(signal.SIGTSTP)
    pool.wait_event("pool.paused", count=len(pool.seen("pool.resumed")) + 1)
    answer = httpx2.post(f"{pool.api_url}{V1}/graphs", json={"graph": graph, "inputs": {}}, timeout=60)
    yield answer.json()["graph_id"]
    pool.send(signal.SIGCONT)


def listeners(server: RedisServer, channel: str) -> int:
    """How many connections listen to a channel."""
    return int(server.client().pubsub_numsub(channel)[0][1])


def of_message(message: Any) -> dict[str, Any]:
    """Write gRPC's event as the others have it."""
    about = {"id": message.id, "seq": message.seq} if message.id else {}
    data = json.loads(message.data_json)
    return {**about, "type": message.type, "node_id": message.node_id, "data": data}


def text_of(deltas: list[dict[str, Any]], turn: int) -> str:
    return "".join(one["data"].get("text", "") for one in deltas if one["data"]["turn"] == turn)


def arguments_of(deltas: list[dict[str, Any]], call: str) -> str:
    return "".join(one["data"]["arguments"] for one in deltas if one["data"].get("call") == call)


def check(shown: list[dict[str, Any]]) -> None:
    """Look at what one reader has seen: all that was said, in its place among the events, and little at once."""
    deltas = [one for one in shown if one["type"] == "llm.delta"]
    assert all("id" not in one and one["node_id"] == "ask" for one in deltas)
    (progress,) = [one for one in shown if one["type"] == "node.progress"]
    assert (progress["node_id"], progress["data"]["done"], progress["data"]["total"]) == ("measure", 1, 2)
    assert text_of(deltas, 1) == WORDS and arguments_of(deltas, "1.0") == '{"expression": "6 * 7"}'
    assert text_of(deltas, 2) == "It is 42."
    assert 3 < len(deltas) < 25
    kinds = [one["type"] for one in shown]
    assert kinds.index("node.started") < kinds.index("llm.delta") < kinds.index("llm.called")
    events = [one for one in shown if one not in (*deltas, progress)]
    assert [one["seq"] for one in events] == list(range(1, len(events) + 1))


def test_every_reader_sees_models_and_tools_at_work(
    api: Callable[..., Pool], redis_server: RedisServer, tmp_path: Path
) -> None:
    """Over SSE, WebSocket, gRPC and by the client; the log has nothing of it, nor has who did not ask."""
    (tmp_path / "measuring.py").write_text(MEASURING)
    pool = api(workers=1, **SHOWING, TOOL_MODULES="measuring", PYTHONPATH=str(tmp_path))
    seen: dict[str, list[dict[str, Any]]] = {}
    graph = asking(AGENT)
    graph["nodes"]["measure"] = {"type": "tool", "dependencies": ["ask"], "config": {"tool_name": "measure"}}
    with asked_under_pause(pool, graph) as graph_id:

        def by_sse(**query: Any) -> list[dict[str, Any]]:
            with httpx2.Client(base_url=pool.api_url, timeout=60) as http:
                return [block.data for block in read(http, graph_id, **query)]

        def by_websocket() -> list[dict[str, Any]]:
            with connect(f"ws://127.0.0.1:{pool.api_port}{V1}/graphs/{graph_id}/ws?deltas=1") as line:
                return [json.loads(frame) for frame in line]

        def by_grpc() -> list[dict[str, Any]]:
            with grpc.insecure_channel(f"127.0.0.1:{pool.grpc_port}") as channel:
                stub = orchestrator_pb2_grpc.OrchestratorServiceStub(channel)  # type: ignore[no-untyped-call]
                request = messages.StreamGraphEventsRequest(graph_id=graph_id, deltas=True)
                return [of_message(one) for one in stub.StreamGraphEvents(request, timeout=60)]

        def by_client() -> list[dict[str, Any]]:
            with DagoClient(pool.api_url) as dago:
                return list(dago.events(graph_id, deltas=True))

        ways: dict[str, Callable[[], list[dict[str, Any]]]] = {
            "sse": lambda: by_sse(deltas=1),
            "websocket": by_websocket,
            "grpc": by_grpc,
            "client": by_client,
            "without": by_sse,
        }
        readers = [threading.Thread(target=lambda name=name: seen.update({name: ways[name]()})) for name in ways]
        for one in readers:
            one.start()
        subscribed = f"dago_event_subscribers {len(ways)}.0"
        wait_until(lambda: subscribed in httpx2.get(f"{pool.api_url}/metrics", timeout=60).text, 20, "all have come")
        wait_until(lambda: listeners(redis_server, deltas_channel(graph_id)) == 1, 10, "it is listened to")
    for one in readers:
        one.join(60)
    for name in ("sse", "websocket", "grpc", "client"):
        check(seen[name])
    log = httpx2.get(f"{pool.api_url}{V1}/graphs/{graph_id}/events", timeout=60).json()["events"]
    assert seen["without"] == log and "llm.delta" not in {one["type"] for one in log}


def test_commands_show_them(api: Callable[..., Pool], redis_server: RedisServer, tmp_path: Path) -> None:
    """`graph follow`, over Redis and over the API, and `tail`."""
    pool = api(workers=1, **SHOWING)
    settings = {**os.environ, **redis_server.env, "LLM_PROVIDER": "scripted"}
    with asked_under_pause(pool, asking(AGENT)) as graph_id:
        commands: list[tuple[list[str], dict[str, str]]] = [
            (["graph", "follow", graph_id], {}),
            (["graph", "follow", graph_id], {"DAGO_URL": pool.api_url}),
            (["tail", graph_id], {}),
        ]
        started = [
            subprocess.Popen([PROGRAM, *words], env={**settings, **more}, stdout=subprocess.PIPE, text=True)
            for words, more in commands
        ]
        wait_until(lambda: listeners(redis_server, deltas_channel(graph_id)) == 2, 20, "both follow")
        wait_until(lambda: listeners(redis_server, DELTAS_CHANNEL) == 1, 20, "tail listens")
    for one in started[:2]:
        told = one.communicate(timeout=60)[0]
        assert "llm.delta" in told and "word39" in told and 'calculate {"expression": "6 * 7"}' in told
    assert started[2].stdout is not None
    lines = []
    for line in started[2].stdout:
        lines.append(line)
        if "completed" in line:
            break
    started[2].terminate()
    started[2].communicate(timeout=60)
    assert any("says" in line and "word39" in line for line in lines), lines


def test_nothing_is_shown_where_contents_are_not(executor: Callable[..., Pool], redis_server: RedisServer) -> None:
    """Without EVENT_CONTENT, and where nobody listens: Redis is told nothing."""
    for name, content in (("quiet", "0"), ("alone", "1")):
        settings = {**SHOWING, "EVENT_CONTENT": content}
        pool = executor(redis_server, command=("run", "--api"), workers=1, WORKER_ID=own_name(name), **settings)
        with redis_server.client().pubsub() as watching:  # type: ignore[no-untyped-call]
            watching.psubscribe(f"{DELTAS_CHANNEL}*")  # one who listens to patterns does not count
            with httpx2.Client(base_url=pool.api_url, timeout=60) as http:
                answer = http.post(f"{V1}/graphs", json={"graph": asking(AGENT), "inputs": {}})
                query: dict[str, Any] = {"deltas": 1} if name == "quiet" else {}
                shown = read(http, answer.json()["graph_id"], **query)
            assert shown[-1].name == "graph.completed" and "llm.delta" not in {one.name for one in shown}
            assert [one["type"] for one in iter(lambda: watching.get_message(timeout=0.1), None)] == ["psubscribe"]
        assert pool.drain() == 0
