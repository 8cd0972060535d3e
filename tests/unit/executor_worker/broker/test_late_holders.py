"""What the model has found: deliveries that are forgotten, and those of whoever comes late."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from executor_worker.broker import GROUP, Consumer, DocumentCommit, Endpoint, Settled, ensure_groups
from executor_worker.broker.names import SETTLED_PREFIX
from executor_worker.errors import StreamUnavailable
from tests.kit import RedisServer
from tests.unit.executor_worker.broker.acts import WORK, Client, commit, pending, push, settle, take
from tests.unit.executor_worker.broker.faulty_link import FaultyLink

Make = Callable[..., Consumer]


@pytest.mark.parametrize(
    "what",
    [
        commit(expected=None),
        DocumentCommit(dead={"data": b"x", "original_id": "0-1", "error": "no item"}),
        commit(state_key=None, expected=None, failure=True),
    ],
    ids=["a state that is left alone", "a dead letter without names", "no state"],
)
def test_a_late_holder_is_fenced_where_the_state_can_not_tell(db: Client, consumer: Make, what: DocumentCommit) -> None:
    """Settled by another, who has settled others since; the entry is gone and no state says by whom."""
    entry = push(db)
    slow, other = consumer("slow.1"), consumer("other.1")
    taken = take(slow)
    db.xclaim(WORK, GROUP, "other.1", 0, [entry])
    again = take(other)
    assert again.held.entry == entry
    assert settle(other, again, what) is Settled.settled
    push(db)
    settle(other, take(other), commit(expected=None))
    assert settle(slow, taken, what) is Settled.fenced
    assert settle(slow, taken, what, force=True) is Settled.fenced
    assert settle(other, again, what) is Settled.already, "its settler finds its own commit, however late"


def test_of_two_that_hold_what_was_trimmed_and_lost_one_settles(db: Client, consumer: Make) -> None:
    """Neither has a row any more; who is first commits by force, and the state need not say so."""
    entry = push(db)
    first, second = consumer("first.1"), consumer("second.1")
    held = take(first)
    db.xgroup_destroy(WORK, GROUP)
    again = take(second)
    assert again.held.entry == entry
    db.xgroup_destroy(WORK, GROUP)
    db.xdel(WORK, entry)
    assert settle(first, held) is Settled.trimmed
    assert settle(first, held, force=True) is Settled.settled
    push(db)
    settle(first, take(first), commit(expected=None))
    db.delete("dago:state:g")
    assert settle(second, again) is Settled.fenced


def test_who_settled_is_not_kept_for_ever(db: Client, consumer: Make) -> None:
    """As long as a state; and nothing is kept where only one delivery was ever made and the state tells of it."""
    push(db)
    worker = consumer("w.1")
    settle(worker, take(worker))
    assert not db.keys(SETTLED_PREFIX + "*")
    entry = push(db)
    settle(worker, take(worker), commit(expected=None, ttl_s=60))
    assert 0 < db.ttl(f"{SETTLED_PREFIX}{WORK}/{entry}") <= 60


def test_forgiven_deliveries_are_forgotten_with_their_group(db: Client, consumer: Make) -> None:
    """Its counts begin anew: what was forgiven before would be taken off runs that killed their workers."""
    entry = push(db)
    worker = consumer("w.1")
    assert worker.release(take(worker).held, counted=False)
    db.xgroup_destroy(WORK, GROUP)
    assert take(consumer("w.1")).held.attempt == 1
    again = take(consumer("w.1"))
    assert (again.held.entry, again.held.count, again.held.attempt) == (entry, 2, 2)


@pytest.mark.server
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
