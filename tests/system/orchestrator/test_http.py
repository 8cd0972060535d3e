"""The API over HTTP: who may enter, what goes wrong, the pages at its root."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme

from executor_worker.broker.names import run_key, timers_key
from tests.kit import Pool, RedisServer, alive, free_port, wait_until

Client = Callable[..., httpx2.Client]
TOKENS = "eye:read:aaa,ci:submit:bbb,op:operate:ccc"


def api_pid(pool: Pool) -> int:
    """The first API process' number."""
    pool.wait_event("service.up", service=1)
    return int(pool.seen("service.up", service=1)[-1]["pid"])


def code(answer: httpx2.Response) -> str:
    """The error's code, of an answer that has to be a problem."""
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code and body["detail"] == body["error"]["message"]
    found: str = body["error"]["code"]
    return found


def test_the_root_shows_how_it_is(api: Callable[..., Pool], client: Client) -> None:
    """Probes, metrics and descriptions, for GET and HEAD."""
    http = client(api())
    health = http.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "healthy")
    assert set(health.json()["checks"]) == {"redis", "workers", "scheduler"}
    assert (http.get("/live").text, http.get("/ready").text) == ("alive", "ready")
    assert http.get("/openapi.json").json()["openapi"] == "3.1.0"
    assert "<h1>" in http.get("/docs").text
    assert 'dago_api_requests_total{code="200",route="/health"} 1.0' in http.get("/metrics").text
    head = http.head("/health")
    assert (head.status_code, head.text) == (200, "")
    assert head.headers["content-length"] == str(len(health.content))


def test_what_is_not_there_is_a_problem(api: Callable[..., Pool], client: Client) -> None:
    """Unknown paths and methods; OPTIONS says which there are, and is answered wherever it is asked."""
    http = client(api())
    assert (http.get("/nope").status_code, code(http.get("/api/v1/nope"))) == (404, "NOT_FOUND")
    assert http.options("/api/v1/nope").status_code == 204
    socket = http.get("/api/v1/graphs/some/ws")
    assert (socket.status_code, code(socket), socket.headers["upgrade"]) == (400, "INVALID_REQUEST", "websocket")
    refused = http.put("/health")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert code(refused) == "METHOD_NOT_ALLOWED"
    refused = http.post("/api/v1/graphs/some/ws")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert http.options("/api/v1/graphs/").headers["allow"] == "GET, POST, HEAD, OPTIONS", "browsers follow nowhere"
    options = http.options("/api/v1/workers")
    assert (options.status_code, options.headers["allow"], options.content) == (204, "GET, HEAD, OPTIONS", b"")


def test_tokens_open_what_their_role_allows(api: Callable[..., Pool], client: Client) -> None:
    """Probes need none; all else does; no secret is in the log."""
    pool = api(API_TOKENS=TOKENS, LOG_LEVEL="debug")
    nobody = client(pool)
    assert [nobody.get(path).status_code for path in ("/health", "/live", "/ready")] == [200, 200, 200]
    for path in ("/metrics", "/docs", "/openapi.json", "/api/v1/workers"):
        refused = nobody.get(path)
        assert (refused.status_code, code(refused)) == (401, "UNAUTHORIZED")
        assert refused.headers["www-authenticate"] == "Bearer"
        assert client(pool, "aaa").get(path).status_code == 200
    assert client(pool, "aab").get("/api/v1/workers").status_code == 401
    pool.drain()
    assert "aaa" not in pool.said(1000)


def test_too_many_requests_are_told_to_wait(api: Callable[..., Pool], client: Client) -> None:
    """Of one token; another one's go on."""
    pool = api(API_TOKENS=TOKENS, API_RATE="2")
    eager = client(pool, "aaa")
    answers = [eager.get("/api/v1/workers") for _ in range(8)]
    refused = next(answer for answer in answers if answer.status_code != 200)
    assert (refused.status_code, code(refused)) == (429, "RATE_LIMIT_EXCEEDED")
    assert int(refused.headers["retry-after"]) >= 1
    assert client(pool, "bbb").get("/api/v1/workers").status_code == 200
    assert eager.get("/health").status_code == 200
    nobody = client(pool)
    guesses = (nobody.get("/metrics", headers={"Authorization": f"Bearer {number}"}) for number in range(100))
    assert any(guess.status_code == 429 for guess in guesses), "whoever guesses is counted by address"
    assert client(pool, "ccc").get("/api/v1/workers").status_code == 200


