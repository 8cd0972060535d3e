"""Graphs over HTTP: submitted, looked at, waited for, cancelled; what is wrong is said."""

from __future__ import annotations

import gzip
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.contract.conftest import WITH_TOOLS
from tests.kit import Pool, RedisServer, wait_until
from tests.system.orchestrator.graphs import chain, doubling, waiting
from tests.system.orchestrator.shared import shared_api
from tests.system.orchestrator.test_http import api_pid, code

V1 = "/api/v1"
UNKNOWN = "01a224cc-a9d3-756e-a0e6-ffbc28845000"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """One pool with an API for all tests of this file that leave it as it is."""
    with shared_api(tmp_path_factory, **WITH_TOOLS, MAX_GRAPH_BYTES="200000") as pool:
        yield pool


@pytest.fixture
def http(shared: Pool) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"{shared.api_url}{V1}", timeout=60) as client:
        yield client


def submitted(http: httpx2.Client, graph: dict[str, Any], **more: Any) -> str:
    """Submit a graph; return its run's id."""
    answer = http.post("/graphs", json={"graph": graph, **more})
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["graph_id"]
    return found


def test_a_graph_is_run_to_its_result(http: httpx2.Client) -> None:
    """From 201 to the result, by every way of looking."""
    answer = http.post("/graphs", json={"graph": doubling(), "inputs": {"x": 21}, "labels": {"a": "b"}})
    graph_id = answer.json()["graph_id"]
    assert (answer.status_code, answer.json()["status"]) == (201, "submitted")
    assert answer.headers["location"] == f"{V1}/graphs/{graph_id}"
    status = http.get(f"/graphs/{graph_id}/status", params={"wait": 10}).json()
    assert status["status"] == "completed" and status["submitted_at"] <= status["started_at"] <= status["completed_at"]
    result = http.get(f"/graphs/{graph_id}/result").json()
    assert (result["status"], result["output"], result["error"]) == ("completed", 42, None)
    assert result["result"]["twice"]["output"] == 42
    run = http.get(f"/graphs/{graph_id}").json()
    assert run["inputs"] == {"x": 21} and run["graph"]["name"] == "doubling" and run["seq"] == status["seq"]
    assert [(node["id"], node["status"]) for node in run["nodes"]] == [
        ("first", "completed"), ("twice", "completed"), ("last", "completed"),
    ]  # fmt: skip
    node = http.get(f"/graphs/{graph_id}/nodes/twice").json()
    assert node["rendered"]["tool_params"] == {"expression": "21 * 2"} and node["output"] == 42
    assert node["edges"] == [{"to": "last", "on": "success", "condition": None, "taken": True}]
    assert http.delete(f"/graphs/{graph_id}/result").status_code == 405
    (attempt,) = node["attempts"]
    assert (attempt["attempt"], attempt["status"], attempt["error"]) == (1, "completed", None)
    assert [step["step"] for step in attempt["steps"]] == ["sent", "answered"]
    assert attempt["steps"][0]["arguments"] == {"expression": "21 * 2"} and attempt["steps"][1]["ok"]


def test_each_attempt_of_a_node_says_what_came_of_it(http: httpx2.Client) -> None:
    """When it was, by whom, its error, and the call it made; an item that was never sent has no call."""
    retry = {"max_attempts": 2, "delay": 0.05}
    fails = {"type": "tool", "config": {"tool_name": "calculate", "tool_params": {"expression": "1 / 0"}}}
    wrong = {"type": "tool", "config": {"tool_name": "calculate", "tool_params": {"expression": "{{x.y}}"}}}
    nodes = {"fails": {**fails, "retry": retry}, "wrong": wrong}
    graph_id = submitted(http, {"nodes": nodes, "failure": "finish"}, inputs={"x": 1})
    assert http.get(f"/graphs/{graph_id}/status", params={"wait": 20}).json()["status"] == "failed"
    node = http.get(f"/graphs/{graph_id}/nodes/fails").json()
    first, second = node["attempts"]
    for number, attempt in enumerate((first, second), 1):
        assert (attempt["attempt"], attempt["status"], attempt["error_code"]) == (number, "failed", "tool_failed")
        assert "zero" in attempt["error"] and attempt["worker_id"]
        assert [(step["step"], step.get("ok")) for step in attempt["steps"]] == [("sent", None), ("answered", False)]
    assert first["started_at"] <= first["completed_at"] < second["started_at"] <= second["completed_at"]
    assert (second["started_at"], second["completed_at"]) == (node["started_at"], node["completed_at"])
    node = http.get(f"/graphs/{graph_id}/nodes/wrong").json()
    (attempt,) = node["attempts"]
    assert node["rendered"] is None and "{{x.y}}" in node["rendering_error"]
    assert (attempt["error_code"], attempt["steps"]) == ("template_error", [])


