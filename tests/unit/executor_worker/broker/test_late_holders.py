"""What the model has found: deliveries that are forgotten, and those of whoever comes late."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from executor_worker.broker import GROUP, Consumer, DocumentCommit, Settled
from executor_worker.broker.names import SETTLED_PREFIX
from tests.unit.executor_worker.broker.acts import WORK, Client, commit, push, settle, take

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
