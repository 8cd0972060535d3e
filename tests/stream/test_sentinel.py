"""Sentinel: the primary is asked for at every connection, and a failover is survived."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from executor_worker.errors import StreamUnavailable
from executor_worker.stream import Consumer, Endpoint, Link, Settled
from tests.kit import Process, RedisServer, free_port, need, wait_until
from tests.kit.counterparts import PATHS
from tests.stream.acts import push, settle, take


class Sentinels:
    """A primary, a replica and three sentinels that watch them."""

    def __init__(self, place: Callable[[str], Path], start_server: Callable[..., RedisServer]) -> None:
        need("redis")
        self.primary = start_server("redis")
        self.replica = start_server("redis", extra=["--replicaof", f"127.0.0.1 {self.primary.port}"])
        self.ports = [free_port() for _ in range(3)]
        self.processes = [self._sentinel(place("sentinel"), port) for port in self.ports]
        client = self.replica.client()
        wait_until(lambda: client.info("replication")["master_link_status"] == "up", 20, "the replica follows")
        client.close()
        for port in self.ports:
            wait_until(partial(self._complete, port), 30, "the sentinels know each other and the replica")

    @property
    def url(self) -> str:
        return "redis+sentinel://" + ",".join(f"127.0.0.1:{port}" for port in self.ports) + "/main"

    def close(self) -> None:
        for process in self.processes:
            process.kill()

    def _sentinel(self, folder: Path, port: int) -> Process:
        config = folder / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {self.primary.port} 2\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
        )
        return Process([PATHS["redis"], str(config), "--sentinel", "--dir", str(folder)])

    def _complete(self, port: int) -> bool:
        link = Link(Endpoint.parse(f"127.0.0.1:{port}"), timeout_s=2)
        try:
            flat = link.call("SENTINEL", "MASTER", "main")
        except StreamUnavailable:
            return False
        finally:
            link.close()
        facts = dict(zip(flat[::2], flat[1::2], strict=True))
        return (facts[b"num-other-sentinels"], facts[b"num-slaves"]) == (b"2", b"1")


@pytest.fixture
def sentinels(place: Callable[[str], Path], start_server: Callable[..., RedisServer]) -> Iterator[Sentinels]:
    """A watched pair."""
    made = Sentinels(place, start_server)
    yield made
    made.close()


def test_an_item_survives_the_failover_of_its_primary(sentinels: Sentinels, bell: int) -> None:
    """Taken on the old primary, settled on the new one; then the next is waited for there."""
    worker = Consumer(Link(Endpoint.parse(sentinels.url), timeout_s=2), "w.1", lease_s=30)
    old, new = sentinels.primary.client(), sentinels.replica.client()
    worker.take()
    push(old)
    taken = take(worker)
    assert old.wait(1, 5000) == 1
    sentinels.primary.kill()
    with pytest.raises(StreamUnavailable):
        settle(worker, taken)

    def settled() -> bool:
        try:
            return settle(worker, taken) is Settled.settled
        except StreamUnavailable:
            return False

    wait_until(settled, 30, "the item is settled on the new primary", every=0.1)
    assert new.role()[0] == b"master"
    assert new.get("dago:state:g") == b'{"a":1}'
    push(new)
    assert worker.wait(bell, 5) is not None
    worker.close()
    old.close()
    new.close()


def test_sentinels_that_know_nothing_or_are_away(sentinels: Sentinels) -> None:
    """One that is away is passed over; a name nobody knows is said to be unknown."""
    port = free_port()
    url = sentinels.url.replace("://", f"://127.0.0.1:{port},")
    link = Link(Endpoint.parse(url))
    assert link.call("PING") == b"PONG"
    link.close()
    with pytest.raises(StreamUnavailable, match=r"no sentinel names a primary: .*'other'"):
        Link(Endpoint.parse(sentinels.url.replace("/main", "/other"))).call("PING")
    with pytest.raises(StreamUnavailable, match="no sentinel names a primary"):
        Link(Endpoint.parse(f"redis+sentinel://127.0.0.1:{port}/main")).call("PING")