def test_pages_of_other_origins_may_use_it_where_they_are_named(api: Callable[..., Pool], client: Client) -> None:
    """A preflight is answered without a token; who is not named gets no word of it."""
    http = client(api(API_TOKENS=TOKENS, API_CORS="https://a.example"))
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    allowed = http.options("/api/v1/workers", headers=asked)
    assert allowed.headers["access-control-allow-origin"] == "https://a.example"
    assert "Authorization" in allowed.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in allowed.headers
    assert http.get("/nope", headers=asked).headers["access-control-allow-origin"] == "https://a.example"
    other = http.get("/health", headers={"Origin": "https://b.example"})
    assert "access-control-allow-origin" not in other.headers


def test_workers_are_shown_as_the_dashboard_reads_them(api: Callable[..., Pool], client: Client) -> None:
    """In the original's words, filled."""
    pool = api(workers=2)
    http = client(pool)
    healthy = {"healthy": "true"}  # those that are starting are not

    def shown() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = http.get("/api/v1/workers", params=healthy).json()["data"]
        return found if len(found) == 2 else []

    workers = wait_until(shown)
    name = pool.env["WORKER_ID"]
    first = workers[0]
    assert (first["id"], first["type"], first["healthStatus"]) == (f"{name}.1", "executor", "healthy")
    assert first["pendingTasks"] == 0 and "currentTask" not in first
    assert len(first["startedAt"]) == len(first["lastHeartbeat"]) == len("2027-01-31T12:00:00Z")
    wait_until(lambda: http.get("/api/v1/workers/stats").json()["data"]["executor"]["idle_workers"] == 2)
    stats = http.get("/api/v1/workers/stats").json()["data"]
    assert stats["router"] == {
        "type": "router", "total_workers": 0, "idle_workers": 0, "busy_workers": 0, "unhealthy_workers": 0,
        "total_pending_tasks": 0,
    }  # fmt: skip
    whole = http.get("/api/v1/workers/pool/executor").json()["data"]
    assert (whole["totalWorkers"], whole["idleWorkers"], whole["type"]) == (2, 2, "executor")
    assert code(http.get("/api/v1/workers/pool/planner")) == "INVALID_WORKER_TYPE"
    assert http.get(f"/api/v1/workers/{name}.2").json()["data"]["state"] == "idle"
    assert code(http.get("/api/v1/workers/nobody")) == "WORKER_NOT_FOUND"
    figures = http.get(f"/api/v1/workers/{name}.2/metrics").json()["data"]
    assert {"name": "items_done", "value": 0} in figures
    asked = http.get("/api/v1/workers", params={"status": "busy, stopped", "healthy": "true"}).json()
    assert asked["data"] == [] and asked["timestamp"].endswith("Z")
    assert len(http.get("/api/v1/workers", params={"type": "router,executor"}).json()["data"]) == 2


def test_redis_away_is_said_and_survived(api: Callable[..., Pool], client: Client, redis_server: RedisServer) -> None:
    """Never a 404: 503 with when to ask again; as soon as it is back all is well."""
    http = client(api())
    redis_server.stop()
    health = http.get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "unhealthy")
    answer = http.get("/api/v1/workers/somebody")
    assert (answer.status_code, code(answer)) == (503, "UNAVAILABLE") and answer.headers["retry-after"]
    assert http.get("/live").status_code == 200 and http.get("/ready").status_code == 503
    redis_server.start()
    wait_until(lambda: http.get("/ready").status_code == 200)


def test_a_killed_api_process_is_replaced_within_a_second(api: Callable[..., Pool]) -> None:
    """Its port stays: who asks meanwhile waits, and is answered by the next one."""
    pool = api()
    before = api_pid(pool)
    os.kill(before, signal.SIGKILL)
    assert httpx2.get(f"{pool.api_url}/live", timeout=60).text == "alive"
    pool.wait_event("service.up", count=2)
    assert api_pid(pool) != before
    assert pool.drain() == 0


def test_several_processes_share_the_port_and_what_they_count(api: Callable[..., Pool]) -> None:
    """Each answers; whichever shows the metrics shows all."""
    pool = api(API_PROCESSES="2")
    for _ in range(20):
        assert httpx2.get(f"{pool.api_url}/live", timeout=60).status_code == 200
    page = httpx2.get(f"{pool.api_url}/metrics", timeout=60).text
    assert 'dago_api_requests_total{code="200",route="/live"} 20.0' in page


def test_the_api_dies_with_its_supervisor(api: Callable[..., Pool]) -> None:
    """Nobody is left behind."""
    pool = api()
    before = api_pid(pool)
    pool.process.kill()
    wait_until(lambda: not alive(before), 3)


