"""Promises that show at the edges: keys of runs that are gone, secrets, what is loaded where, the other entry point."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx2
import pytest

from orchestrator.rpc import orchestrator_pb2 as messages
from orchestrator.rpc import orchestrator_pb2_grpc
from tests.kit import PROGRAM, Pool
from tests.system.orchestrator.graphs import doubling
from tests.system.orchestrator.test_http import api_pid

V1 = "/api/v1"
SECRET = "planted-token-of-nobody"
SERVING = ("cygrpc", "httptools", "uvloop")


def loaded(pid: int) -> set[str]:
    """Which of the libraries of servers a process has loaded."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return {name for name in SERVING if name in maps}


@pytest.mark.cold
def test_what_serves_is_loaded_where_it_serves(api: Callable[..., Pool]) -> None:
    """Neither in the supervisor, before its forks, nor in workers; gRPC's with its first client only."""
    pool = api(workers=1)
    serving = api_pid(pool)
    httpx2.get(f"{pool.api_url}/health", timeout=60)
    assert loaded(pool.process.pid) == loaded(pool.worker_pid()) == set()
    assert loaded(serving) == {"httptools", "uvloop"}
    with grpc.insecure_channel(f"127.0.0.1:{pool.grpc_port}") as channel:
        grpc.channel_ready_future(channel).result(20)
    assert loaded(serving) == set(SERVING) and loaded(pool.process.pid) == set()


def test_a_key_outlives_its_run_by_every_way_and_tokens_are_told_nowhere(api: Callable[..., Pool]) -> None:
    """A run that is gone is not made again: `deleted`; what came with it stands in no log and on no page."""
    pool = api(workers=1, API_TOKENS=f"ci:operate:{SECRET}", LOG_LEVEL="debug")
    headers = {"Authorization": f"Bearer {SECRET}", "Idempotency-Key": "once"}
    body = {"graph": doubling(), "inputs": {"x": 1}}
    with httpx2.Client(base_url=pool.api_url, headers=headers, timeout=60) as http:
        made = http.post(f"{V1}/graphs", json=body, headers={"Prefer": "wait=10"}).json()
        run = http.get(f"{V1}/graphs/{made['graph_id']}")
        assert run.json()["submitted_by"] == "ci"
        assert http.delete(f"{V1}/graphs/{made['graph_id']}").status_code == 204
        again = http.post(f"{V1}/graphs", json=body)
        assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
        assert (again.json()["graph_id"], again.json()["status"]) == (made["graph_id"], "deleted")
        with grpc.insecure_channel(f"127.0.0.1:{pool.grpc_port}") as channel:
            stub = orchestrator_pb2_grpc.OrchestratorServiceStub(channel)  # type: ignore[no-untyped-call]
            order = messages.SubmitGraphRequest(
                graph_json=json.dumps(body["graph"]), inputs={"x": "1"}, idempotency_key="once"
            )
            known = stub.SubmitGraph(order, timeout=60, metadata=[("authorization", f"Bearer {SECRET}")])
        assert (known.graph_id, known.status) == (made["graph_id"], "deleted")
        page = http.get("/metrics").text
    refused = httpx2.get(f"{pool.api_url}{V1}/graphs", headers={"Authorization": f"Bearer {SECRET}x"}, timeout=60)
    assert refused.status_code == 401
    for told in (pool.said(), page, refused.text, run.text, pool.get("/metrics").text):
        assert SECRET not in told


def test_dago_is_serve() -> None:
    """The original's name for the orchestrator."""
    helps = [
        subprocess.run([*words, "--help"], capture_output=True, text=True, check=True).stdout
        for words in ([str(PROGRAM.with_name("dago"))], [str(PROGRAM), "serve"])
    ]
    assert "API" in helps[0] and helps[0].split("\n\n")[1:] == helps[1].split("\n\n")[1:]
