"""`status` and `top`: the pool and the streams, as far as they can be seen."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import WITH_TOOLS
from tests.contract.wire import Wire
from tests.kit import Pool, RedisServer, own_name, wait_until
from tests.system.cli.conftest import Run

NOWHERE = {"REDIS_ADDR": "localhost:1", "HEALTH_PORT": "1"}
pytestmark = pytest.mark.xdist_group("status")

ITEM = json.dumps({"graph_id": "g", "node_id": "n", "config": {}})

SHOWN = own_name("shown")


@pytest.fixture(scope="module")
def shown() -> Iterator[Wire]:
    """A pool of two with tools, and a model that has a price."""
    with ExitStack() as started:
        folder = Path(started.enter_context(tempfile.TemporaryDirectory(prefix="ex-")))
        for name in ("redis", "pool"):
            (folder / name).mkdir()
        (folder / "prices.json").write_text('{"m": {"input": 1000, "output": 1000}}')
        server = RedisServer(folder / "redis")
        started.callback(server.close)
        settings = {"LLM_PRICES": str(folder / "prices.json"), "NODE_TIMEOUT": "600", **WITH_TOOLS}
        pool = Pool(folder / "pool", ("run",), {"WORKERS": "2", "WORKER_ID": SHOWN, **server.env, **settings})
        started.callback(pool.close)
        yield Wire(server, pool.wait_ready())


@pytest.fixture
def seen(shown: Wire) -> dict[str, str]:
    """The settings that show the pool."""
    return {**shown.server.env, "HEALTH_PORT": str(shown.pool.port), "HEALTH_HOST": "127.0.0.1"}


def test_runs_of_graphs_are_shown(run: Run, folder: Path, redis_server: RedisServer) -> None:
    """In a line for people and as data: a run whose nodes nobody takes, one that was over at once."""
    (folder / "waits.json").write_text(
        '{"nodes": {"a": {"tool_name": "calculate", "tool_params": {"expression": "1"}}}}'
    )
    (folder / "over.json").write_text('{"nodes": {"done": {"type": "end"}}}')
    for name in ("waits.json", "over.json"):
        assert run("graph", "submit", str(folder / name), **redis_server.env).status == 0
    shown = run("status", "--all", **redis_server.env).out
    line = next(line for line in shown.splitlines() if line.startswith("runs:"))
    assert "1 active, oldest" in line and line.endswith("; 1 node ready, 0 running; 1 completed in 60s")
    told = run("status", "--all", "--json", **redis_server.env).json["runs"]
    assert (told["active"], told["ready"], told["last_minute"]["completed"]) == (1, 1, 1)


def test_pool_and_streams_are_shown(run: Run, seen: dict[str, str]) -> None:
    """A headline, what was done lately, the streams, the workers; in plain columns."""
    done = run("status", **seen)
    assert (done.status, done.err) == (0, "")
    headline, lately, models, *rows = done.out.splitlines()
    assert headline.startswith(f"{SHOWN}: healthy, Redis connected, 2 slots: 2 idle")
    assert lately.endswith("0 completed, 0 failed") and models.startswith("models:    0 calls")
    assert any(row.split() == ["executor.work", "0", "0", "0", "-", "0"] for row in rows)
    assert rows[-3].split()[:3] == ["SLOT", "STATE", "FOR"]
    assert [row.split()[1] for row in rows[-2:]] == ["idle", "idle"]
    assert "POOL" not in done.out, "its own registry entries are no other pool's"


def test_status_as_json_holds_workers_and_streams(run: Run, seen: dict[str, str]) -> None:
    """The same rows as `/workers`, and both streams."""
    status = run("status", "--json", **seen).json
    assert status["health"]["worker_id"] == SHOWN
    assert [row["slot"] for row in status["workers"]] == [1, 2]
    assert {"slot", "pid", "state", "phase", "item", "since", "items_done", "restarts", "pss_bytes"} <= set(
        status["workers"][0]
    )
    assert status["streams"] == [
        {"stream": stream, "depth": 0, "pending": 0, "parked": 0, "oldest_age_seconds": 0.0, "dead": 0}
        for stream in ("executor.work", "dago:events:executor.work")
    ]
    assert status["problems"] == status["throttles"] == []
    assert (status["mode"], status["paused"]) == ("running", False)
    assert set(status["last_minute"]) == {"seconds", *status["totals"]}


def test_without_a_pool_here_streams_and_other_pools_are_shown(run: Run, seen: dict[str, str], shown: Wire) -> None:
    """From Redis alone; what is missing is said on stderr."""
    shown.redis.xadd("executor.work:dead", {"data": ITEM})
    elsewhere = seen | {"HEALTH_PORT": "1"}
    wait_until(lambda: registered(run, elsewhere) == ["idle", "idle"], 10, "the registry has them idle")
    done = run("status", **elsewhere)
    assert done.status == 0
    assert done.out.startswith("no pool on this machine")
    (pool,) = [row.split() for row in done.out.splitlines() if row.startswith(f"{SHOWN} ")]
    assert pool[1:5] == ["healthy", "2", "2", "0"]
    (stream,) = [row.split() for row in done.out.splitlines() if row.startswith("executor.work ")]
    assert stream[-1] == "1"
    assert "no pool answers at 127.0.0.1:1" in done.err
    shown.redis.delete("executor.work:dead")


def test_every_pool_of_a_redis_is_shown(run: Run, shown: Wire, tmp_path: Path) -> None:
    """Wherever it runs: what each worker is at, how far its deadline is, what was done, failed and spent lately."""
    gate, redis = tmp_path / "go", shown.server.env
    usage = {"input_tokens": 100, "output_tokens": 20}
    shown.output({"llm_config": {"prompt": json.dumps({"script": [{"reply": "x", "usage": usage}]}), "model": "m"}})
    shown.error({"tool_name": "complain", "tool_params": {"message": "no"}})
    call = {"tool_calls": [{"name": "wait_for_file", "arguments": {"path": str(gate)}}]}
    prompt = json.dumps({"script": [call, {"reply": "done"}]})
    agent = {"llm_config": {"prompt": prompt, "model": "m"}, "tools": ["wait_for_file"], "max_iterations": 7}
    shown.add({"graph_id": "long", "node_id": "n", "config": agent, "inputs": {}})
    lonely = {"id": "far.1", "status": "unhealthy", "last_heartbeat": "2026-11-21T03:00:00Z"}
    shown.redis.set("dago:workers:far.1", json.dumps(lonely), ex=30)

    def told() -> Any:
        far, own = run("status", "--all", "--json", **redis).json["pools"]
        assert (far["worker_id"], far["condition"], own["worker_id"]) == ("far", "unhealthy", SHOWN)
        busy = any(one["metadata"]["phase"] == "tool:wait_for_file" for one in own["workers"])
        return own if busy and own["last_minute"]["failed"] else None

    pool = wait_until(told, 20, "what it is at, and what it did")
    figures = pool["last_minute"]
    assert (pool["slots"], figures["completed"], figures["errors"]) == (2, 1, {"tool_failed": 1})
    assert figures["llm_calls"] >= 2 and figures["tokens"]["input"] >= 100 and figures["cost_usd"] >= 0.12
    done = run("status", "--all", **redis)
    assert done.out.startswith("2 pools, 3 slots:") and done.err == ""
    (row,) = [line.split() for line in done.out.splitlines() if "long/n" in line]
    assert row[0].startswith(f"{SHOWN}.") and row[1] == "busy" and row[3:6] == ["agent", "1/7", "tool:wait_for_file"]
    assert row[row.index("long/n") - 1] in ("9m", "10m"), "what is left of NODE_TIMEOUT"
    gate.touch()
    shown.wait_result("long")
    shown.redis.delete("dago:workers:far.1")


def test_no_pool_on_this_redis_is_said(run: Run, redis_server: RedisServer) -> None:
    """There is nothing wrong with Redis: its streams are shown."""
    done = run("status", "--all", **redis_server.env)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("no pool is registered on this Redis")
    assert "executor.work" in done.out
    gone = run("status", "--all", **NOWHERE)
    assert gone.status == 1
    assert len(gone.err.splitlines()) == 1 and "localhost:1" in gone.err


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
def answering() -> Iterator[Callable[[dict[str, Any]], int]]:
    """Start another HTTP server on what should be our port: it answers these paths, and 404 to all else."""
    with ExitStack() as started:

        def start(pages: dict[str, Any]) -> int:
            class Server(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    self.send_response(200 if self.path in pages else 404)
                    self.end_headers()
                    self.wfile.write(json.dumps(pages.get(self.path, {"error": "no such path"})).encode())

                def log_message(self, *_: object) -> None:
                    """Say nothing."""

            server = started.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Server))
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            started.callback(thread.join)
            started.callback(server.shutdown)
            return int(server.server_address[1])

        yield start


def test_an_older_pool_is_shown_by_what_it_tells(
    run: Run, redis_server: RedisServer, answering: Callable[[dict[str, Any]], int]
) -> None:
    """One that knows no `/status`, while a newer version is being put in its place."""
    counts = {"configured": 1, "starting": 0, "idle": 1, "busy": 0, "draining": 0, "dead": 0}
    health = {"status": "healthy", "worker_id": "old", "redis": "connected", "last_processed": None, "workers": counts}
    row = {"slot": 7, "pid": 4711, "state": "idle", "phase": "waiting", "item": None, "items_done": 3, "restarts": 0}
    port = answering({"/health": health, "/workers": {"workers": [row]}})
    done = run("status", **redis_server.env, HEALTH_HOST="127.0.0.1", HEALTH_PORT=str(port))
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("old: healthy, Redis connected, 1 slot: 1 idle, no item yet")
    assert done.out.splitlines()[-1].split()[:2] == ["7", "idle"]


def test_a_stranger_on_the_port_is_not_taken_for_the_pool(
    run: Run, redis_server: RedisServer, answering: Callable[[dict[str, Any]], int]
) -> None:
    """Another program's server answers there."""
    done = run("status", **redis_server.env, HEALTH_PORT=str(answering({"/health": {"hello": "world"}})))
    assert "not a pool of ours" in done.err


