"""The Python client against a real API, and the queue of plain items against a real pool."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import executor_worker.client as client_package
import executor_worker.client.queue as queue_module
from executor_worker.broker.names import QUEUES
from executor_worker.client import (
    AsyncDagoClient,
    AsyncWorkQueue,
    DagoClient,
    DagoError,
    DagoUnavailable,
    NotEnded,
    WorkQueue,
)
from tests.contract.conftest import WITH_TOOLS
from tests.kit import Pool, RedisServer, free_port, own_name, wait_until
from tests.kit.paths import ROOT
from tests.system.orchestrator.graphs import chain, doubling, waiting


def test_a_graph_is_run_to_its_result(api: Callable[..., Pool], tmp_path: Path) -> None:
    """Each method once; what is refused says so by its code."""
    pool = api(API_TOKENS="op:operate:ccc", **WITH_TOOLS)
    with DagoClient(pool.api_url, "ccc") as dago:
        graph_id = dago.submit_graph(doubling(), {"x": 21}, idempotency_key="k", labels={"a": "b"})
        assert dago.submit_graph(doubling(), {"x": 21}, idempotency_key="k", labels={"a": "b"}) == graph_id
        assert dago.wait(graph_id, 20)["output"] == 42
        assert dago.get_status(graph_id)["status"] == dago.get_result(graph_id)["status"] == "completed"
        assert dago.get_graph(graph_id)["submitted_by"] == "op"
        events = list(dago.events(graph_id))
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert (
            list(dago.events(graph_id, after=3)) == events[3:] and list(dago.events(graph_id, after=len(events))) == []
        )
        assert dago.list(labels={"a": "b"}, status="completed")["graphs"][0]["graph_id"] == graph_id
        assert dago.validate(doubling(), {"x": 1})["valid"]
        held = dago.submit_graph(waiting(str(tmp_path / "gate")))
        dago.hold(held)
        dago.resume(held)
        with pytest.raises(NotEnded):
            dago.wait(held, 0.2)
        for refused, code in (
            (lambda: dago.get_result(held), "NOT_COMPLETED"),
            (lambda: dago.retry(graph_id), "CONFLICT"),
            (lambda: dago.cancel(graph_id), "CANCELLATION_FAILED"),
            (lambda: dago.get_status("nobody"), "NOT_FOUND"),
            (lambda: dago.submit_graph({"nodes": {}}), "VALIDATION_ERROR"),
            (lambda: list(dago.events("nobody")), "NOT_FOUND"),
        ):
            with pytest.raises(DagoError) as raised:
                refused()
            assert raised.value.code == code
        assert dago.cancel(held)["status"] == "cancelled"
        assert dago.wait(held, 20)["status"] == "cancelled"
        assert dago.retry(held)["epoch"] == 2
        dago.cancel(held)
        dago.wait(held, 20)
        dago.delete(held)
    with DagoClient(pool.api_url, "wrong") as nobody, pytest.raises(DagoError) as raised:
        nobody.list()
    assert raised.value.code == "UNAUTHORIZED"


def test_the_same_with_an_event_loop(api: Callable[..., Pool]) -> None:
    """Many runs followed at once."""
    pool = api()

    async def follow(dago: AsyncDagoClient, number: int) -> Any:
        graph_id = await dago.submit_graph(doubling(), {"x": number})
        seqs = [event["seq"] async for event in dago.events(graph_id)]
        assert seqs == list(range(1, len(seqs) + 1))
        return (await dago.wait(graph_id, 20))["output"]

    async def main() -> None:
        async with AsyncDagoClient(pool.api_url) as dago:
            assert await asyncio.gather(*(follow(dago, number) for number in range(10))) == list(range(0, 20, 2))
            with pytest.raises(DagoError):
                await dago.get_graph("nobody")
            assert (await dago.list(limit=3))["limit"] == 3

    asyncio.run(main())


def test_a_reader_lives_through_restarts_of_the_api(api: Callable[..., Pool]) -> None:
    """Killed while it reads: every event once."""
    pool = api()
    with DagoClient(pool.api_url) as dago:
        graph_id = dago.submit_graph(chain(40))
        seqs: list[int] = []
        killed = 0
        for event in dago.events(graph_id):
            seqs.append(event["seq"])
            if len(seqs) in (10, 60):
                killed += 1  # the second one serves before the log says that it is up
                os.kill(int(pool.wait_event("service.up", service=1, count=killed)["pid"]), signal.SIGKILL)
        assert seqs == list(range(1, len(seqs) + 1))
        assert dago.wait(graph_id, 20)["status"] == "completed"


def test_a_client_lives_through_a_restart_of_everything(
    executor: Callable[..., Pool], start_server: Callable[..., RedisServer]
) -> None:
    """Pool and API are killed and started again on the same port: what was submitted goes on by itself."""
    server = start_server("redis", aof=True)
    port = str(free_port())
    settings = {"DAGO_HTTP_PORT": port, "WORKER_ID": own_name("again"), "LEASE": "2s"}
    pool = executor(server, command=("run", "--api"), **settings)
    found: list[Any] = []
    with DagoClient(f"http://127.0.0.1:{port}") as dago:
        graph_id = dago.submit_graph(chain(30))

        def read() -> None:
            found.extend(event["seq"] for event in dago.events(graph_id))

        reader = threading.Thread(target=read)
        reader.start()
        wait_until(lambda: len(found) > 10)
        pool.process.kill()
        server.restart(crash=True)
        executor(server, command=("run", "--api"), **settings)
        reader.join(60)
        assert found == list(range(1, len(found) + 1))
        assert dago.wait(graph_id, 20)["status"] == "completed"


def test_an_api_that_is_not_there_is_said() -> None:
    """After some tries."""
    with DagoClient(f"http://127.0.0.1:{free_port()}") as dago, pytest.raises(DagoUnavailable):
        dago.list()


def test_plain_items_have_results(executor: Callable[..., Pool], redis_server: RedisServer) -> None:
    """Waited for or looked at; a failure is raised, with the word for it, also of what could not be read as an item."""
    executor(redis_server, QUEUES="default,gpu", MAX_ITEM_BYTES="2000", **WITH_TOOLS)
    large = {"tool_name": "plus", "tool_params": {"a": 1}, "pad": "x" * 2000}
    with WorkQueue(f"redis://{redis_server.addr}") as queue:
        job = queue.submit({"tool_name": "plus", "tool_params": {"a": "{{n}}"}}, {"n": 5})
        assert queue.result(job, 60) == 15
        assert (queue.job(job).status, queue.job(job).output) == ("completed", 15)
        for config, code, says in (
            ({"tool_name": "complain", "tool_params": {"message": "oh no"}}, "tool_failed", "oh no"),
            ({"tool_name": "plus", "tool_params": 1}, "invalid_node", "tool_params"),
            (large, "invalid_item", "the limit is 2000"),
        ):
            bad = queue.submit(config)
            with pytest.raises(DagoError, match=says) as refused:
                queue.result(bad, 60)
            assert refused.value.code == queue.job(bad).error_code == code and queue.job(bad).status == "failed"
        assert queue.job("nobody").status == "queued"
        with pytest.raises(NotEnded):
            queue.result("nobody", 0.1)

    async def main() -> None:
        async with AsyncWorkQueue(f"redis://{redis_server.addr}") as queue:
            job = await queue.submit({"tool_name": "plus", "tool_params": {"a": 1}})
            assert await queue.result(job, 60) == 11 and (await queue.job(job)).ended
            with pytest.raises(DagoError, match="the limit is 2000"):
                await queue.result(await queue.submit(large), 60)
            with pytest.raises(NotEnded):
                await queue.result("nobody", 0.1)

    asyncio.run(main())


def test_others_failures_are_read_once_for_a_job(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call goes on where the last one ended; what was found stays known, and a state goes before it."""
    redis: Any = redis_server.client()

    def fail(graph_id: str, count: int = 1) -> None:
        event = json.dumps({"data": {"graph_id": graph_id, "error": "too large", "error_code": "invalid_item"}})
        with redis.pipeline() as many:
            for _ in range(count):
                many.xadd("dago:events:node.failed", {"data": event})
            many.execute()

    def read() -> int:
        """How many events were read since the last time."""
        seen, read_at[:] = read_at[:], []
        return sum(len(reply[0][1]) for reply in seen if reply)

    read_at: list[Any] = []
    with WorkQueue(f"redis://{redis_server.addr}") as queue:
        call = queue._link.call

        def recorded(*words: Any) -> Any:
            reply = call(*words)
            if words[0] == "XREAD":
                read_at.append(reply)
            return reply

        monkeypatch.setattr(queue._link, "call", recorded)
        first, second = (queue.submit({"tool_name": "plus"}) for _ in range(2))
        fail("another", 1200)
        assert queue.job(first).status == "queued" and read() == 1200
        assert queue.job(first).status == "queued" and read() == 0
        fail("another", 3)
        with pytest.raises(NotEnded):
            queue.result(first, 0.01)
        assert read() == 3
        assert queue.job(second).status == "queued" and read() == 1203
        fail(first)
        assert [queue.job(first).error_code for _ in range(2)] == ["invalid_item"] * 2 and read() == 1
        done = {"node_states": {"node": {"status": "completed", "output": 3}}}
        redis.set(f"dago:state:{first}", json.dumps(done))
        assert queue.job(first).output == 3 and queue.job(second).status == "queued"
        assert read() == 1 and list(queue._failures) == [second]


