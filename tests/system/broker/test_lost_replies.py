"""Entries that were read while their reply was lost."""

from __future__ import annotations

import pytest

from executor_worker.broker import GROUP, Consumer, Endpoint, Settled, ensure_groups
from executor_worker.errors import StreamUnavailable
from tests.kit import RedisServer
from tests.unit.executor_worker.broker.acts import WORK, Client, pending, push, settle, take
from tests.unit.executor_worker.broker.faulty_link import FaultyLink


def test_a_settled_entry_is_not_read_again_where_the_reply_to_its_read_was_lost(
    db: Client, shared_server: RedisServer, event_fd: int
) -> None:
    """DELETE_SETTLED=0: the last known id is also that of what was read unseen, found pending and settled."""
    link = FaultyLink(Endpoint.parse(shared_server.unix_url), "w.1", lambda: None, lambda _: None)
    worker = Consumer(link, "w.1", lease_s=30, delete_settled=False)
    assert worker.take() is None
    entry = push(db)
    link.fates = ["reply lost"]
    with pytest.raises(StreamUnavailable):
        worker.wait(event_fd, 5)
    assert list(pending(db)) == [entry]
    assert settle(worker, take(worker)) is Settled.settled
    db.xgroup_destroy(WORK, GROUP)
    ensure_groups(link, delete_settled=False)
    assert worker.take() is None
    worker.close()
