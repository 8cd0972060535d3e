"""A run's events as they come: over server-sent events and WebSocket, from anywhere, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.contract.conftest import WITH_TOOLS
from tests.kit import Pool, RedisServer, Stopwatch, alive, wait_until
from tests.system.orchestrator.graphs import chain, doubling, waiting
from tests.system.orchestrator.shared import shared_api
from tests.system.orchestrator.sse import Block, blocks, read
from tests.system.orchestrator.test_http import code

V1 = "/api/v1"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """One pool with an API for all tests of this file that leave it as it is."""
    with shared_api(tmp_path_factory, **WITH_TOOLS) as pool:
        yield pool


@pytest.fixture
def http(shared: Pool) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=shared.api_url, timeout=60) as client:
        yield client


def submitted(http: httpx2.Client, graph: dict[str, Any], **inputs: Any) -> str:
    answer = http.post(f"{V1}/graphs", json={"graph": graph, "inputs": inputs})
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["graph_id"]
    return found


def log_of(http: httpx2.Client, graph_id: str) -> list[dict[str, Any]]:
    """The whole log, page by page."""
    events: list[dict[str, Any]] = []
    after, ended = 0, False
    while not ended:
        page = http.get(f"{V1}/graphs/{graph_id}/events", params={"after": after, "limit": 7}).json()
        events += page["events"]
        after, ended = page["next_after"], page["ended"]
    return events


def frames(url: str, **options: Any) -> tuple[list[dict[str, Any]], int]:
    """Read a WebSocket to its end; return the events and the code it was closed with."""
    with connect(url.replace("http", "ws", 1), **options) as line:
        return rest_of(line)


def rest_of(line: ClientConnection) -> tuple[list[dict[str, Any]], int]:
    """Read what still comes; return it and the code the line was closed with."""
    found: list[dict[str, Any]] = []
    try:
        while True:
            found.append(json.loads(line.recv(timeout=60)))
    except ConnectionClosed as closed:
        return found, closed.rcvd.code if closed.rcvd is not None else 0


def narrow_line(port: int) -> socket.socket:
    """Connect with the smallest buffer for what comes in."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.connect(("127.0.0.1", port))
    return line


def nobody_reads(pool: Pool) -> bool:
    return "dago_event_subscribers 0.0" in httpx2.get(f"{pool.api_url}/metrics", timeout=60).text


def test_every_reader_sees_the_same_log(http: httpx2.Client, shared: Pool) -> None:
    """Numbered from 1 without gaps, ended by the run's last event, with the same ids everywhere."""
    graph_id = submitted(http, {"id": "mine", **chain(5)})
    shown = read(http, graph_id)
    log = log_of(http, graph_id)
    assert log[0]["data"]["original_graph_id"] == "mine"
    assert [block.data for block in shown] == log
    assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
    assert log[0]["type"] == "graph.submitted" and log[-1]["type"] == "graph.completed"
    assert [block.id for block in shown] == [f"{event['seq']}-{event['id'][:4]}" for event in log]
    assert [block.name for block in shown] == [event["type"] for event in log]
    seen, closed = frames(f"{shared.api_url}{V1}/graphs/{graph_id}/ws")
    assert (seen, closed) == (log, 1000)


def test_events_are_shown_as_they_come(http: httpx2.Client, shared: Pool, tmp_path: Path) -> None:
    """While the run waits for something, what has been is there."""
    gate = tmp_path / "gate"
    graph_id = submitted(http, waiting(str(gate)))
    socket_url = f"ws://127.0.0.1:{shared.api_port}{V1}/graphs/{graph_id}/ws"
    stream = http.stream("GET", f"{V1}/graphs/{graph_id}/events", headers={"Accept": "text/event-stream"})
    with stream as answer, connect(socket_url) as line:
        shown = blocks(answer)
        before = [next(shown) for _ in range(4)]
        assert before[-1].name == "node.started"
        assert [json.loads(line.recv(timeout=60))["seq"] for _ in before] == [1, 2, 3, 4]
        gate.touch()
        assert [block.name for block in shown if block.name] == ["node.completed", "graph.completed"]
        assert json.loads(line.recv(timeout=60))["type"] == "node.completed"