def test_top_shows_it_live_and_leaves_on_q(terminal: Any, seen: dict[str, str]) -> None:
    """Full screen, limits and all, the terminal as it was afterwards."""
    limits = {"ROLES": "manager", "MAX_MANAGER": "2", "MAX_TOTAL": "7", "LIMITS": "search-api=4"}
    started = terminal("top", **seen, **limits)
    started.wait_for("q leaves")
    started.wait_for(f"{SHOWN}: healthy")
    started.wait_for("executor.work")
    for limit in ("role:manager", "roles", "search-api"):
        started.wait_for(limit)
    assert f"{SHOWN}.1" not in started.shown
    started.press("q")
    assert started.wait() == 0
    everywhere = terminal("top", "--all", **seen | {"HEALTH_PORT": "1"})
    everywhere.wait_for(f"{SHOWN}.2")
    assert "no pool answers" not in everywhere.shown
    everywhere.press("q")
    assert everywhere.wait() == 0
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


def test_the_pool_that_is_named_is_shown_whatever_the_port(run: Run, shown: Wire, seen: dict[str, str]) -> None:
    """By --pool or WORKER_ID: at its own port, else by its table; the name of none fails, and another's is not it."""
    elsewhere = seen | {"HEALTH_PORT": "1"}
    for named in (run("status", "--pool", SHOWN, **elsewhere), run("status", **elsewhere, WORKER_ID=SHOWN)):
        assert (named.status, named.err) == (0, "") and named.out.startswith(f"{SHOWN}: healthy"), named
    guarded = run("status", "--pool", SHOWN, "--json", **elsewhere | {"HEALTH_HOST": "127.0.0.9"}).json
    assert guarded["health"]["worker_id"] == SHOWN and len(guarded["workers"]) == 2
    for stranger in (run("status", "--pool", "zzz", **seen), run("status", **seen, WORKER_ID="zzz")):
        assert stranger.status == 1 and "no pool called 'zzz'" in stranger.err and f"{SHOWN}:" not in stranger.out