def test_a_caller_may_wait_for_the_result_at_once(http: httpx2.Client) -> None:
    """With Prefer; without an end in time it is as without."""
    done = http.post("/graphs", json={"graph": doubling(), "inputs": {"x": 2}}, headers={"Prefer": "Wait=10"})
    assert (done.status_code, done.json()["output"]) == (200, 4)
    assert done.headers["preference-applied"] == "wait=10", "names of preferences have no case"


def test_waiting_ends_in_time(http: httpx2.Client, tmp_path: Path) -> None:
    """A long poll answers what is so when its time is up, or when there is news."""
    gate = tmp_path / "gate"
    answer = http.post("/graphs", json={"graph": waiting(str(gate))}, headers={"Prefer": "wait=1"})
    assert answer.status_code == 201
    graph_id = answer.json()["graph_id"]
    began = time.monotonic()
    status = http.get(f"/graphs/{graph_id}/status", params={"wait": 1}).json()
    assert status["status"] == "running" and time.monotonic() - began >= 1
    seq = status["seq"]
    threading.Timer(0.2, gate.touch).start()
    news = http.get(f"/graphs/{graph_id}/status", params={"wait": 20, "after": seq}).json()
    assert news["seq"] > seq


def test_what_did_not_change_is_not_sent_again(http: httpx2.Client) -> None:
    """By its ETag."""
    graph_id = submitted(http, doubling(), inputs={"x": 1})
    http.get(f"/graphs/{graph_id}/status", params={"wait": 10})
    first = http.get(f"/graphs/{graph_id}")
    again = http.get(f"/graphs/{graph_id}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert http.get(f"/graphs/{graph_id}", headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_run_that_goes_on_has_no_result_and_can_be_cancelled(http: httpx2.Client, tmp_path: Path) -> None:
    """Once; afterwards it has one, and its reader was told."""
    graph_id = submitted(http, waiting(str(tmp_path / "gate")))
    wait_until(lambda: http.get(f"/graphs/{graph_id}").json()["node_states"]["wait"]["status"] == "running")
    early = http.get(f"/graphs/{graph_id}/result")
    assert (early.status_code, code(early)) == (409, "NOT_COMPLETED")
    done = http.post(f"/graphs/{graph_id}/cancel")
    assert (done.status_code, done.json()["status"]) == (200, "cancelled")
    assert done.json()["stopped"] == {"running": 1, "queued": 0}
    again = http.post(f"/graphs/{graph_id}/cancel")
    assert (again.status_code, code(again)) == (409, "CANCELLATION_FAILED")
    assert http.get(f"/graphs/{graph_id}/status", params={"wait": 10}).json()["status"] == "cancelled"
    wait_until(lambda: http.get(f"/graphs/{graph_id}/result").status_code == 200)
    result = http.get(f"/graphs/{graph_id}/result")
    assert result.json()["status"] == "cancelled"


def test_a_key_makes_one_run(http: httpx2.Client) -> None:
    """However often it comes, however the body is written; with another body it is refused."""
    body = {"graph": doubling(), "inputs": {"x": 1, "y": [1, {"b": 1, "a": 2}]}}
    key = {"Idempotency-Key": f"key-{time.time_ns()}"}
    first = http.post("/graphs", json=body, headers=key)
    turned = json.dumps({"inputs": {"y": [1, {"a": 2, "b": 1.0}], "x": 1.0}, "graph": doubling()}, indent=3)
    again = http.post("/graphs", content=turned, headers=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["graph_id"] == first.json()["graph_id"]
    assert again.headers["idempotency-replayed"] == "true" and "idempotency-replayed" not in first.headers
    other = http.post("/graphs", json={**body, "inputs": {**body["inputs"], "x": 1.5}}, headers=key)
    assert (other.status_code, code(other)) == (422, "IDEMPOTENCY_MISMATCH")
    bad = http.post("/graphs", json=body, headers={"Idempotency-Key": "x" * 300})
    assert (bad.status_code, code(bad)) == (400, "INVALID_REQUEST")


def test_many_at_once_with_one_key_are_one_run(http: httpx2.Client, shared: Pool) -> None:
    """Ten clients send the same at the same moment."""
    key = {"Idempotency-Key": f"key-{time.time_ns()}"}
    found: list[str] = []

    def send() -> None:
        answer = httpx2.post(
            f"{shared.api_url}{V1}/graphs", json={"graph": doubling(), "inputs": {"x": 1}}, headers=key, timeout=60
        )
        found.append(answer.json()["graph_id"])

    threads = [threading.Thread(target=send) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 10 and len(set(found)) == 1


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"", 400, "INVALID_REQUEST"),
        (b"{", 400, "INVALID_REQUEST"),
        (b"[]", 400, "INVALID_REQUEST"),
        (b"\xff\xfe", 400, "INVALID_REQUEST"),
        (b"{}", 400, "INVALID_REQUEST"),
        (b'{"graph":null}', 400, "INVALID_REQUEST"),
        (b"[" * 100_000, 400, "INVALID_REQUEST"),
        (b'{"graph":{}}', 422, "VALIDATION_ERROR"),
        (b'{"graph":7}', 422, "VALIDATION_ERROR"),
        (b'{"graph":{"nodes":{"a":{"type":"start"}}},"inputs":7}', 422, "VALIDATION_ERROR"),
        (b'{"graph":{"nodes":{"a":{"type":"start"}}},"labels":{"a":1}}', 422, "VALIDATION_ERROR"),
        (b'{"graph":{"nodes":{"a":{"type":"start"}}},"timeout":"soon"}', 422, "VALIDATION_ERROR"),
        (b'{"graph":{"nodes":{"a":{"type":"start"}}},"webhook":{}}', 422, "VALIDATION_ERROR"),
        (b'{"graph":' + b"[" * 500 + b"]" * 500 + b"}", 422, "VALIDATION_ERROR"),
        (b'{"graph":' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400, "INVALID_REQUEST"),
        (b'{"graph":"' + b"x" * 300_000 + b'"}', 413, "TOO_LARGE"),
    ],
)
def test_what_is_no_graph_is_refused(shared: Pool, body: bytes, status: int, word: str) -> None:
    """With its code; the process goes on."""
    answer = httpx2.post(f"{shared.api_url}{V1}/graphs", content=body, timeout=60)
    assert (answer.status_code, code(answer)) == (status, word)
    assert httpx2.get(f"{shared.api_url}/live", timeout=60).status_code == 200


