"""
One worker's end of the work streams: take, settle, release.

Holds at most one entry at a time. What may have been delivered without being seen (a reply that was lost, a
predecessor that died) is looked for before anything new is taken: that is what `unsure` stands for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from executor_worker.broker.connection.blocking import BlockingRead
from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.replies import GroupLost
from executor_worker.broker.connection.script import Script, script
from executor_worker.broker.graphs.requests import Steps, drive
from executor_worker.broker.graphs.scripts import settle_script
from executor_worker.broker.graphs.settling import NodeCommit, RunSettled, node_words
from executor_worker.broker.graphs.taken import RUN_ITEM, taken_of
from executor_worker.broker.names import GROUP, LAST_READ, MARKERS, RESETS, STATE_PREFIX, WORK_STREAMS
from executor_worker.broker.queue.arguments import TakeOrders, settle_words
from executor_worker.broker.queue.consumers import release_held
from executor_worker.broker.queue.delivery import Commit, Held, Settled, Taken
from executor_worker.broker.queue.group import Made, ensure_groups
from executor_worker.broker.queue.journal import JournalKeys
from executor_worker.broker.queue.leases import renew
from executor_worker.errors import StreamError

T = TypeVar("T")

TAKEN_PARTS = 8  # of a script's answer that brings an entry; one of a run has one more
RUNS = ("runs/model", "runs/advance", "runs/write", "runs/start")
GRAPH_ID = re.compile(rb'"graph_id"[ \t\r\n]*:[ \t\r\n]*"([^"\\]{1,512})"')


def scripts() -> tuple[Script, Script, Script, Script]:
    """Those to take, confirm, settle and park; read from their files once, best before the workers are forked."""
    return (
        script("take", "constants", "throttle", *RUNS, "reading"),
        script("confirm", "constants", "standing", "throttle", *RUNS),
        script("settle", "constants", "standing", "throttle", *RUNS, "reading", flags=""),
        script("park", "constants", "standing", "throttle"),
    )


class Consumer:
    """
    Args:
        name: `<WORKER_ID>.<slot>`.
        lease_s: An entry idle for so long may be taken over.
        delete_settled: Settled entries leave the stream.
        failures: Whether failures are written to the stream of completed events too: auto, always or never.
        group_made: Told of each group that had to be made.

    Attributes:
        unsure: Something may be pending for us that we have not seen; the next take looks.
    """

    def __init__(
        self,
        link: Link,
        name: str,
        *,
        lease_s: float,
        delete_settled: bool = True,
        failures: str = "auto",
        streams: Sequence[str] = WORK_STREAMS,
        group: str = GROUP,
        group_made: Callable[[Made], None] = lambda _: None,
    ) -> None:
        self.may_have_unseen = True
        self.name = name
        self._link = link
        self._group = group
        self._streams = tuple(streams)
        self._delete_settled = delete_settled
        self._mirror = "" if failures == "never" else failures
        self._group_made = group_made
        self._lease_s = lease_s
        self._groups_known = False
        self._group_missing = False
        self._doubtful = False
        self._blocking = BlockingRead(link, group, name, streams)
        self._names = {stream.encode(): stream for stream in self._streams}
        self._take_script, self._confirm_script, self._settle_script, self._park_script = scripts()
        self._settle_run_script = settle_script()
        self._orders = TakeOrders(name, self._streams, group=group, lease_s=lease_s, delete_settled=delete_settled)

    @property
    def client_id(self) -> int:
        """The connection's number at the server; 0 while there is none."""
        return self._link.client_id

    def close(self) -> None:
        """Drop the connection."""
        self._link.close()

    # -- take ---------------------------------------------------------------------------------------

    def take(self, uncounted: tuple[str, str] | None = None, stale: Sequence[tuple[str, str]] = ()) -> Taken | None:
        """
        Take an entry if there is one: our own forgotten ones first, then *stale* ones, then new ones.

        Args:
            uncounted: Stream and entry of our own for which this delivery is not held against it.
            stale: Pairs of stream and entry that nobody seems to work on; checked again before they are taken.

        Raises:
            StreamUnavailable: No reply; an entry may be ours without our knowing.
            StreamRefused: The operator has to act.
        """
        words = [
            *self._orders.next(uncounted, may_have_unseen=self.may_have_unseen),
            *(word for pair in stale for word in pair),
        ]
        asked_at = time.monotonic()
        try:
            taken = self._received(self._link.run(self._take_script, self._streams, words), asked_at)
            if self._group_missing:
                self._make_groups()
                taken = self._received(self._link.run(self._take_script, self._streams, words), asked_at)
        except BaseException:
            self.may_have_unseen = True
            raise
        self._sure()
        return taken

    def wait(self, wake_fd: int, block_s: float) -> Taken | None:
        """
        Wait for a new entry.

        Ends early when *wake_fd* is readable; draining it is the caller's.

        Raises:
            StreamUnavailable: No reply, at the latest some seconds after *block_s*.
            StreamRefused: The operator has to act.
        """
        if self._group_missing:
            self._make_groups()
        if self.may_have_unseen:
            taken = self.take()
            if taken is not None:
                return taken
        asked_at = time.monotonic()
        try:
            reply = self._blocking.read(wake_fd, block_s)
            if not self._link.connected:
                self.may_have_unseen = True  # something may have come on it
            return self._received_many(reply, asked_at) if reply else None
        except GroupLost:
            self._make_groups()
            return None
        except BaseException:
            self.may_have_unseen = True
            raise

    def read_state(self, key: str) -> bytes | None:
        """
        Read a graph's document: None where there is none, empty where the key holds no string.

        Raises:
            StreamUnavailable: No reply.
        """
        try:
            return _document(self._link.batch([("GET", key)])[0])
        except BaseException:
            self.may_have_unseen = True
            raise

    def read_entry(self, held: Held) -> Taken:
        """
        Read *held*'s entry again; without fields where it was trimmed away.

        Raises:
            StreamUnavailable: No reply.
        """
        found = self._link.call("XRANGE", held.stream, held.entry, held.entry)
        words = found[0][1] if found else []
        fields = dict(zip(words[::2], words[1::2], strict=True))
        return self._described(Taken(held, fields.get(b"data"), fields))

    def holds(self, held: Held) -> bool:
        """
        Ask whether *held* is still pending as it was taken, and renew its lease if so.

        Raises:
            StreamUnavailable: No reply.
        """
        return not renew(self._link, [held], group=self._group)

    def journal(self, held: Held, *, ttl_s: float, run: tuple[str, str] | None = None) -> JournalKeys:
        """Give access to journals as *held*'s holder; *run*: see `JournalKeys`."""
        return JournalKeys(self._link, held, ttl_s=ttl_s, group=self._group, run=run)

    # -- settle and release -------------------------------------------------------------------------

    def settle(
        self, held: Held, commit: Commit, *, take_next: bool, force: bool = False
    ) -> tuple[Settled, bytes | None, Taken | None]:
        """
        Commit *held*'s result in one step if it is still ours, and take the next entry in the same.

        Args:
            force: Commit also where the pending row is lost, after `Settled.trimmed`.

        Returns:
            How it ended, the state as it is now (with conflict and trimmed), the next entry.

        Raises:
            StreamUnavailable: No reply: settle again, it finds its own commit. Or Redis said not now (full,
                read-only): nothing was written.
            StreamRefused: The operator has to act; nothing was written.
        """
        keys, words = settle_words(
            held, commit, group=self._group, delete_settled=self._delete_settled, mirror=self._mirror, force=force
        )
        words += (b"1", *self._orders.next(may_have_unseen=self.may_have_unseen)) if take_next else (b"",)
        asked_at = time.monotonic()
        try:
            reply = self._link.run(self._settle_script, keys, words)
            ending = Settled(reply[0])
            if ending is not Settled.settled and ending is not Settled.already:
                return ending, reply[1] if len(reply) > 1 else None, None
            taken = self._received(reply[2], asked_at)
        except BaseException:
            self.may_have_unseen = True
            raise
        if take_next:
            self._sure()
        return ending, None, taken

    def settle_run(
        self, held: Held, commit: NodeCommit, *, take_next: bool
    ) -> tuple[RunSettled, list[bytes], Taken | None]:
        """
        Commit the end of a run's node in one step if it still counts, and take the next entry in the same.

        Returns:
            How it ended, what has to be decided first (with judge), the next entry.

        Raises:
            StreamUnavailable: No reply: settle again, it finds its own commit. Or Redis said not now.
            StreamRefused: The operator has to act; nothing was written.
        """
        keys, words = node_words(held, commit, group=self._group, mirror=self._mirror)
        words += (b"1", *self._orders.next(may_have_unseen=self.may_have_unseen)) if take_next else (b"",)
        asked_at = time.monotonic()
        try:
            reply = self._link.run(self._settle_run_script, keys, words)
            ending = RunSettled(reply[0])
            if ending in (RunSettled.fenced, RunSettled.judge):
                return ending, reply[1] if len(reply) > 1 else [], None
            taken = self._received(reply[2], asked_at)
        except BaseException:
            self.may_have_unseen = True
            raise
        if take_next:
            self._sure()
        return ending, [], taken

    def ask(self, steps: Steps[T]) -> T:
        """
        Do what a run needs on the same line.

        Raises:
            StreamUnavailable: No reply.
        """
        try:
            return drive(self._link, steps)
        except StreamError:
            self.may_have_unseen = True
            raise

    def release(self, held: Held, *, counted: bool) -> bool:
        """
        Give *held* back, stale at once, so that anybody takes it over without waiting for the lease.

        Args:
            counted: This delivery is held against the entry; drains and reloads are not.

        Returns:
            Whether it was still ours.

        Raises:
            StreamUnavailable: No reply.
        """
        try:
            return release_held(self._link, held, counted=counted, group=self._group)
        except BaseException:
            self.may_have_unseen = True
            raise

    def park(self, held: Held, throttle: str, refused: int, *, state_key: str = "", ends_at: float = 0.0) -> bool:
        """
        Give *held* back until *throttle* has room for its call, uncounted; nobody takes it before.

        Args:
            refused: How often its call was refused so far; `Taken.refused` brings it back.
            state_key: Its graph's document, for who looks whether it is still wanted.
            ends_at: When it is too late for it, in seconds since the epoch; 0: never.

        Returns:
            Whether it was still ours.

        Raises:
            StreamUnavailable: No reply.
        """
        keys: list[Word] = [held.stream, MARKERS, RESETS, throttle]
        words: list[Word] = [self._group, held.consumer, held.entry, held.count, refused]
        words += (int(ends_at * 1000), state_key)
        try:
            return bool(self._link.run(self._park_script, keys, words))
        except BaseException:
            self.may_have_unseen = True
            raise

    # -- inside -------------------------------------------------------------------------------------

    def _sure(self) -> None:
        """From now on what is pending unseen was lost on its way here: it never ran and does not count."""
        if not self._group_missing:
            self._groups_known = True
        self.may_have_unseen, self._doubtful = self._doubtful, False
        self._orders.forgive()

    def _make_groups(self) -> None:
        made = ensure_groups(
            self._link,
            delete_settled=self._delete_settled,
            known=self._groups_known,
            streams=self._streams,
            group=self._group,
        )
        self._group_missing = False
        for one in made:
            self._group_made(one)

    def _received(self, reply: Any, asked_at: float) -> Taken | None:
        """Read a script's answer about the next entry."""
        if reply is None:
            return None
        if len(reply) < TAKEN_PARTS:
            self._group_missing = reply[0] == b"nogroup"
            self._doubtful = reply[0] == b"unsure"
            return None
        stream, entry, count, uncounted, refused, words, state_key, state, *of_run = reply
        held = Held(self._names[stream], entry.decode(), count, self.name, uncounted)
        fields = dict(zip(words[::2], words[1::2], strict=True))
        guessed = state_key.decode("utf-8", "replace") or None
        run = taken_of(of_run[0]) if of_run else None
        return Taken(held, fields.get(b"data"), fields, guessed, state, asked_at=asked_at, refused=refused, run=run)

    def _received_many(self, reply: list[Any], asked_at: float) -> Taken | None:
        """Keep the first of what a blocking read brought; COUNT is for each stream, so there may be a second."""
        self._groups_known = True
        (stream, [(entry, words)]), *others = reply
        for other_stream, [(other_entry, _)] in others:
            self.release(self._new(other_stream, other_entry), counted=False)
        if not self._delete_settled:
            self._link.batch([("HSET", LAST_READ, read[0], read[1][0][0]) for read in reply])
        fields = dict(zip(words[::2], words[1::2], strict=True))
        return self._confirmed(Taken(self._new(stream, entry), fields.get(b"data"), fields, asked_at=asked_at))

    def _confirmed(self, taken: Taken) -> Taken | None:
        """Make sure that what came is still ours, and read its state; None where somebody else has it."""
        guessed = GRAPH_ID.search(taken.data or b"")
        state_key = STATE_PREFIX.encode() + guessed[1] if guessed else MARKERS
        held = taken.held
        keys: list[Word] = [held.stream, MARKERS, RESETS, state_key]
        data = taken.data or b""
        of_run = data.startswith(RUN_ITEM)
        words: list[Word] = [self._group, held.consumer, held.entry, held.count, data if of_run else b"", b""]
        late = time.monotonic() > taken.asked_at + self._lease_s
        taken.asked_at = time.monotonic()
        where, state, run = self._link.run(self._confirm_script, keys, words)
        if where not in (b"ours", b"gone"):
            return None
        if run is not None:
            taken.run = taken_of(run)
            return taken
        if where == b"gone" and late and not state:
            return None  # somebody else had time to settle it, and the graph's state, which would tell, is gone as well
        taken.row_lost = where == b"gone"
        if guessed:
            taken.state_key, taken.state = STATE_PREFIX + guessed[1].decode("utf-8", "replace"), state
        return taken

    def _described(self, taken: Taken) -> Taken:
        """Bring along what a run's item needs; it was started before."""
        held, data = taken.held, taken.data or b""
        if data.startswith(RUN_ITEM):
            keys: list[Word] = [held.stream, MARKERS, RESETS, MARKERS]
            words: list[Word] = [self._group, held.consumer, held.entry, held.count, data, b"1"]
            run = self._link.run(self._confirm_script, keys, words)[2]
            taken.run = taken_of(run) if run is not None else None
        return taken

    def _new(self, stream: bytes, entry: bytes) -> Held:
        return Held(self._names[stream], entry.decode(), 1, self.name)


def _document(reply: Any) -> bytes | None:
    if isinstance(reply, StreamError):
        if "WRONGTYPE" in str(reply):
            return b""
        raise reply
    return reply  # type: ignore[no-any-return]