def test_served_alone_it_has_no_workers(executor: Callable[..., Pool], redis_server: RedisServer) -> None:
    """And stands beside a pool of the same host; without one it says that runs wait."""
    port = free_port()
    alone = executor(redis_server, command=("serve",), wait=False, WORKERS="3", WORKER_ID="", HEALTH_PORT="8081")
    alone.wait_event("pool.ready", services=1, workers=0)
    health = httpx2.get(f"{alone.api_url}/health", timeout=60).json()
    assert (health["status"], health["checks"]["redis"]) == ("degraded", "ok")
    assert "no worker" in health["checks"]["workers"]
    executor(redis_server, command=("run",))
    wait_until(lambda: httpx2.get(f"{alone.api_url}/health", timeout=60).json()["status"] == "healthy")
    assert alone.drain() == 0
    assert port


def test_what_is_left_lying_is_said(api: Callable[..., Pool], redis_server: RedisServer) -> None:
    """A timer that no keeper works off: here one of a run that only a newer program can read."""
    pool, run = api(), "01a224cc-a9d3-756e-a0e6-ffbc28845000"
    assert httpx2.get(f"{pool.api_url}/health", timeout=60).json()["checks"]["scheduler"] == "ok"
    redis = redis_server.client()
    redis.hset(run_key(run), "v", 10**6)
    redis.zadd(timers_key(0), {f"{run}\t\ttimeout\t1\t0": (time.time() - 3600) * 1000})
    health = httpx2.get(f"{pool.api_url}/health", timeout=60).json()
    assert health["status"] == "degraded" and "due for 3" in health["checks"]["scheduler"]
    redis.zrem(timers_key(0), f"{run}\t\ttimeout\t1\t0")
    assert httpx2.get(f"{pool.api_url}/health", timeout=60).json()["status"] == "healthy"


def test_a_port_in_use_is_said_with_its_setting(executor: Callable[..., Pool], redis_server: RedisServer) -> None:
    """Before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        pool = executor(redis_server, command=("run", "--api"), wait=False, DAGO_HTTP_PORT=port)
        assert pool.wait() == 78
    assert "DAGO_HTTP_PORT" in pool.said() and "Choose another port" in pool.said()


def test_it_is_not_open_to_others_by_accident(executor: Callable[..., Pool], redis_server: RedisServer) -> None:
    """Beyond loopback it takes tokens, or the word that it needs none."""
    pool = executor(redis_server, command=("run", "--api"), wait=False, DAGO_HTTP_HOST="0.0.0.0")
    assert pool.wait() == 78
    assert "API_OPEN=1" in pool.said()


def test_it_speaks_tls_and_reads_certificates_anew(api: Callable[..., Pool], tmp_path: Path) -> None:
    """At a reload; a certificate that is none is refused, and the old one stays."""
    first, second = trustme.CA(), trustme.CA()
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def issue(authority: trustme.CA) -> None:
        issued = authority.issue_cert("127.0.0.1")
        key.write_bytes(issued.private_key_pem.bytes())
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))

    def trusted(authority: trustme.CA) -> bool:
        context = httpx2.create_ssl_context()
        authority.configure_trust(context)
        try:
            return httpx2.get(f"https://127.0.0.1:{pool.api_port}/live", verify=context, timeout=60).status_code == 200
        except httpx2.TransportError:
            return False

    issue(first)
    pool = api(API_TLS_CERT=str(cert), API_TLS_KEY=str(key))
    assert trusted(first) and not trusted(second)
    cert.write_text("none")
    pool.send(signal.SIGHUP)
    assert "API_TLS_CERT" in pool.wait_event("pool.reload_refused")["reason"]
    assert trusted(first)
    issue(second)
    pool.send(signal.SIGHUP)
    pool.wait_event("pool.reloaded")
    assert trusted(second) and not trusted(first)


@pytest.mark.parametrize("path", ["/api/v1/workers/%00", "/api/v1/workers/%ff", "/" + "a" * 5000, "/api/v1/workers/é"])
def test_odd_paths_are_answered(api: Callable[..., Pool], path: str) -> None:
    """As not found, by a process that goes on."""
    pool = api()
    with socket.create_connection(("127.0.0.1", pool.api_port)) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert line.makefile("rb").readline().split()[1] in (b"404", b"400", b"414")
    assert httpx2.get(f"{pool.api_url}/live", timeout=60).status_code == 200