def test_a_named_pool_on_another_host_is_shown_as_it_is_registered(run: Run, shown: Wire, seen: dict[str, str]) -> None:
    """Only that one, with its workers."""
    entry = {"id": "far.1", "type": "executor", "status": "idle", "version": "1", "metadata": {"slot": 1}}
    shown.redis.set("dago:workers:far.1", json.dumps(entry), ex=30)
    done = run("status", "--pool", "far", **seen)
    assert done.status == 0 and done.out.startswith("1 pool, 1 slot: 1 idle") and SHOWN not in done.out
    shown.redis.delete("dago:workers:far.1")


def test_health_and_ctl_answer_for_the_pool_that_is_named(run: Run, shown: Wire) -> None:
    """`health` fails for a name that nobody has, `ctl` too, and says who is here."""
    for done in (run("health", "--pool", SHOWN), run("health", WORKER_ID=SHOWN)):
        assert {line["worker_id"] for line in done.lines} == {SHOWN} and done.status == 0
    for done in (run("health", WORKER_ID="zzz"), run("ctl", "--pool", "zzz", "status")):
        assert (done.status, done.out) == (1, "") and "'zzz'" in done.err and SHOWN in done.err
    done = run("ctl", "--pool", SHOWN, "status", "--json")
    assert done.status == 0 and done.json["pid"] == shown.pool.process.pid