def test_a_packed_body_is_refused_as_such(shared: Pool) -> None:
    """Whatever is in it, and not as bad JSON."""
    body = gzip.compress(b'{"graph":{"nodes":{"a":{"type":"start"}}}}')
    answer = httpx2.post(f"{shared.api_url}{V1}/graphs", content=body, headers={"Content-Encoding": "gzip"}, timeout=60)
    assert (answer.status_code, code(answer)) == (415, "INVALID_REQUEST")
    assert answer.headers["accept-encoding"] == "identity"


def test_a_body_of_unknown_length_is_bounded_too(shared: Pool) -> None:
    """It is cut off where it becomes too large."""

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 10_000

    try:
        answer = httpx2.post(f"{shared.api_url}{V1}/graphs", content=endless(), timeout=60)
        assert (answer.status_code, code(answer)) == (413, "TOO_LARGE")
    except httpx2.TransportError:
        pass  # it was still sending when the line was closed
    assert httpx2.get(f"{shared.api_url}/live", timeout=60).status_code == 200


def test_all_that_is_wrong_is_told_at_once(http: httpx2.Client) -> None:
    """By submit and by validate; a cycle is shown as the path it is."""
    tool = {"type": "tool", "config": {"tool_name": "calculate", "tool_params": {"expression": "{{nobody}}"}}}
    graph = {
        "nodes": {"a": tool, "b": {"type": "nothing"}},
        "edges": [{"from": "a", "to": "b"}, {"from": "b", "to": "a"}, {"from": "a", "to": "c"}],
    }
    refused = http.post("/graphs", json={"graph": graph, "inputs": 3})
    assert (refused.status_code, code(refused)) == (422, "VALIDATION_ERROR")
    error = refused.json()["error"]
    assert error["message"] == "Graph contains cycles" and error["details"]["cycle"] == ["a", "b", "a"]
    pointers = {problem["pointer"] for problem in error["details"]["errors"]}
    assert {"/graph/edges/2/to", "/graph/nodes/b/type", "/inputs"} <= pointers
    report = http.post("/graphs/validate", json={"graph": graph, "inputs": 3})
    assert report.status_code == 200 and report.json()["errors"] == error["details"]["errors"]
    assert all(problem["fix"] for problem in report.json()["errors"])
    good = http.post("/graphs/validate", json={"graph": doubling(), "inputs": {"x": 1}}).json()
    assert (good["valid"], good["order"]) == (True, [["first"], ["twice"], ["last"]])


