"""The kit itself: what it promises to tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.kit import (
    EverythingServer,
    ModelServer,
    Pool,
    Process,
    Proxy,
    RedisServer,
    alive,
    free_port,
    port_answers,
    state_of,
    wait_until,
    waiting,
)

NEVER = Retry(NoBackoff(), 0)


def test_server_answers_on_port_and_socket(server: RedisServer) -> None:
    """Redis and Valkey answer on both, and are new enough."""
    host, port = server.addr.split(":")
    assert redis.Redis(host, int(port)).ping()
    assert int(server.client().info()["redis_version"].split(".")[0]) >= 7


def test_killed_server_with_aof_keeps_its_data(start_server: Callable[..., RedisServer]) -> None:
    """With AOF a crash loses nothing that was acknowledged."""
    server = start_server("redis", aof=True)
    server.client().set("a", "1")
    server.restart(crash=True)
    assert server.client().get("a") == b"1"


def test_password_is_asked_for(start_server: Callable[..., RedisServer]) -> None:
    """A client without the password is refused."""
    server = start_server("redis", password="pässword")
    assert server.client().ping()
    with pytest.raises(redis.AuthenticationError):
        server.client(password=None).ping()


def test_tls_is_trusted_by_its_authority(start_server: Callable[..., RedisServer]) -> None:
    """TLS works with the authority's file and with nothing else."""
    server = start_server("redis", tls=True)
    assert redis.Redis.from_url(server.tls_url, ssl_ca_certs=str(server.ca_file)).ping()
    with pytest.raises(redis.ConnectionError):
        redis.Redis.from_url(server.tls_url).ping()


def test_maxmemory_refuses_writes(start_server: Callable[..., RedisServer]) -> None:
    """A full server says so, and evicts nothing."""
    server = start_server("redis", maxmemory="2mb")
    block = b"x" * 3_000_000
    with pytest.raises(redis.ResponseError, match="maxmemory"):
        server.client().mset({"a": block, "b": block, "c": block})


def test_frozen_server_accepts_and_says_nothing(redis_server: RedisServer) -> None:
    """A hung primary looks like that."""
    redis_server.freeze()
    with pytest.raises(redis.TimeoutError):
        redis_server.client(socket_timeout=0.2).ping()
    redis_server.thaw()
    assert redis_server.client().ping()


def test_proxy_forwards_loses_and_cuts(redis_server: RedisServer, proxy: Callable[..., Proxy]) -> None:
    """A reply is lost after the command was carried out; a cut is a connection error."""
    line = proxy(redis_server.port)
    client = redis.Redis(port=line.port, socket_timeout=0.3, retry=NEVER)
    assert client.ping()
    line.lose_replies = True
    with pytest.raises(redis.TimeoutError):
        client.incr("n")
    assert redis_server.client().get("n") == b"1"
    line.lose_replies = False
    assert client.ping()
    before = line.accepted
    line.cut()
    assert line.connections() == 0
    assert client.ping(), "the client connects anew"
    assert line.accepted == before + 1


def test_proxy_hook_cuts_at_one_command(redis_server: RedisServer, proxy: Callable[..., Proxy]) -> None:
    """A hook sees each chunk and may cut before it is forwarded."""
    line = proxy(redis_server.port)
    client = redis.Redis(port=line.port, socket_timeout=2, retry=NEVER)
    assert client.ping()
    line.on_request = lambda chunk: line.cut() if b"INCR" in chunk else None
    with pytest.raises(redis.ConnectionError):
        client.incr("n")
    assert redis_server.client().get("n") is None


def test_process_dies_with_its_parent() -> None:
    """Whatever way a test run ends, what it started goes with it."""
    code = "from tests.kit import Process; import os; print(Process(['sleep', '60']).pid, flush=True); os.abort()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    pid = int(done.stdout)
    wait_until(lambda: not alive(pid), 5, "the child is gone")


def test_what_a_process_leaves_behind_is_found() -> None:
    """A daemonised grandchild is found by its mark, named and ended."""
    parent = Process(["sh", "-c", "setsid sleep 60 & exit 0"])
    assert parent.wait() == 0
    with pytest.raises(AssertionError, match="sleep 60"):
        parent.assert_nobody_left(seconds=0.1)
    parent.assert_nobody_left()


