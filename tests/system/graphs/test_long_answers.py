"""Answers of hundreds of megabytes: sent as they are made, and broken off where they can't be made to their end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import httpx2
import pytest

from executor_worker.broker.graphs import drive, runs
from executor_worker.broker.graphs.records import NodeField
from executor_worker.broker.names import run_key
from executor_worker.json_text import dumps
from tests.kit import Pool, RedisServer, wait_until
from tests.kit.processes import descendants
from tests.system.graphs.conftest import TOOLS, Kernel, tool
from tests.system.graphs.test_large_outputs import peak_mib

MIB = 1024 * 1024
MANY = 60  # a submission queues as many by itself: nothing else touches the run
AT = 1_800_000_000_000


@pytest.fixture
def pool(redis_server: RedisServer, executor: Callable[..., Pool]) -> Pool:
    """A pool with an API."""
    return executor(redis_server, command=("run", "--api"), workers=1)


def ended_run(
    server: RedisServer,
    kernel: Kernel,
    sizes: list[int],
    more: Mapping[str, Any] = MappingProxyType({}),
    ways: Sequence[tuple[str, str]] = (),
) -> str:
    """A run whose nodes have outputs of these sizes, and *more* nodes that have none stored; none of them was run."""
    node = tool("passes")
    node["config"]["queue"] = "nobody"
    names = [f"n{at}" for at in range(len(sizes))]
    nodes = {**more.get("nodes", {}), **dict.fromkeys(names, node)}
    run = kernel.submit({"nodes": nodes, "edges": [{"from": one, "to": other} for one, other in ways]}, {"q": "é"})
    db, base = server.client(), run_key(run)
    ended = NodeField("completed", 1, 1, 1, AT, AT, AT, "*", None, {"mode": "tool"}).text()
    db.hset(f"{base}:nodes", mapping=dict.fromkeys(nodes, ended))
    for name, size in zip(names, sizes, strict=True):
        db.hset(f"{base}:outputs", name, json.dumps("x" * (size - 2)))
        db.rpush(f"{base}:log", f'node.completed\t{AT}\t{name}\t{{"mode":"tool","output_bytes":{size}}}')
    db.hset(base, mapping={"status": "completed", "left": 0, "completed": len(names), "ended": AT})
    return run


@contextmanager
def asking(pool: Pool, path: str, **query: Any) -> Iterator[httpx2.Response]:
    """An answer whose body is not read yet."""
    with (
        httpx2.Client(base_url=f"{pool.api_url}/api/v1/graphs", timeout=30) as http,
        http.stream("GET", path, params=query) as response,
    ):
        yield response


PATHS: list[tuple[str, dict[str, Any]]] = [
    ("", {"full": 1}),
    ("/result", {"full": 1}),
    ("/events", {"include": "output", "limit": 1000}),
]


@pytest.mark.parametrize(("sizes", "long"), [([10, 2000, 70_000], False), ([MIB // 3] * 9 + [3 * MIB, 5], True)])
def test_a_long_answer_is_what_a_short_one_would_be(
    redis_server: RedisServer, pool: Pool, kernel: Kernel, sizes: list[int], long: bool
) -> None:
    """Byte for byte; a short one comes with its length, each document with its tag."""
    run = ended_run(redis_server, kernel, sizes)
    with httpx2.Client(base_url=f"{pool.api_url}/api/v1/graphs", timeout=30) as http:
        document, result, events = (http.get(f"/{run}{path}", params=query) for path, query in PATHS)
        for answer in (document, result, events):
            assert ("content-length" not in answer.headers) is long, answer.headers
            assert answer.headers["content-type"] == "application/json; charset=utf-8"
        whole = drive(kernel.link, runs.document(run, full=True))
        assert whole is not None and document.content.startswith(whole[:-1] + b',"trace_id":')
        assert [node["id"] for node in document.json()["nodes"]] == [f"n{at}" for at in range(len(sizes))]
        assert result.content == drive(kernel.link, runs.result(run, full=True))
        page = drive(kernel.link, runs.events(run, limit=1000, include_output=True))
        told = {"events": page.events, "next_after": page.next_after, "ended": page.ended}
        assert events.content == dumps(told)
        tag = document.headers["etag"]
        assert http.get(f"/{run}", params={"full": 1}, headers={"If-None-Match": tag}).status_code == 304
        head = http.head(f"/{run}", params={"full": 1})
        assert head.status_code == 200 and head.headers["etag"] == tag and not head.content
        assert head.headers.get("content-length") == document.headers.get("content-length")
        renamed = http.get(
            f"/{run}/events", params={"include": "output", "names": "underscore", "types": "node.completed"}
        )
        assert [one["type"] for one in renamed.json()["events"]] == ["node_completed"] * len(sizes)
        assert [len(one["data"]["output"]) + 2 for one in renamed.json()["events"]] == sizes


def test_ends_behind_ends_are_written_however_large(redis_server: RedisServer, pool: Pool, kernel: Kernel) -> None:
    """One has what the other has, one has it beside another's."""
    names = ["n0", "n1", "n2"]
    more = {"nodes": {"f": {"type": "end"}, "g": {"type": "end"}, "e": {"type": "end"}}}
    ways = [("n0", "e"), ("n1", "e"), ("e", "f"), ("e", "g"), ("n2", "g")]
    for size in (10, MIB):
        run = ended_run(redis_server, kernel, [size] * 3, more, ways)
        text = "x" * (size - 2)
        end = dict.fromkeys(names[:2], text)
        got = httpx2.get(f"{pool.api_url}/api/v1/graphs/{run}/result", params={"full": 1}, timeout=30).json()
        assert {name: got["result"][name]["output"] for name in "efg"} == {
            "e": end,
            "f": end,
            "g": {"e": end, "n2": text},
        }
        assert got["output"] == {"f": end, "g": {"e": end, "n2": text}}


