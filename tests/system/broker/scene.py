"""The place where the model's steps happen: a pool of three slots, a keeper, producers, strangers, one real Redis."""

from __future__ import annotations

import json
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine

from executor_worker.broker import GROUP, STATE_PREFIX, WORK_STREAMS, Endpoint, Held, Link
from executor_worker.broker.queue import dead_letters
from executor_worker.broker.queue.dead_letters import Letter
from executor_worker.broker.queue.releases import Releases
from executor_worker.broker.queue.stale import Sweeper
from tests.kit import RedisServer
from tests.system.broker.actors import LEASE_S, Hand
from tests.system.broker.oracle import STRANGER, Oracle
from tests.system.broker.records import Actor, Place, Record
from tests.unit.executor_worker.broker.acts import Client
from tests.unit.executor_worker.broker.faulty_link import Fate, FaultyLink

SLOTS = 3
FIRST = 10**13  # ids beyond the clock's: the same in each run, and in both streams
LEASE_MS = int(LEASE_S * 1000)
GRAPHS = ("g", "é", "given", "none", "")
"""
Of `é` the state can't be guessed when its item is taken; items of `given` bring their inputs, so that the first one
makes the state; those of `none` have no state and fail; those of "" can't be decoded and die.
"""
STORED = ("g", "é")


class Scene(RuleBasedStateMachine):
    """
    Attributes:
        hands: The pool's workers, by slot.
        late: Workers that were replaced but still go on with what they hold.
        killed_for: What a slot's last worker was ended for.
        reported: What workers had in hand when the keeper looked last.
    """

    server: RedisServer
    db: Client

    def __init__(self) -> None:
        super().__init__()
        self.db.flushall()
        self.endpoint = Endpoint.parse(self.server.unix_url)
        self.hands: dict[int, Hand] = {}
        self.late: list[Hand] = []
        self.killed_for: dict[int, Place] = {}
        self.reported: list[Held] = []
        self._added = dict.fromkeys(WORK_STREAMS, FIRST)
        self._strangers = 0
        self._robbing = False

    def set_up(self, *, delete_settled: bool) -> None:
        """Store the states, which others write too."""
        self.plain = Link(self.endpoint, name="test")
        self.oracle = Oracle(self.plain, delete_settled=delete_settled)
        self.keeper = Actor("keeper", counts=True)
        self.keepers = FaultyLink(self.endpoint, "keeper", self.oracle.look, lambda _: None)
        self.releases = Releases(Link(self.endpoint, name="releases"))
        self.releases.heard()
        self.sweeper = Sweeper(self.keepers, lease_s=LEASE_S, page=3)
        for graph in STORED:
            self.oracle.foreign[graph] = 0
            self.db.set(STATE_PREFIX + graph, b'{"status":"running","foreign":0,"node_states":{%b}}' % STRANGER)

    # -- in the end ---------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Whoever held something goes on or dies, time passes, and somebody takes what is left: nothing stays."""
        try:
            if self.oracle.content:
                self._settle_all()
        finally:
            for hand in [*self.hands.values(), *self.late]:
                hand.close()
            for link in (self.plain, self.keepers, self.releases):
                link.close()

    def _settle_all(self) -> None:
        for slot, hand in [*self.hands.items(), *((1, hand) for hand in self.late)]:
            if hand.work is not None and slot % 2:
                hand.settle([])
            hand.close()
        self.age(trimmed=True)
        last = Hand(self.endpoint, "last.1", self.oracle, lambda _: None)
        self.late.append(last)
        turns = iter(range(4 * len(self.oracle.records) + 4))
        while any((not record.done and not record.excused) or record.row for record in self.oracle.records.values()):
            assert next(turns, None) is not None, f"P2: never settled: {self.oracle.records}"
            with self.oracle.acting(self.keeper):
                stale = self.sweeper.stale(5)
            last.take([], stale)
            if last.work is not None:
                last.settle([])

    # -- what the steps are made of -----------------------------------------------------------------

    def free(self, slot: int) -> Hand | None:
        """The worker of a slot, a new one where the last has gone; None while it is at work."""
        hand = self.hands.get(slot)
        if hand is None or hand.gone:
            condemned = self.killed_for.pop(slot, None)
            hand = self.hands[slot] = Hand(self.endpoint, f"w.{slot}", self.oracle, self.meanwhile, condemned)
        return hand if hand.work is None else None

    def busy(self) -> list[Hand]:
        return [hand for _, hand in sorted(self.hands.items()) if hand.work and not hand.asleep and not hand.gone]

    def asleep(self) -> list[Hand]:
        return [hand for _, hand in sorted(self.hands.items()) if hand.asleep]

    def letters(self) -> list[Letter]:
        return list(dead_letters.letters(self.plain))

    def add(self, stream: str, graph: str, node: str, named: bool) -> None:
        work_id = f"work {graph} {node}" if named and graph else None
        body: dict[str, Any] = {"graph_id": graph, "node_id": node, "config": {"tool_name": "t"}}
        body |= {"id": work_id} if work_id else {}
        body |= {"inputs": {"x": 1}} if graph == "given" else {}
        self._added[stream] += 1
        entry = f"{self._added[stream]}-0"
        self.db.xadd(stream, {"data": json.dumps(body) if graph else b"\xff"}, id=entry)
        self.oracle.records[stream, entry] = Record((graph, node) if graph else ("", ""), work_id)

    def hints(self, turn: int) -> list[Place]:
        """What a notice may say at worst: everything, also what somebody holds."""
        places = self.unsettled()
        at = turn % len(places) if places else 0
        return (places[at:] + places[:at])[:16]

    def unsettled(self) -> list[Place]:
        return [place for place, record in self.oracle.records.items() if not record.done and record.present]

    def age(self, *, trimmed: bool = False) -> None:
        """Let a lease's time pass for all that is pending; of what was *trimmed* this drops the rows."""
        for (stream, entry), record in self.oracle.records.items():
            if record.row is not None and (record.present or trimmed) and not record.given_back:
                self.db.xclaim(stream, GROUP, record.row[0], 0, [entry], idle=LEASE_MS + 1, justid=True)

    def meanwhile(self, fate: Fate) -> None:
        """What happens before an exchange of somebody else's."""
        if fate == "written":
            self.write_state("g", cancelled=False)
        elif fate == "robbed" and not self._robbing:
            self._robbing = True
            self._rob()
            self._robbing = False

    def _rob(self) -> None:
        """The keeper is silent for a lease's time, and a worker of another host takes something over and settles it."""
        for hand in self.hands.values():
            hand.safe = False
        self.age()
        self._strangers += 1
        stranger = Hand(self.endpoint, f"s.{self._strangers}", self.oracle, self.meanwhile)
        stranger.take([], self.hints(self._strangers))
        if stranger.work is not None:
            stranger.settle([])
        stranger.close()

    def write_state(self, graph: str, *, cancelled: bool) -> None:
        """Somebody else changes the document, as one should: nothing that he has not read."""
        before = self.oracle.foreign[graph]
        self.oracle.foreign[graph] = before + 1
        raw = self.db.get(STATE_PREFIX + graph)
        raw = raw.replace(b'"foreign":%d' % before, b'"foreign":%d' % (before + 1))
        now, then = b'{"status":"running"', b'{"status":"cancelled"'
        raw = raw.replace(now, then, 1) if cancelled else raw.replace(then, now, 1)
        self.db.set(STATE_PREFIX + graph, raw)