def test_readers_that_hang_up_at_once_are_forgotten(http: httpx2.Client, shared: Pool, tmp_path: Path) -> None:
    """Also while their channel is still asked for: nobody stays who has gone."""
    gate = tmp_path / "gate"
    graph_id = submitted(http, waiting(str(gate)))
    head = f"GET {V1}/graphs/{graph_id}/events HTTP/1.1\r\nHost: here\r\nAccept: text/event-stream\r\n\r\n".encode()
    for _ in range(3):
        with ExitStack() as lines:
            for number in range(100):
                line = lines.enter_context(socket.create_connection(("127.0.0.1", shared.api_port)))
                line.sendall(head)
                if number % 4 == 0:
                    line.recv(64)
        wait_until(lambda: nobody_reads(shared), 20, "nobody reads any more")
    gate.touch()


def test_a_reader_joins_again_anywhere(http: httpx2.Client, shared: Pool) -> None:
    """By number, by id, by EventSource's header; nothing is missing and nothing comes twice."""
    graph_id = submitted(http, chain(4))
    log = [block.data for block in read(http, graph_id)]
    for at in range(len(log)):
        last = f"{log[at]['seq']}-{log[at]['id'][:4]}"
        assert [block.data for block in read(http, graph_id, after=at + 1)] == log[at + 1 :]
        assert [block.data for block in read(http, graph_id, after=last)] == log[at + 1 :]
        if at + 1 < len(log):
            assert [block.data for block in read(http, graph_id, last_id=last)] == log[at + 1 :]
    assert frames(f"{shared.api_url}{V1}/graphs/{graph_id}/ws?after=3")[0] == log[3:]


def test_an_event_source_that_has_all_is_told_to_stop(http: httpx2.Client) -> None:
    """By 204: with 200 it would come again for ever."""
    graph_id = submitted(http, doubling(), x=1)
    last = read(http, graph_id)[-1].id
    headers = {"Accept": "text/event-stream", "Last-Event-ID": last}
    assert http.get(f"{V1}/graphs/{graph_id}/events", headers=headers).status_code == 204


def test_a_position_that_the_log_never_had_begins_anew(http: httpx2.Client, shared: Pool) -> None:
    """The reader is told so first."""
    graph_id = submitted(http, doubling(), x=1)
    log = [block.data for block in read(http, graph_id)]
    shown = read(http, graph_id, after="3-zzzz")
    assert shown[0].name == "reset" and [block.data for block in shown[1:]] == log
    page = http.get(f"{V1}/graphs/{graph_id}/events", params={"after": "3-zzzz"}).json()
    assert page["reset"] is True and page["events"] == log
    assert http.get(f"{V1}/graphs/{graph_id}/events", params={"after": len(log) + 1}).json() == page
    last = f"{log[-1]['seq']}-{log[-1]['id'][:4]}"
    assert "reset" not in http.get(f"{V1}/graphs/{graph_id}/events", params={"after": last}).json()
    assert read(http, graph_id, last_id=f"{len(log)}-zzzz")[0].name == "reset"
    assert read(http, graph_id, after="999")[0].name == "reset"
    seen, _ = frames(f"{shared.api_url}{V1}/graphs/{graph_id}/ws?after=3-zzzz")
    assert seen == [{"type": "reset"}, *log]


def test_events_can_be_chosen_and_named_otherwise(http: httpx2.Client, shared: Pool) -> None:
    """By type and node; in the original documents' names; with outputs that the log leaves out."""
    graph_id = submitted(http, doubling(), x=1)
    read(http, graph_id)
    chosen = read(http, graph_id, types="node.completed,graph.completed", nodes="twice")
    assert [(block.name, block.data["node_id"]) for block in chosen] == [("node.completed", "twice")]
    renamed = read(http, graph_id, names="underscore")
    assert renamed[-1].name == renamed[-1].data["type"] == "graph_completed"
    page = http.get(f"{V1}/graphs/{graph_id}/events", params={"types": "graph.completed"}).json()
    assert len(page["events"]) == 1 and page["next_after"] == page["events"][0]["seq"] and page["ended"]
    text = "x" * 3000
    config = {"tool_name": "give_back", "tool_params": {"value": "{{text}}"}}
    graph_id = submitted(http, {"nodes": {"a": {"type": "tool", "config": config}}}, text=text)
    read(http, graph_id)
    (plain,) = read(http, graph_id, types="node.completed")
    (whole,) = read(http, graph_id, types="node.completed", include="output")
    assert "output" not in plain.data["data"] and plain.data["data"]["output_bytes"] > 3000
    assert whole.data["data"]["output"] == text


