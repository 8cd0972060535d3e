"""
The protocol as a state machine: everything that may happen to a few items, in any order, against the real parts.

Hypothesis chooses the steps, the oracle says after each exchange with Redis what must be true (P1, P2, P12, and what
counts as an attempt). The short run is always the same one; PROTOCOL_EXAMPLES=2000 makes up that many new orders of
steps.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from executor_worker.broker import GROUP, WORK_STREAMS, ensure_groups
from executor_worker.broker.queue import dead_letters
from executor_worker.broker.queue.consumers import delete_consumer, pending_of, release_held
from executor_worker.broker.queue.leases import renew
from tests.kit import RedisServer
from tests.system.broker.records import Record
from tests.system.broker.scene import GRAPHS, SLOTS, STORED, Scene
from tests.unit.executor_worker.broker.acts import Client
from tests.unit.executor_worker.broker.faulty_link import Fate

EXAMPLES = int(os.environ.get("PROTOCOL_EXAMPLES", "0"))

slots = st.integers(0, SLOTS - 1)
picks = st.integers(0, 7)
fates = st.lists(st.sampled_from(["fine", "request lost", "reply lost", "robbed", "written"]), max_size=3)
streams = st.sampled_from(WORK_STREAMS)
items = st.fixed_dictionaries(
    {
        "stream": streams,
        "graph": st.sampled_from(GRAPHS),
        "node": st.sampled_from("ab"),
        "named": st.booleans(),
    }
)


class Protocol(Scene):
    """What may happen."""

    @initialize(delete_settled=st.booleans(), first=st.lists(items, min_size=2, max_size=6))
    def begin(self, delete_settled: bool, first: list[dict[str, Any]]) -> None:
        self.set_up(delete_settled=delete_settled)
        for item in first:
            self.add(**item)

    # -- producers, and others who write ------------------------------------------------------------

    @rule(item=items)
    def submit(self, item: dict[str, Any]) -> None:
        """Nodes come again, under the same work id and without one."""
        self.add(**item)

    @rule(graph=st.sampled_from(STORED), cancelled=st.booleans())
    def write(self, graph: str, cancelled: bool) -> None:
        self.write_state(graph, cancelled=cancelled)

    @rule(pick=st.integers(0, 30))
    def trim(self, pick: int) -> None:
        """A producer removes an entry that is not settled yet; mostly there is no such."""
        for place in self.unsettled()[pick : pick + 1]:
            self.db.xdel(*place)
            self.oracle.trimmed(place)

    @rule(stream=streams, made=st.booleans())
    def lose_group(self, stream: str, made: bool) -> None:
        """Somebody destroys the group: its counts and its rows are gone; the keeper may be the first to notice."""
        if self.db.exists(stream):
            self.db.xgroup_destroy(stream, GROUP)
        self.oracle.group_lost(stream)
        for hand in self.hands.values():
            hand.safe &= hand.holds is None or hand.holds[0] != stream
        # Their successors' counts begin anew: what would tell them apart is gone.
        for hand in [hand for hand in self.late if hand.holds and hand.holds[0] == stream]:
            self.late.remove(hand)
            hand.close()
        if made:
            with self.oracle.acting(self.keeper):
                ensure_groups(self.keepers, delete_settled=self.oracle.delete_settled, known=True)

    @precondition(lambda self: self.letters())
    @rule(pick=picks)
    def put_back(self, pick: int) -> None:
        """An operator requeues a dead letter."""
        letter = _one(self.letters(), pick)
        old = self.oracle.records[letter.stream, letter.text("original_id")]
        entry = dead_letters.requeue(self.plain, letter, ttl_s=1000)
        assert entry is not None
        self.oracle.records[letter.stream, entry] = Record(old.node, old.work_id)
        self.oracle.requeued(old.node)

    # -- workers ------------------------------------------------------------------------------------

    @rule(slot=slots, fates=fates)
    def take(self, slot: int, fates: Sequence[Fate]) -> None:
        if hand := self.free(slot):
            hand.take(fates, self.hints(slot))

    @rule(slot=slots, fates=fates)
    def wait(self, slot: int, fates: Sequence[Fate]) -> None:
        if hand := self.free(slot):
            hand.wait(fates)

    @precondition(lambda self: self.busy())
    @rule(pick=picks, fates=fates, take_next=st.booleans())
    def settle(self, pick: int, fates: Sequence[Fate], take_next: bool) -> None:
        _one(self.busy(), pick).settle(fates, take_next=take_next)

    @precondition(lambda self: self.busy())
    @rule(pick=picks, fates=fates)
    def settle_or_leave(self, pick: int, fates: Sequence[Fate]) -> None:
        """One that was told to leave gives up where it gets no answer."""
        _one(self.busy(), pick).settle(fates, gives_up=True)

    @precondition(lambda self: self.busy())
    @rule(pick=picks, fates=fates)
    def release(self, pick: int, fates: Sequence[Fate]) -> None:
        """Drained; what its predecessor was ended for is answered, not given back."""
        hand = _one(self.busy(), pick)
        if not hand.answers_for_predecessor:
            hand.release(fates)

    @precondition(lambda self: self.busy())
    @rule(pick=picks)
    def stop(self, pick: int) -> None:
        """Stopped with its whole host: nobody renews for it until it goes on."""
        hand = _one(self.busy(), pick)
        hand.asleep, hand.safe = True, False

    @precondition(lambda self: self.asleep())
    @rule(pick=picks)
    def go_on(self, pick: int) -> None:
        _one(self.asleep(), pick).asleep = False

    @precondition(lambda self: self.hands)
    @rule(pick=picks, condemned=st.booleans())
    def crash(self, pick: int, condemned: bool) -> None:
        """Killed, perhaps for its item's sake; its successor has the same name."""
        slot = _one(sorted(self.hands), pick)
        hand = self.hands.pop(slot)
        if condemned and hand.holds:
            self.killed_for[slot] = hand.holds
        hand.close()

    @precondition(lambda self: self.busy())
    @rule(pick=picks, fates=fates)
    def replace_unseen(self, pick: int, fates: Sequence[Fate]) -> None:
        """Its host is thought dead and its name given to another, but it goes on later with what it held."""
        hand = _one(self.busy(), pick)
        if self.oracle.records[hand.holds].row is None:
            return  # its group was lost: nothing would tell its successor's delivery from its own
        hand.safe = False
        self.late.append(hand)
        slot = next(slot for slot, one in self.hands.items() if one is hand)
        del self.hands[slot]
        self.take(slot, fates)

    @precondition(lambda self: self.late)
    @rule(pick=picks, fates=fates, releases=st.booleans())
    def go_on_late(self, pick: int, fates: Sequence[Fate], releases: bool) -> None:
        hand = self.late.pop(pick % len(self.late))
        if releases and not hand.answers_for_predecessor:
            hand.release(fates)
        else:
            hand.settle(fates)
        hand.close()

    # -- the keeper ---------------------------------------------------------------------------------

    @rule(stopped=st.booleans())
    def pass_time(self, stopped: bool) -> None:
        """A lease's time passes; the keeper renews what its workers have in hand, unless it is stopped or cut off."""
        self.age()
        tickets = {hand.work.held: hand for hand in self.busy() if hand.work}
        with self.oracle.acting(self.keeper):
            # What it has read of its workers may be of a while ago: they have settled or given back some of that.
            lost = [] if stopped else renew(self.keepers, [*self.reported, *tickets])
        self.reported = list(tickets)
        for held, hand in tickets.items():
            if held in lost:
                row = self.oracle.records[held.stream, held.entry].row
                assert row != (held.consumer, held.count), "P2: what it holds is not lost"
                hand.abandon()
            else:
                hand.safe = not stopped

    @rule(limit=st.integers(1, 3))
    def sweep(self, limit: int) -> None:
        """What is found stale is nobody's who is alive and renewed."""
        with self.oracle.acting(self.keeper):
            found = self.sweeper.stale(limit)
        heard = [self.oracle.records[place] for place in self.releases.heard()]
        assert all(record.was_given_back or not record.present for record in heard), "nobody hears what was not done"
        assert not {hand.holds for hand in self.hands.values() if hand.safe}.intersection(found), "P2: never stolen"

    @rule(slot=slots, deletes=st.booleans())
    def clear_up(self, slot: int, deletes: bool) -> None:
        """What a dead worker left goes to others while its slot backs off; consumers go, but nothing with them."""
        with self.oracle.acting(self.keeper):
            if deletes:
                delete_consumer(self.keepers, f"w.{slot}")
            elif slot not in self.hands:
                for held in pending_of(self.keepers, f"w.{slot}"):
                    release_held(self.keepers, held, counted=True)


def _one(of: Sequence[Any], pick: int) -> Any:
    return of[pick % len(of)]


@pytest.mark.timeout(max(300, EXAMPLES))
def test_whatever_happens_every_item_is_settled_once(shared_server: RedisServer, db: Client) -> None:
    """P1, P2 and P12 under every order of steps and faults that was tried."""
    here = type("Protocol", (Protocol,), {"server": shared_server, "db": db})
    run_state_machine_as_test(
        cast("type[Protocol]", here),
        settings=settings(
            max_examples=EXAMPLES or 50,
            stateful_step_count=50,
            derandomize=not EXAMPLES,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