@pytest.mark.parametrize("depth", [501, 990, 1010])
@pytest.mark.parametrize("name", ["inputs", "metadata"])
def test_what_is_nested_too_deeply_is_refused(http: httpx2.Client, name: str, depth: int) -> None:
    """As something of the caller's: it could be read, and not be written again."""
    body = b'{"graph": {"nodes": {"a": {"type": "start"}}}, "%b": {"x": %b}}'
    for nested in (b"[" * depth + b"]" * depth, b'{"y":' * depth + b"1" + b"}" * depth):
        refused = http.post("/graphs", content=body % (name.encode(), nested))
        assert refused.status_code in (400, 422) and "nested" in refused.json()["detail"]


def test_what_stands_twice_is_told(http: httpx2.Client) -> None:
    """By submit and by validate, beside all else: one of both nodes would be lost without a word."""
    graph = b'{"nodes": {"a": {"type": "start"}, "a": {"type": "end"}}}'
    body = b'{"graph": %b, "inputs": {"x": 1, "x": 2}, "timeout": "?"}' % graph
    refused = http.post("/graphs", content=body, headers={"Idempotency-Key": "twice"})
    assert (refused.status_code, code(refused)) == (422, "VALIDATION_ERROR")
    found = refused.json()["error"]["details"]["errors"]
    told = {(one["pointer"], one["code"]) for one in found}
    wanted = {("/graph/nodes/a", "duplicate_id"), ("/inputs/x", "duplicate_name"), ("/timeout", "wrong_type")}
    assert told == wanted and all(one["fix"] for one in found)
    report = http.post("/graphs/validate", content=body).json()
    assert (report["valid"], report["errors"]) == (False, found)
    known = b'{"graph": {"nodes": {"a": {"type": "start"}}}}'
    assert http.post("/graphs", content=known).status_code == 201
    again = http.post("/graphs", content=known.replace(b'"start"', b'"end", "type": "start"'))
    assert [one["pointer"] for one in again.json()["error"]["details"]["errors"]] == ["/graph/nodes/a/type"]


def test_a_tool_that_no_worker_has_is_warned_of(http: httpx2.Client) -> None:
    """With the nearest one that there is; the graph is right all the same."""

    def warnings(tool: str) -> list[dict[str, Any]]:
        node = {"type": "tool", "config": {"tool_name": tool, "tool_params": {}}}
        report = http.post("/graphs/validate", json={"graph": {"nodes": {"n": node}}}).json()
        assert report["valid"]
        return [one for one in report["warnings"] if one["code"] == "tool_not_offered"]

    (warning,) = wait_until(lambda: warnings("wait_for_fiel"))
    assert warning["pointer"] == "/graph/nodes/n/config/tool_name" and '"wait_for_file"' in warning["fix"]
    assert warnings("wait_for_file") == []


def test_runs_that_are_not_there_are_not_found(http: httpx2.Client) -> None:
    """By every route, whatever the id looks like."""
    for graph_id in (UNKNOWN, "nobody", "%2e%2e", "x" * 500, "01a224cc-a9d3-756e-a0e6-ffbc2884500g"):
        for path in ("", "/status", "/result", "/events", "/nodes/a"):
            answer = http.get(f"/graphs/{graph_id}{path}")
            assert (answer.status_code, code(answer)) == (404, "NOT_FOUND"), path
        assert code(http.post(f"/graphs/{graph_id}/cancel")) == "NOT_FOUND"
    graph_id = submitted(http, doubling(), inputs={"x": 1})
    assert code(http.get(f"/graphs/{graph_id}/nodes/nobody")) == "NOT_FOUND"


