"""
One worker's end of the work streams: take, settle, release.

Holds at most one entry at a time. What may have been delivered without being seen (a reply that was lost, a
predecessor that died) is looked for before anything new is taken: that is what `may_have_unseen` stands for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.replies import GroupLost
from executor_worker.broker.names import LAST_READ, MARKERS, RESETS, dead_stream
from executor_worker.broker.queue.arguments import FORGIVEN, TakeOrders
from executor_worker.broker.queue.blocking_read import BlockingRead
from executor_worker.broker.queue.commit import Commit, Settled, Terms
from executor_worker.broker.queue.consumers import release_held
from executor_worker.broker.queue.delivery import Claim, Delivery, Held, Settlement
from executor_worker.broker.queue.document import DOCUMENTS, read_document
from executor_worker.broker.queue.exchange import Exchange
from executor_worker.broker.queue.group import GroupMemory, Made, ensure_groups
from executor_worker.broker.queue.journal import JournalKeys, tell
from executor_worker.broker.queue.leases import renew
from executor_worker.broker.queue.park import park_held
from executor_worker.broker.queue.source import Sources
from executor_worker.envelopes.events import rfc3339

TAKEN_PARTS = 9  # of a script's answer that brings an entry
ONLY_DOCUMENTS = Sources(DOCUMENTS)

T = TypeVar("T")

_ENDINGS = {ending.value: ending for ending in Settled}  # an enum takes its time to look one up


class Consumer:
    """
    Args:
        name: `<WORKER_ID>.<slot>`.
        lease_s: An entry idle for so long may be taken over.
        sources: Where the kinds of work served come from.
        delete_settled: Settled entries leave the stream.
        failures: Whether failures are written to the stream of completed events too: auto, always or never.
        group_made: Told of each group that had to be made.
        memory: Of the groups; a pool's workers share one, so that who comes after a loss knows of it.

    Attributes:
        untold: Events of the item in hand that the next settle script tells watchers.
        may_have_unseen: Something may be pending for us that we have not seen; the next take looks.
    """

    def __init__(
        self,
        link: Link,
        name: str,
        *,
        lease_s: float,
        sources: Sources = ONLY_DOCUMENTS,
        delete_settled: bool = True,
        failures: str = "auto",
        group_made: Callable[[Made], None] = lambda _: None,
        memory: GroupMemory | None = None,
    ) -> None:
        self.may_have_unseen = True
        self.untold: list[bytes] = []
        self.name = name
        self.lease_s = lease_s
        self._link = link
        self._groups = sources.groups
        self._sources = sources
        self._streams = sources.streams
        self._delete_settled, self._mirror = delete_settled, "" if failures == "never" else failures
        self._terms: dict[str, Terms] = {}
        self._group_made = group_made
        self._memory = memory
        self._groups_known = False
        self._group_missing = False
        self._doubtful = False
        self._blocking = BlockingRead(link, name, sources.groups.apart(self._streams))
        self._exchange = Exchange(self)
        self._names = {stream.encode(): stream for stream in self._streams}
        self._take_script, self._confirm_script = sources.taking("take"), sources.taking("confirm")
        self._orders = TakeOrders(name, sources, lease_s=lease_s, delete_settled=delete_settled)

    @property
    def client_id(self) -> int:
        """The connection's number at the server; 0 while there is none."""
        return self._link.client_id

    def close(self) -> None:
        """Drop the connection."""
        self._blocking.close()
        self._link.close()

    # -- take ---------------------------------------------------------------------------------------

    def take(self, uncounted: tuple[str, str] | None = None, stale: Sequence[tuple[str, str]] = ()) -> Claim | None:
        """
        Take an entry if there is one: our own forgotten ones first, then *stale* ones, then new ones.

        Args:
            uncounted: Stream and entry of our own for which this delivery is not held against it.
            stale: Pairs of stream and entry that no worker seems to have in hand; checked again before they are taken.

        Raises:
            StreamUnavailable: No reply; an entry may be ours without our knowing.
            StreamRefused: The operator has to act.
        """
        words = self._orders.first(uncounted, stale, may_have_unseen=self.may_have_unseen)
        asked_at = time.monotonic()
        with self._exchange:
            claim = self._received(self._link.run(self._take_script, self._streams, words), asked_at)
            if self._group_missing:
                self._make_groups()
                claim = self._received(self._link.run(self._take_script, self._streams, words), asked_at)
        self._sure()
        return claim

    def wait(self, wake_fd: int, block_s: float) -> Claim | None:
        """
        Wait for a new entry.

        Ends early when *wake_fd* is readable (draining it is the caller's), and if not only streams bring work.

        Raises:
            StreamUnavailable: No reply, at the latest some seconds after *block_s*.
            StreamRefused: The operator has to act.
        """
        if self._group_missing:
            self._make_groups()
        polled_s = self._sources.polled_s
        if self.may_have_unseen or polled_s is not None:
            claim = self.take()
            if claim is not None:
                return claim
        asked_at = time.monotonic()
        with self._exchange:
            try:
                reply = self._blocking.read(wake_fd, block_s if polled_s is None else min(block_s, polled_s))
                if not self._blocking.connected:
                    self.may_have_unseen = True  # something may have come on it
                return self._received_many(reply, asked_at) if reply else None
            except GroupLost:
                self._make_groups()
                return None

    def reopen(self, held: Held) -> Claim | None:
        """
        Claim the delivery of a worker that is dead, to answer it in its name; without fields if it was trimmed away.

        Returns:
            None if there is nothing to be answered any more.

        Raises:
            StreamUnavailable: No reply.
        """
        words: list[Word] = [self._groups.of(held.stream), held.consumer, held.entry, held.count]
        reply = self._link.run(self._sources.taking("reopen"), [held.stream], words)
        return Claim(self._delivery(reply, time.monotonic(), held), self) if reply is not None else None

    def read_state(self, key: str) -> bytes | None:
        """
        Read a graph's document: None if there is none, empty if the key holds no string.

        Raises:
            StreamUnavailable: No reply.
        """
        return self.ask(lambda link: read_document(link, key))

    def ask(self, act: Callable[[Link], T]) -> T:
        """
        Read something over our connection.

        Raises:
            StreamUnavailable: No reply.
        """
        with self._exchange:
            return act(self._link)

    def holds(self, held: Held) -> bool:
        """
        Ask whether *held* is still pending as it was taken, and renew its lease if so.

        Raises:
            StreamUnavailable: No reply.
        """
        return not renew(self._link, [held], groups=self._groups)

    def journal(self, held: Held, *, ttl_s: float, run: tuple[str, str] | None = None) -> JournalKeys:
        """Give access to journals as *held*'s holder; *run*: see `JournalKeys`."""
        return JournalKeys(self._link, held, ttl_s=ttl_s, group=self._groups.of(held.stream), run=run)

    # -- settle and release -------------------------------------------------------------------------

    def settle(self, held: Held, commit: Commit, *, take_next: bool) -> Settlement:
        """
        Commit *held*'s result in one step if it is still ours, and take the next entry, of any kind, in the same.

        Where something may be ours without our knowing there is no next entry: take it.

        Raises:
            StreamUnavailable: No reply: settle again, it finds its own commit. Or Redis said not now (full,
                read-only): nothing was written.
            StreamRefused: The operator has to act; nothing was written.
        """
        keys, words = commit.words(held, self._terms.get(held.stream) or self._terms_of(held.stream))
        words += (len(self.untold), *self.untold)
        take_next = take_next and not self.may_have_unseen  # else `take` looks for that first
        words += (b"1", rfc3339(time.time()), *next(self._orders.turns)) if take_next else (b"",)
        asked_at = time.monotonic()
        try:
            reply = self._link.run(self._sources.settling[commit.script], keys, words)
            ending = _ENDINGS[reply[0]]
            if not ending.over:
                return Settlement(ending, reply[1] if len(reply) > 1 else None)
            self.untold.clear()
            claim = self._received(reply[2], asked_at)
        except BaseException:
            self.may_have_unseen = True
            raise
        if take_next:
            self._sure()
        return Settlement(ending, reply[3] if len(reply) > 3 else None, claim)

    def release(self, held: Held, *, counted: bool) -> bool:
        """
        Give *held* back, stale at once, so that any worker takes it over without waiting for the lease.

        Args:
            counted: This delivery is held against the entry; drains and reloads are not.

        Returns:
            Whether it was still ours.

        Raises:
            StreamUnavailable: No reply.
        """
        self._tell()
        return self.ask(lambda link: release_held(link, held, counted=counted, groups=self._groups))

    def park(
        self,
        held: Held,
        throttle_key: str,
        refused: int,
        *,
        watched: str = "",
        ends_at: float = 0.0,
        due_s: float | None = None,
    ) -> bool:
        """Give *held* back until its throttle has room for its call; see `park_held`."""
        self._tell()
        with self._exchange:
            return park_held(
                self._link,
                held,
                throttle_key,
                refused,
                watched=watched,
                ends_at=ends_at,
                group=self._groups.of(held.stream),
                due_s=due_s,
            )

    # -- inside -------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Tell what no settle script is going to tell: the item in hand is given back."""
        for event in self.untold:
            tell(self._link, event)
        self.untold.clear()

    def _terms_of(self, stream: str) -> Terms:
        """Return the terms that a stream's items are settled by."""
        return self._terms.setdefault(
            stream, Terms(self._groups.of(stream), self._delete_settled, self._mirror, dead_stream(stream))
        )

    def _sure(self) -> None:
        """Take what is pending unseen from now on as lost on its way here: it never ran and does not count."""
        if not (self._group_missing or self._groups_known):
            self._know_groups()
        self.may_have_unseen, self._doubtful = self._doubtful, False
        self._orders.own = FORGIVEN

    def _know_groups(self) -> None:
        self._groups_known = True
        if self._memory:
            self._memory.note_groups(self._streams)

    def _make_groups(self) -> None:
        known = self._groups_known or (self._memory is not None and self._memory.knows_groups(self._streams))
        made = ensure_groups(
            self._link,
            delete_settled=self._delete_settled,
            known=known,
            streams=self._streams,
            groups=self._groups,
        )
        self._group_missing = False
        for one in made:
            self._group_made(one)

    def _received(self, reply: Any, asked_at: float) -> Claim | None:
        """Read a script's answer about the next entry."""
        if reply is None:
            return None
        if len(reply) < TAKEN_PARTS:
            self._group_missing = reply[0] == b"nogroup"
            self._doubtful = reply[0] == b"unsure"
            return None
        return Claim(self._delivery(reply, asked_at), self)

    def _delivery(self, reply: Any, asked_at: float, held: Held | None = None) -> Delivery:
        stream, entry, count, uncounted, refused, words, kind, brought, told = reply
        if held is None:
            held = Held(self._names[stream], entry.decode(), count, self.name, uncounted)
        fields = dict(zip(words[::2], words[1::2], strict=True))
        return Delivery(held, fields, kind.decode(), brought, asked_at=asked_at, refused=refused, start_told=bool(told))

    def _received_many(self, reply: list[Any], asked_at: float) -> Claim | None:
        """Keep the first of what a blocking read brought; COUNT is for each stream, so there may be more."""
        if not self._groups_known:
            self._know_groups()
        (stream, [(entry, words)]), *others = reply
        for other_stream, [(other_entry, _)] in others:
            self.release(self._new(other_stream, other_entry), counted=False)
        noted = [read for read in reply if not self._delete_settled or self._names[read[0]] in self._groups.named]
        if noted:
            self._link.batch([("HSET", LAST_READ, read[0], read[1][0][0]) for read in noted])
        return self._confirmed(self._new(stream, entry), words, asked_at)

    def _confirmed(self, held: Held, words: list[bytes], asked_at: float) -> Claim | None:
        """Make sure that what came is still ours, and let its kind open it; None if another worker has it."""
        now = time.monotonic()
        late = b"1" if now > asked_at + self.lease_s else b""
        given: list[Word] = [self._groups.of(held.stream), held.consumer, held.entry, held.count, late]
        given += (rfc3339(time.time()), *words)
        where, *opened = self._link.run(self._confirm_script, [held.stream, MARKERS, RESETS], given)
        if not opened:
            self.may_have_unseen = True  # it may wait now, and another be there for us
            return None
        kind, brought, told = opened
        fields = dict(zip(words[::2], words[1::2], strict=True))
        delivery = Delivery(held, fields, kind.decode(), brought, where == b"gone", asked_at=now, start_told=bool(told))
        return Claim(delivery, self)

    def _new(self, stream: bytes, entry: bytes) -> Held:
        return Held(self._names[stream], entry.decode(), 1, self.name)