def test_event_of_an_end_whose_output_is_stored(
    redis_server: RedisServer, executor: Callable[..., Pool], kernel: Kernel
) -> None:
    """Since the run's own output names it; its event in the log says no size."""
    pool = executor(redis_server, command=("run", "--api"), workers=1, **TOOLS)
    nodes = {"n": tool("passes", value=7), "e": {"type": "end"}}
    run = kernel.submit({"nodes": nodes, "edges": [{"from": "n", "to": "e"}], "output": {"found": "{{e}}"}})
    assert kernel.wait(run)["output"] == {"found": 7}
    answer = httpx2.get(f"{pool.api_url}/api/v1/graphs/{run}/events", params={"include": "output"}, timeout=60)
    told = {one["node_id"]: one["data"]["output"] for one in answer.json()["events"] if one["type"] == "node.completed"}
    assert told == {"n": 7, "e": 7}


def test_no_answer_is_held_in_memory(redis_server: RedisServer, pool: Pool, kernel: Kernel) -> None:
    """Of a run of 120 MiB: all of it is sent, and no process has grown by a third of that."""
    run = ended_run(redis_server, kernel, [2 * MIB] * MANY)
    before = {pid: peak_mib(pid) for pid in descendants(pool.process.pid)}
    for path, query in PATHS:
        with asking(pool, f"/{run}{path}", **query) as response:
            size, last = 0, b""
            for piece in response.iter_raw():
                size, last = size + len(piece), piece
        outputs = 2 * MANY * MIB * (1 if path == "/events" else 2)  # the run's output has them once more
        assert outputs < size < outputs + MIB and last.endswith(b"}"), path
    grown = {pid: peak_mib(pid) - before.get(pid, 0) for pid in descendants(pool.process.pid)}
    assert max(grown.values()) < 2 * MANY // 3, (before, grown)


def broken_off(pool: Pool, path: str, query: dict[str, Any], fault: Callable[[], object]) -> None:
    """Read the beginning of an answer; after *fault* it can't be made to its end."""
    with asking(pool, path, **query) as response:
        assert response.status_code == 200
        pieces = response.iter_raw(65536)
        next(pieces)
        fault()
        with pytest.raises(httpx2.RemoteProtocolError):
            for _ in pieces:
                pass


def test_an_answer_that_can_not_be_made_to_its_end_breaks(
    redis_server: RedisServer, pool: Pool, kernel: Kernel
) -> None:
    """Its run is deleted, or Redis is gone: its reader sees that there was more, the log says why, the API goes on."""
    sizes = [MIB] * 48
    for path, query in PATHS:
        run = ended_run(redis_server, kernel, sizes)
        broken_off(pool, f"/{run}{path}", query, lambda run=run: drive(kernel.link, runs.delete(run)))  # type: ignore[misc]
        assert httpx2.get(f"{pool.api_url}/api/v1/graphs/{run}{path}", params=query, timeout=60).status_code == 404
    run = ended_run(redis_server, kernel, sizes)
    broken_off(pool, f"/{run}", {"full": 1}, redis_server.kill)
    wait_until(lambda: pool.said().count("api.broken_off") == 4, 10, pool.said)
    assert httpx2.get(f"{pool.api_url}/live", timeout=60).status_code == 200