def test_lists_show_what_is_asked_for(http: httpx2.Client) -> None:
    """By name, labels, status, times and text; page by page, newest first."""
    name = f"listed-{time.time_ns()}"
    ids = [submitted(http, doubling(name), inputs={"x": n}, labels={"n": str(n), "of": name}) for n in range(5)]
    for graph_id in ids:
        http.get(f"/graphs/{graph_id}/status", params={"wait": 10})

    def listed(**query: Any) -> list[str]:
        return [run["graph_id"] for run in http.get("/graphs", params=query).json()["graphs"]]

    assert listed(name=name) == ids[::-1]
    assert listed(label=[f"of:{name}", "n:3"]) == [ids[3]]
    assert listed(label=[f"of:{name}", "n:2", "n:3"]) == [], "all of them hold for no run"
    assert listed(q=name[:-3].upper(), status="completed", limit=100)[:5] == ids[::-1]
    assert listed(name=name, status="failed") == []
    page = http.get("/graphs", params={"name": name, "limit": 2}).json()
    assert page["total"] is None and page["limit"] == 2
    rest = http.get("/graphs", params={"name": name, "limit": 100, "cursor": page["next_cursor"]}).json()
    assert [run["graph_id"] for run in page["graphs"] + rest["graphs"]] == ids[::-1] and rest["next_cursor"] is None
    assert listed(name=name, offset=3) == ids[1::-1]
    everything = http.get("/graphs", params={"limit": 1}).json()
    assert isinstance(everything["total"], int) and everything["total"] >= 5
    one = page["graphs"][0]
    assert one["nodes"] == {"total": 3, "completed": 3, "failed": 0, "running": 0} and one["labels"]["of"] == name
    since = one["submitted_at"]
    assert ids[4] in listed(since=since) and ids[0] not in listed(since=since, name=name)
    for more in ("1000", "9" * 30):
        assert http.get("/graphs", params={"limit": more}).json()["limit"] == 100


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=x", "offset=-1", "since=yesterday", "status=gone", "label=x", "offset=99999999999999999999"],
)
def test_queries_that_mean_nothing_are_refused(http: httpx2.Client, query: str) -> None:
    """Not passed over."""
    answer = http.get(f"/graphs?{query}")
    assert (answer.status_code, code(answer)) == (400, "INVALID_REQUEST")


def test_a_cursor_that_is_none_is_refused(http: httpx2.Client) -> None:
    """Whatever it holds."""
    for cursor in ("x", "1_", "_", "-inf_x"):
        assert code(http.get("/graphs", params={"cursor": cursor})) == "INVALID_REQUEST"


def test_a_schema_of_graphs_is_published(shared: Pool) -> None:
    """With its dialect."""
    schema = httpx2.get(f"{shared.api_url}/schemas/graph.json", timeout=60).json()
    assert schema["$schema"].startswith("https://json-schema.org/") and "nodes" in schema["properties"]


def test_roles_are_asked_for(api: Callable[..., Pool], client: Callable[..., httpx2.Client]) -> None:
    """Whoever may read may not submit, whoever may submit may not cancel; the run knows who has submitted it."""
    pool = api(API_TOKENS="eye:read:aaa,ci:submit:bbb,op:operate:ccc")
    eye, ci, op = (client(pool, token) for token in ("aaa", "bbb", "ccc"))
    body = {"graph": doubling(), "inputs": {"x": 1}}
    refused = eye.post(f"{V1}/graphs", json=body)
    assert (refused.status_code, code(refused)) == (403, "FORBIDDEN")
    assert eye.post(f"{V1}/graphs/validate", json=body).status_code == 200
    made = ci.post(f"{V1}/graphs", json=body)
    one = made.headers["location"]
    assert ci.post(f"{one}/cancel").status_code == 403
    assert op.post(f"{one}/cancel").status_code in (200, 409)
    assert eye.get(one).json()["submitted_by"] == "ci"
    ticket = eye.post(f"{V1}/tickets").json()["ticket"]
    assert client(pool).get(one, params={"ticket": ticket}).status_code == 200
    assert client(pool).post(f"{V1}/graphs", params={"ticket": ticket}, json=body).status_code == 403