def test_stopped_process_is_ended() -> None:
    """A stopped process is no reason to hang."""
    stopped = Process(["sleep", "60"])
    stopped.send(signal.SIGSTOP)
    wait_until(lambda: state_of(stopped.pid) == "T", 5, "it is stopped")
    stopped.kill()
    assert not alive(stopped.pid)


def test_model_server_says_what_it_was_told(model_server: ModelServer) -> None:
    """Text, errors and the journal, over the real wire."""
    from anthropic import Anthropic, RateLimitError

    model_server.answer("ping", "pong")
    client = Anthropic(base_url=model_server.url, api_key="k", max_retries=0)

    def ask() -> str:
        said = client.messages.create(
            model="claude-sonnet-5-5", max_tokens=9, messages=[{"role": "user", "content": "ping"}]
        )
        return "".join(block.text for block in said.content if block.type == "text")

    assert ask() == "pong"
    model_server.fail_next(429, "rate_limit_error")
    with pytest.raises(RateLimitError):
        ask()
    assert [entry["response"]["status"] for entry in model_server.requests()] == [200, 429]
    client.close()


def test_everything_server_restarts_on_its_port(everything_http: EverythingServer) -> None:
    """The same URL leads to a new server without the old sessions."""
    before = everything_http.process.pid
    everything_http.restart()
    assert everything_http.process.pid != before


@pytest.mark.parametrize(("had_s", "asked"), [(0.0, 2), (0.125, 3), (1000.0, 6)])
def test_what_others_had_of_the_machine_is_not_counted(
    monkeypatch: pytest.MonkeyPatch, had_s: float, asked: int
) -> None:
    """A wait ends when its own time is up, and not much later however busy the machine is."""
    times: list[float] = []

    class Time:
        """Goes on by a quarter of a second with each question."""

        @staticmethod
        def monotonic() -> float:
            return len(times) / 4

        @staticmethod
        def sleep(seconds: float) -> None:
            """Take no time."""

    monkeypatch.setattr(waiting, "time", Time)
    monkeypatch.setattr(waiting, "waited_for_others", lambda: had_s * len(times))
    monkeypatch.setattr(waiting, "MOST_LATE_S", 1.0)
    with pytest.raises(AssertionError, match=r"not within 0\.2 s: it comes"):
        wait_until(lambda: times.append(0.0), 0.2, "it comes")
    assert len(times) == asked


def test_waits_for_cores_disk_and_memory_are_read(tmp_path: Path) -> None:
    """As the kernel counts them; where it does not, what the cores were not idle."""
    cores = os.cpu_count() or 1
    (tmp_path / "stat").write_text(f"cpu  1 2 3 {os.sysconf('SC_CLK_TCK') * cores * 5} 4 0 0 0 0 0\n")
    assert time.monotonic() - waiting.waited_for_others(tmp_path) == pytest.approx(5, abs=1)
    (tmp_path / "pressure").mkdir()
    for of, micros in (("cpu", 2_500_000), ("io", 1_000_000), ("memory", 500_000)):
        lines = f"some avg10=1.00 avg60=1.00 avg300=1.00 total={micros}\nfull avg10=0 avg60=0 avg300=0 total=7\n"
        (tmp_path / "pressure" / of).write_text(lines)
    assert waiting.waited_for_others(tmp_path) == 4.0


def test_last_words_are_read_when_a_pool_has_ended(redis_server: RedisServer, executor: Callable[..., Pool]) -> None:
    """However late their reader has its turn."""
    pool = executor(redis_server, workers=1)
    with pool._changed:  # its reader stands still
        pool.send(signal.SIGTERM)
        pool.process.wait()
    assert pool.wait() == 0 and pool.seen("pool.stopped")


def test_free_port_is_free() -> None:
    """No server listens there."""
    port = free_port()
    assert not port_answers(port)


def test_groups_stay_with_one_process(request: pytest.FixtureRequest) -> None:
    """In tests side by side an item's id names its group: by that they are handed out."""
    side_by_side = bool(getattr(request.config.option, "loadgroup", False))
    grouped = [item for item in request.session.items if item.get_closest_marker("xdist_group")]
    assert all(("@" in item.nodeid.rpartition("]")[2]) == side_by_side for item in grouped)
