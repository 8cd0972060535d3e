"""Scenario 44: hostile graphs get their answer soon, all of what is wrong in it, and the API stays as it was."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.kit import Pool, Stopwatch
from tests.system.orchestrator.conftest import Client
from tests.unit.executor_worker.graph.test_validation import HOSTILE

ANSWERED_S = 20.0  # under a second on a quiet machine; what explodes takes minutes
BODIES: dict[str, tuple[bytes, int, str]] = {
    "10 MB": (b'{"graph":{"nodes":{"a":{"description":"' + b"a" * 10_000_000 + b'"}}}}', 413, "TOO_LARGE"),
    "4 MB of brackets": (b"[" * 4_000_000, 400, "INVALID_REQUEST"),
    "not closed, depth 10 000": (b'{"graph":' * 10_000, 400, "INVALID_REQUEST"),
    "depth 10 000": (b'{"graph":' + b'{"nodes":' * 10_000 + b"{}" + b"}" * 10_001, 400, "INVALID_REQUEST"),
    "no UTF-8": (b'{"graph":"\xff"}', 400, "INVALID_REQUEST"),
    "nothing": (b"", 400, "INVALID_REQUEST"),
}


def test_hostile_graphs_are_answered_and_the_api_lives(api: Callable[..., Pool], client: Client) -> None:
    """Of every kind: sizes, depth, cycles, ids, expressions that explode, templates that name themselves."""
    pool = api(workers=1)
    http = client(pool, timeout=3 * ANSWERED_S)
    for name, (body, status, code) in BODIES.items():
        began = Stopwatch()
        answer = http.post("/api/v1/graphs", content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), name
        assert began.own_s() < ANSWERED_S, name
    for name, (document, code) in HOSTILE.items():
        text = _dumped(document)
        if text is None:
            continue
        began = Stopwatch()
        answer = http.post("/api/v1/graphs", content=text, headers={"Content-Type": "application/json"})
        assert began.own_s() < ANSWERED_S, name
        assert answer.status_code in (400, 413, 422), name
        if answer.status_code == 422:
            found = {problem["code"] for problem in answer.json()["error"]["details"]["errors"]}
            assert code in found, name
        began = Stopwatch()
        assert http.get("/live").status_code == 200
        assert began.own_s() < ANSWERED_S, name
    graph = {"nodes": {"a": {"type": "tool", "tool_name": "calculate", "tool_params": {"expression": "1 + 1"}}}}
    done = http.post("/api/v1/graphs", json={"graph": graph}, headers={"Prefer": "wait=20"})
    assert done.json()["output"] == 2
    assert not pool.seen("service.dead") and not pool.seen("api.failed")


def _dumped(document: object) -> bytes | None:
    """A request with it, as JSON; None if it is nested deeper than can be written (see BODIES)."""
    try:
        return json.dumps({"graph": document, "inputs": {}}).encode()
    except RecursionError:
        return None