def test_as_many_as_may_run_are_accepted(
    api: Callable[..., Pool], client: Callable[..., httpx2.Client], tmp_path: Path, redis_server: RedisServer
) -> None:
    """One more is told to come again; and where Redis is nearly full, any."""
    http = client(api(MAX_ACTIVE_GRAPHS="1", **WITH_TOOLS))
    gate = tmp_path / "gate"
    first = http.post(f"{V1}/graphs", json={"graph": waiting(str(gate))})
    refused = http.post(f"{V1}/graphs", json={"graph": doubling(), "inputs": {"x": 1}})
    assert (first.status_code, refused.status_code, code(refused)) == (201, 429, "RATE_LIMIT_EXCEEDED")
    assert int(refused.headers["retry-after"]) >= 1
    gate.touch()
    http.get(f"{first.headers['location']}/status", params={"wait": 10})
    assert http.post(f"{V1}/graphs", json={"graph": doubling(), "inputs": {"x": 1}}).status_code == 201

    db = redis_server.client()
    db.setrange("ballast", 2**24, "x")  # no buffer holds it besides
    db.config_set("maxmemory", int(db.info("memory")["used_memory"] / 0.95))

    def full() -> httpx2.Response | None:
        answer = http.post(f"{V1}/graphs", json={"graph": doubling(), "inputs": {"x": 1}})
        return answer if answer.status_code == 503 else None

    nearly = wait_until(full, 5)  # the process looks once a second
    assert nearly is not None and code(nearly) == "UNAVAILABLE" and "% of its maxmemory" in nearly.json()["detail"]