def test_nodes_with_commas_are_named_one_by_one(http: httpx2.Client, shared: Pool) -> None:
    """As JSON, as they come and over WebSocket; beside those that are separated by commas."""
    start = {"type": "start"}
    graph_id = submitted(http, {"nodes": {"a,b": start, "a": start, " c": start, "d": start}})
    everything = read(http, graph_id)
    for query, wanted in (
        ("nodes=a,b", {"a"}),
        ("node=a%2Cb", {"a,b"}),
        ("node=a,b&node=%20c&nodes=d,", {"a,b", " c", "d"}),
        ("node=&nodes=", {one.data.get("node_id") for one in everything}),
    ):
        page = http.get(f"{V1}/graphs/{graph_id}/events?{query}").json()
        assert {one.get("node_id") for one in page["events"]} == wanted, query
        streamed = http.get(f"{V1}/graphs/{graph_id}/events?{query}", headers={"Accept": "text/event-stream"}).text
        assert streamed.count("\ndata:") == len(page["events"]), query
        assert frames(f"{shared.api_url}{V1}/graphs/{graph_id}/ws?{query}")[0] == page["events"], query


@pytest.mark.parametrize("after", ["x", "-1", "1-abcde", "1-", "1.5", "9" * 30])
def test_positions_that_mean_nothing_are_refused(http: httpx2.Client, shared: Pool, after: str) -> None:
    """Over HTTP as a bad request, over WebSocket by its code for that."""
    graph_id = submitted(http, doubling(), x=1)
    for headers in ({}, {"Accept": "text/event-stream"}):
        answer = http.get(f"{V1}/graphs/{graph_id}/events", params={"after": after}, headers=headers)
        assert (answer.status_code, code(answer)) == (400, "INVALID_REQUEST")
    assert frames(f"{shared.api_url}{V1}/graphs/{graph_id}/ws?after={after}") == ([], 1008)


def test_no_other_path_is_a_websocket(shared: Pool) -> None:
    """Which is said as of a run that is not there."""
    for path in ("/nope", f"{V1}/events", f"{V1}/graphs/x/events"):
        assert frames(f"{shared.api_url}{path}") == ([], 4404)


def test_runs_that_are_not_there_have_no_events(http: httpx2.Client, shared: Pool) -> None:
    """404 over HTTP, 4404 over WebSocket."""
    unknown = "01a224cc-a9d3-756e-a0e6-ffbc28845000"
    answer = http.get(f"{V1}/graphs/{unknown}/events", headers={"Accept": "text/event-stream"})
    assert (answer.status_code, code(answer)) == (404, "NOT_FOUND")
    assert frames(f"{shared.api_url}{V1}/graphs/{unknown}/ws") == ([], 4404)


def test_readers_need_a_token_or_a_ticket(api: Callable[..., Pool], client: Callable[..., httpx2.Client]) -> None:
    """EventSource and WebSocket of browsers can send no header."""
    pool = api(API_TOKENS="op:operate:ccc")
    http = client(pool, "ccc")
    graph_id = submitted(http, doubling(), x=1)
    url = f"{pool.api_url}{V1}/graphs/{graph_id}/ws"
    assert frames(url) == ([], 4401)
    assert frames(f"{url}?ticket=wrong") == ([], 4401)
    ticket = http.post(f"{V1}/tickets").json()["ticket"]
    log = [block.data for block in read(client(pool), graph_id, ticket=ticket)]
    assert log[-1]["type"] == "graph.completed"
    assert frames(f"{url}?ticket={ticket}") == (log, 1000)
    assert frames(url, additional_headers={"Authorization": "Bearer ccc"}) == (log, 1000)


