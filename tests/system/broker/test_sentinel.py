"""Sentinel: the primary is asked for at every connection, and a failover is survived."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from executor_worker.broker import Consumer, Endpoint, Link, Settled
from executor_worker.errors import StreamUnavailable
from tests.kit import RedisServer, free_port, wait_until
from tests.kit.sentinels import Sentinels
from tests.unit.executor_worker.broker.acts import push, settle, take


@pytest.fixture
def sentinels(place: Callable[[str], Path], start_server: Callable[..., RedisServer]) -> Iterator[Sentinels]:
    """A watched pair."""
    made = Sentinels(place, start_server)
    yield made
    made.close()


def test_an_item_survives_the_failover_of_its_primary(sentinels: Sentinels, event_fd: int) -> None:
    """Taken on the old primary, settled on the new one; then the next is waited for there."""
    worker = Consumer(Link(Endpoint.parse(sentinels.url), timeout_s=2), "w.1", lease_s=30)
    old, new = sentinels.primary.client(), sentinels.replica.client()
    worker.take()
    push(old)
    taken = take(worker)
    assert old.wait(1, 20_000) == 1
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
    assert worker.wait(event_fd, 20) is not None
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