def test_a_submission_outlives_the_api_process(api: Callable[..., Pool]) -> None:
    """Killed again and again while clients repeat themselves with their keys: one run a key, each to its end."""
    pool = api(workers=2)
    stop = threading.Event()
    runs: dict[str, set[str]] = {}

    def submit(key: str) -> None:
        while not stop.is_set():
            try:
                answer = httpx2.post(
                    f"{pool.api_url}{V1}/graphs",
                    json={"graph": doubling(), "inputs": {"x": 1}},
                    headers={"Idempotency-Key": key},
                    timeout=5,
                )
            except httpx2.TransportError:
                continue
            assert answer.status_code in (200, 201, 503), answer.text
            if answer.status_code != 503:
                runs.setdefault(key, set()).add(answer.json()["graph_id"])
                return

    threads = [threading.Thread(target=submit, args=(f"key-{number}",)) for number in range(60)]
    for at, thread in enumerate(threads):
        thread.start()
        if at % 20 == 10:
            os.kill(api_pid(pool), signal.SIGKILL)
            pool.wait_event("service.up", count=at // 20 + 2)
    for thread in threads:
        thread.join(60)
    stop.set()
    assert len(runs) == 60 and all(len(ids) == 1 for ids in runs.values())
    for ids in runs.values():
        (graph_id,) = ids
        status = httpx2.get(f"{pool.api_url}{V1}/graphs/{graph_id}/status", params={"wait": 20}, timeout=30).json()
        assert status["status"] == "completed"
    assert httpx2.get(f"{pool.api_url}{V1}/graphs", timeout=60).json()["total"] == 60


def test_redis_away_is_no_404(
    api: Callable[..., Pool], client: Callable[..., httpx2.Client], redis_server: RedisServer
) -> None:
    """Neither for what is there nor for what is submitted."""
    http = client(api())
    made = http.post(f"{V1}/graphs", json={"graph": chain(2)})
    redis_server.stop()
    for answer in (
        http.get(made.headers["location"]),
        http.post(f"{V1}/graphs", json={"graph": doubling(), "inputs": {"x": 1}}),
    ):
        assert (answer.status_code, code(answer)) == (503, "UNAVAILABLE")
        assert int(answer.headers["retry-after"]) >= 1


def failing(path: Path) -> dict[str, Any]:
    """A node that completes, then one that fails until *path* is there."""
    tool = {"tool_name": "fail_unless", "tool_params": {"path": str(path)}}
    first = {"tool_name": "plus", "tool_params": {"a": 1}}
    return {
        "name": "failing",
        "nodes": {"good": {"type": "tool", "config": first}, "bad": {"type": "tool", "config": tool}},
        "edges": [{"from": "good", "to": "bad"}],
    }


def test_a_failed_run_is_begun_again(http: httpx2.Client, tmp_path: Path) -> None:
    """What completed stays; of an epoch that was seen to end, once; a completed run is not."""
    there = tmp_path / "there"
    graph_id = submitted(http, failing(there))
    assert http.get(f"/graphs/{graph_id}/status", params={"wait": 10}).json()["status"] == "failed"
    assert "not there" in http.get(f"/graphs/{graph_id}/result").json()["error"]
    there.touch()
    done = http.post(f"/graphs/{graph_id}/retry", params={"epoch": 1})
    told = {"graph_id": graph_id, "status": "running", "epoch": 2, "kept": 1, "again": 1}
    assert (done.status_code, done.json()) == (200, told)
    http.get(f"/graphs/{graph_id}/status", params={"wait": 10})
    again = http.post(f"/graphs/{graph_id}/retry", params={"epoch": 1})
    assert (again.status_code, code(again)) == (409, "CONFLICT")
    assert http.get(f"/graphs/{graph_id}/result").json()["status"] == "completed"
    types = [event["type"] for event in http.get(f"/graphs/{graph_id}/events").json()["events"]]
    assert types.count("graph.retried") == 1 and types[-1] == "graph.completed" and "graph.failed" in types


def test_a_run_is_held_and_goes_on(http: httpx2.Client, tmp_path: Path) -> None:
    """What runs goes on, nothing new starts; an ended one can't be held."""
    gate = tmp_path / "gate"
    graph = waiting(str(gate))
    graph["nodes"]["next"] = {"type": "tool", "config": {"tool_name": "plus", "tool_params": {"a": 1}}}
    graph["edges"] = [{"from": "wait", "to": "next"}]
    graph_id = submitted(http, graph)
    held = http.post(f"/graphs/{graph_id}/hold")
    assert (held.status_code, held.json()["held"]) == (200, True)
    early = http.delete(f"/graphs/{graph_id}")
    assert (early.status_code, code(early)) == (409, "CONFLICT")
    assert http.post(f"/graphs/{graph_id}/resume").json()["held"] is False
    gate.touch()
    assert http.get(f"/graphs/{graph_id}/status", params={"wait": 10}).json()["status"] == "completed"
    for verb in ("hold", "resume", "retry"):
        answer = http.post(f"/graphs/{graph_id}/{verb}")
        assert (answer.status_code, code(answer)) == (409, "CONFLICT")
    assert http.delete(f"/graphs/{graph_id}").status_code == 204
    assert http.get(f"/graphs/{graph_id}").status_code == 404
    assert http.delete(f"/graphs/{graph_id}").status_code == 404


def test_many_runs_are_retried_and_cancelled(http: httpx2.Client, tmp_path: Path) -> None:
    """As a filter says; how many is said first, or only."""
    there = tmp_path / "there"
    mark = f"many-{time.time_ns()}"
    ids = [submitted(http, failing(there), labels={"of": mark}) for _ in range(3)]
    for graph_id in ids:
        http.get(f"/graphs/{graph_id}/status", params={"wait": 10})
    wanted = {"filter": {"labels": {"of": mark}, "status": "failed", "since": "1h", "code": "tool_failed"}}
    dry = http.post("/graphs/retry", json={**wanted, "dry_run": True})
    assert (dry.status_code, dry.json()) == (202, {"matched": 3, "dry_run": True})
    there.touch()
    assert http.post("/graphs/retry", json=wanted).json() == {"matched": 3, "dry_run": False}

    def ended_as(status: str, which: list[str]) -> bool:
        return all(http.get(f"/graphs/{one}/status").json()["status"] == status for one in which)

    wait_until(lambda: ended_as("completed", ids))
    running = [submitted(http, waiting(str(tmp_path / "gate")), labels={"of": mark}) for _ in range(2)]
    assert http.post("/graphs/cancel", json={"filter": {"label": f"of:{mark}"}}).json()["matched"] == 2
    wait_until(lambda: ended_as("cancelled", running))
    bad: Any
    for bad in ({}, {"filter": {}}, {"filter": {"state": "failed"}}, {"filter": {"since": "soon"}}, {"filter": []}):
        assert code(http.post("/graphs/cancel", json=bad)) == "INVALID_REQUEST"