def test_a_submission_can_be_followed_at_once(http: httpx2.Client) -> None:
    """In one request: 201, and what happens from then on."""
    body = {"graph": doubling(), "inputs": {"x": 4}}
    with http.stream("POST", f"{V1}/graphs", json=body, headers={"Accept": "text/event-stream"}) as answer:
        assert answer.status_code == 201 and answer.headers["location"]
        shown = list(blocks(answer))
    assert shown[0].data["seq"] == 1 and shown[-1].name == "graph.completed"


def test_a_reader_survives_the_api_and_redis(
    api: Callable[..., Pool], start_server: Callable[..., RedisServer]
) -> None:
    """Cut again and again at random places while both are killed: each event once, in order."""
    pool = api(workers=2, LEASE="3s")
    chance = random.Random(7)
    base = httpx2.Client(base_url=pool.api_url, timeout=60)
    graph_id = submitted(base, chain(60))
    seen: list[dict[str, Any]] = []
    cuts = 0
    taken = Stopwatch()
    while not (seen and seen[-1]["type"] == "graph.completed"):
        assert taken.left_s(60) > 0, seen[-3:]
        last = f"{seen[-1]['seq']}-{seen[-1]['id'][:4]}" if seen else ""
        try:
            seen += [block.data for block in read(base, graph_id, most=chance.randint(1, 60), last_id=last)]
        except httpx2.TransportError:
            time.sleep(0.05)
            continue
        cuts += 1
        if cuts in (2, 4):  # a process answers before it is told that it is up
            os.kill(pool.wait_event("service.up", service=1, count=cuts // 2)["pid"], signal.SIGKILL)
    base.close()
    assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
    assert len({event["id"] for event in seen}) == len(seen)


def test_a_reader_waits_while_redis_restarts(
    executor: Callable[..., Pool], start_server: Callable[..., RedisServer], tmp_path: Path
) -> None:
    """The stream stays open; what comes afterwards is shown."""
    server = start_server("redis", aof=True)
    pool = executor(server, command=("run", "--api"), **WITH_TOOLS)
    gate = tmp_path / "gate"
    with httpx2.Client(base_url=pool.api_url, timeout=30) as http:
        graph_id = submitted(http, waiting(str(gate)))
        headers = {"Accept": "text/event-stream"}
        with (
            http.stream("GET", f"{V1}/graphs/{graph_id}/events", headers=headers) as answer,
            http.stream("GET", f"{V1}/events", headers=headers) as all_of_them,
        ):
            shown, of_runs = blocks(answer), blocks(all_of_them)
            assert [next(shown).name for _ in range(4)][-1] == "node.started"
            assert [next(of_runs).name for _ in range(2)] == ["graph.submitted", "graph.started"]
            server.restart()
            gate.touch()
            assert [block.name for block in shown if block.name] == ["node.completed", "graph.completed"]
            assert next(of_runs).name == "graph.completed"


def test_what_happens_to_all_runs_is_shown(http: httpx2.Client) -> None:
    """Page by page, and as it comes; runs' own events alone, with positions to go on from."""
    path, stream = f"{V1}/events", {"Accept": "text/event-stream"}
    (last,) = {http.get(path, params={"after": "now"}).json()["next_after"]}
    with http.stream("GET", path, headers=stream, params={"after": last}) as answer:
        shown = blocks(answer)
        ids = [submitted(http, doubling(), x=1) for _ in range(2)]
        came: list[Block] = []
        while [one.name for one in came].count("graph.completed") < 2:
            came.append(next(shown))
    kinds = {one: [block.name for block in came if block.data["graph_id"] == one] for one in ids}
    assert list(kinds.values()) == [["graph.submitted", "graph.started", "graph.completed"]] * 2
    page = http.get(path, params={"after": last}).json()
    assert page["events"] == [block.data for block in came]
    assert (page["next_after"] >= came[-1].id, page["ended"]) == (True, False)
    rest = http.get(path, params={"after": came[0].id, "types": "graph_completed", "names": "underscore"}).json()
    assert [one["type"] for one in rest["events"]] == ["graph_completed"] * 2
    first = http.get(path, params={"limit": 1}).json()
    again = http.get(path, params={"after": first["next_after"], "limit": 1}).json()
    assert first["events"][0]["type"] == "graph.submitted" and again["next_after"] > first["next_after"]
    for wrong in ("x", "1-2-3", "-1"):
        assert code(http.get(path, params={"after": wrong})) == "INVALID_REQUEST"


def refused(port: int) -> bool:
    """Tell whether nobody listens there; a line that was accepted, or waits to be, ends with this."""
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_drain_says_farewell(api: Callable[..., Pool], tmp_path: Path) -> None:
    """Readers are told to join again, and don't hold the process up; who comes later is refused at once."""
    gate = tmp_path / "gate"
    pool = api(workers=1, DRAIN_TIMEOUT="50s", **WITH_TOOLS)
    with httpx2.Client(base_url=pool.api_url, timeout=30) as http:
        graph_id = submitted(http, waiting(str(gate)))
        url = f"ws://127.0.0.1:{pool.api_port}{V1}/graphs/{graph_id}/ws"
        stream = http.stream("GET", f"{V1}/graphs/{graph_id}/events", headers={"Accept": "text/event-stream"})
        of_all = http.stream("GET", f"{V1}/events", headers={"Accept": "text/event-stream"})
        with stream as answer, of_all as answer_of_all, connect(url) as line:
            shown = blocks(answer)
            assert next(shown).name == "graph.submitted"
            pool.send(signal.SIGTERM)
            rest = list(shown)
            assert "join again" in rest[-1].comment
            assert "join again" in list(blocks(answer_of_all))[-1].comment
            assert rest_of(line)[1] == 1012
    wait_until(lambda: refused(pool.api_port), 10, "nobody listens any more")
    assert alive(pool.process.pid), "its worker has a node in hand"
    gate.touch()
    assert pool.wait() == 0


def test_a_slow_reader_is_cut_off_and_may_join_again(http: httpx2.Client, shared: Pool) -> None:
    """It costs a bounded buffer; others go on meanwhile."""
    texts = {"a": "x" * 900_000}
    config = {"tool_name": "give_back", "tool_params": {"value": "{{a}}"}}
    graph = {"nodes": {f"n{at}": {"type": "tool", "config": config} for at in range(12)}}
    graph_id = submitted(http, graph, **texts)
    log = log_of(http, graph_id)
    url = f"ws://127.0.0.1:{shared.api_port}{V1}/graphs/{graph_id}/ws?include=output"
    with (
        narrow_line(shared.api_port) as line,
        connect(url, max_queue=1, compression=None, sock=narrow_line(shared.api_port), max_size=2**22) as slow,
    ):
        path = f"{V1}/graphs/{graph_id}/events?include=output"
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n".encode())
        line.recv(100)
        assert [block.data for block in read(http, graph_id)] == log
        wait_until(lambda: nobody_reads(shared), 30, "the slow readers are cut off")
        assert rest_of(slow)[1] == 1013
    assert len(frames(f"{shared.api_url}{V1}/graphs/{graph_id}/ws")[0]) == len(log)


def test_many_readers_of_many_runs_lose_nothing(api: Callable[..., Pool], tmp_path: Path) -> None:
    """Some vanish in the midst of it; what each takes is bounded."""
    pool = api(workers=2, **WITH_TOOLS)
    with httpx2.Client(base_url=pool.api_url, timeout=60) as http:
        ids = [submitted(http, chain(6)) for _ in range(10)]
        found: dict[int, list[int]] = {}

        def follow(number: int) -> None:
            with httpx2.Client(base_url=pool.api_url, timeout=60) as mine:
                most = 3 if number % 5 == 0 else 10**9
                found[number] = [block.data["seq"] for block in read(mine, ids[number % 10], most=most)]

        threads = [threading.Thread(target=follow, args=(number,)) for number in range(60)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        lengths = {graph_id: http.get(f"{V1}/graphs/{graph_id}/status").json()["seq"] for graph_id in ids}
        for number, seqs in found.items():
            wanted = 3 if number % 5 == 0 else lengths[ids[number % 10]]
            assert seqs == list(range(1, wanted + 1))
        assert len(found) == 60
        wait_until(lambda: nobody_reads(pool), 10)
