"""`status` and `top`: the pool and the streams, as far as they can be seen."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.kit import Pool, RedisServer, wait_until

NOWHERE = {"REDIS_ADDR": "localhost:1", "HEALTH_PORT": "1"}
ITEM = json.dumps({"graph_id": "g", "node_id": "n", "config": {}})


@pytest.fixture
def seen(executor: Callable[..., Pool], redis_server: RedisServer) -> dict[str, str]:
    """A pool of two; the settings that show it."""
    pool = executor(redis_server, workers=2, WORKER_ID="shown")
    return {**redis_server.env, "HEALTH_PORT": str(pool.port), "HEALTH_HOST": "127.0.0.1"}


def test_pool_and_streams_are_shown(run: Run, seen: dict[str, str]) -> None:
    """A headline, the workers, the streams; in plain columns."""
    done = run("status", **seen)
    assert (done.status, done.err) == (0, "")
    headline, _, workers, *rows = done.out.splitlines()
    assert headline.startswith("shown: healthy, Redis connected, 2 slots: 2 idle")
    assert workers.split()[:3] == ["SLOT", "PID", "STATE"]
    assert [row.split()[2] for row in rows[:2]] == ["idle", "idle"]
    assert any(row.startswith("executor.work ") for row in rows)
    assert "POOL" not in done.out, "its own registry entries are no other pool's"


def test_status_as_json_holds_workers_and_streams(run: Run, seen: dict[str, str]) -> None:
    """The same rows as `/workers`, and both streams."""
    status = run("status", "--json", **seen).json
    assert status["health"]["worker_id"] == "shown"
    assert [row["slot"] for row in status["workers"]] == [1, 2]
    assert {"slot", "pid", "state", "phase", "item", "since", "items_done", "restarts", "pss_bytes"} <= set(
        status["workers"][0]
    )
    assert status["streams"] == [
        {"stream": stream, "depth": 0, "pending": 0, "oldest_age_seconds": 0.0, "dead": 0}
        for stream in ("executor.work", "dago:events:executor.work")
    ]
    assert status["problems"] == []


def test_without_a_pool_here_streams_and_other_pools_are_shown(
    run: Run, seen: dict[str, str], redis_server: RedisServer
) -> None:
    """From Redis alone; what is missing is said on stderr."""
    redis_server.client().xadd("executor.work:dead", {"data": ITEM})
    elsewhere = seen | {"HEALTH_PORT": "1"}
    wait_until(lambda: registered(run, elsewhere) == ["idle", "idle"], 10, "the registry has them idle")
    done = run("status", **elsewhere)
    assert done.status == 0
    assert done.out.startswith("no pool on this machine")
    (pool,) = [row.split() for row in done.out.splitlines() if row.startswith("shown ")]
    assert pool[1:4] == ["2", "2", "0"]
    (stream,) = [row.split() for row in done.out.splitlines() if row.startswith("executor.work ")]
    assert stream[-1] == "1"
    assert "no pool answers at 127.0.0.1:1" in done.err


def test_without_redis_the_pool_is_shown(run: Run, seen: dict[str, str]) -> None:
    """It answers whatever Redis does."""
    done = run("status", "--json", **seen | {"REDIS_ADDR": "localhost:1"})
    assert done.status == 0
    assert len(done.json["workers"]) == 2
    assert done.json["streams"] is None
    assert "localhost:1" in done.json["problems"][0]


def test_with_neither_it_fails_and_says_why(run: Run) -> None:
    """Status 1, a sentence for each."""
    done = run("status", **NOWHERE)
    assert done.status == 1
    assert len(done.err.splitlines()) == 2
    assert run("status", "--json", **NOWHERE).json["workers"] == []


def test_a_refused_password_is_shown_and_ends_with_78(run: Run, start_server: Callable[..., RedisServer]) -> None:
    """The variable is named, the password is not."""
    server = start_server("redis", password="right-password")
    done = run("status", REDIS_ADDR=server.addr, REDIS_PASS="wrong-password", HEALTH_PORT="1")
    assert done.status == 78
    assert "REDIS_PASS: " in done.err
    assert "WRONGPASS" in done.err
    assert "wrong-password" not in done.err + done.out


def test_a_password_nobody_asked_for_is_named(run: Run, redis_server: RedisServer) -> None:
    """The advice is to leave it out, not to try another one."""
    done = run("status", **redis_server.env | {"REDIS_PASS": "not-needed", "HEALTH_PORT": "1"})
    assert done.status == 78
    assert "leave REDIS_PASS out" in done.err
    assert "?." not in done.err


def registered(run: Run, settings: dict[str, str]) -> list[str]:
    return [one["status"] for one in run("status", "--json", **settings).json["others"]]


@pytest.fixture
def stranger() -> Iterator[int]:
    """Another program's HTTP server on what should be our port."""

    class Hello(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"hello": "world"}')

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_stranger_on_the_port_is_not_taken_for_the_pool(run: Run, redis_server: RedisServer, stranger: int) -> None:
    """Another program's server answers there."""
    done = run("status", **redis_server.env, HEALTH_PORT=str(stranger))
    assert "not a pool of ours" in done.err


def test_top_shows_it_live_and_leaves_on_q(terminal: Any, seen: dict[str, str]) -> None:
    """Full screen, the terminal as it was afterwards."""
    started = terminal("top", **seen)
    started.wait_for("q leaves")
    assert "shown: healthy" in started.shown
    assert "executor.work" in started.shown
    started.press("q")
    assert started.wait() == 0
    assert "\x1b[?1049l" in started.shown, "it left the second screen"


def test_top_goes_on_without_pool_and_redis(terminal: Any) -> None:
    """And leaves on Ctrl-C."""
    started = terminal("top", **NOWHERE)
    started.wait_for("no pool answers")
    started.press("\x03")
    assert started.wait() == 130


def test_top_needs_a_terminal(run: Run) -> None:
    """Elsewhere `status` is meant."""
    done = run("top")
    assert done.status == 2
    assert "status --json" in done.err


def test_a_token_is_brought_along(run: Run, executor: Callable[..., Pool], redis_server: RedisServer) -> None:
    """`status` takes HEALTH_TOKEN from its file; without it, the pool's health is all it sees of it."""
    pool = executor(redis_server, workers=1, HEALTH_TOKEN="some-health-token")
    refused = pool.get("/workers")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert pool.get("/metrics").status_code == 401
    assert pool.ready()
    (pool.folder / "token").write_text("some-health-token\n")
    settings = {**redis_server.env, "HEALTH_PORT": str(pool.port), "HEALTH_HOST": "127.0.0.1"}
    told = run("status", "--json", HEALTH_TOKEN_FILE=str(pool.folder / "token"), **settings).json
    assert ([row["slot"] for row in told["workers"]], told["problems"]) == ([1], [])
    blind = run("status", **settings, HEALTH_TOKEN="another-token")
    assert blind.status == 0 and "healthy" in blind.out
    assert "only to who knows its HEALTH_TOKEN" in blind.err
    assert "another-token" not in blind.err