def test_only_so_many_places_are_kept(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job that was asked for longest ago goes first."""
    monkeypatch.setattr(queue_module, "MOST_LOOKED_FOR", 2)
    with WorkQueue(f"redis://{redis_server.addr}") as queue:
        for name in ("a", "b", "a", "c"):
            queue.job(name)
        assert list(queue._failures) == ["a", "c"]


def test_plain_items_go_to_the_queue_that_is_named(redis_server: RedisServer) -> None:
    """By the argument, else by the config, as `submit` does it; all know of the queue; what can't be one is refused."""
    config = {"tool_name": "plus", "tool_params": {"a": 1}}
    with WorkQueue(f"redis://{redis_server.addr}") as queue:
        queue.submit(config, queue="gpu")
        queue.submit({**config, "queue": "slow"})
        queue.submit({**config, "queue": "slow"}, queue="gpu")
        queue.submit(config, queue="default")
        for name in ("", "a b", "dead", "none", "a:b"):
            with pytest.raises(DagoError, match="can't be a queue") as refused:
                queue.submit(config, queue=name)
            assert refused.value.code == "INVALID_REQUEST"
    redis = redis_server.client()
    lengths = {name: redis.xlen(name) for name in ("executor.work", "executor.work:gpu", "executor.work:slow")}
    assert lengths == {"executor.work": 1, "executor.work:gpu": 2, "executor.work:slow": 1}
    assert not redis.exists("executor.work:default") and redis.smembers(QUEUES) == {b"gpu", b"slow"}


def test_what_is_public_is_listed() -> None:
    """docs/API.md names what the client package exports, with every method, and no other."""
    text = (ROOT / "docs" / "API.md").read_text()
    for name in client_package.__all__:
        assert f"`{name}" in text, name
    for kind in (DagoClient, WorkQueue):
        for method in (name for name in vars(kind) if not name.startswith("_")):
            assert f"`{method}(" in text, f"{kind.__name__}.{method}"
