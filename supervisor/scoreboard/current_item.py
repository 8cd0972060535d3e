"""
The part of a slot's row that changes with every item: what its worker has in hand and is at, and for how long.

Written by the worker, cheaply: a few of these methods are called for every item. While there is no worker, written by
the supervisor. The texts are not understood here.
"""

from __future__ import annotations

from mmap import mmap
from struct import Struct
from time import monotonic_ns

from supervisor.scoreboard.cells import Choice, Number, Twin, clip
from supervisor.scoreboard.words import ITEMS_DONE, STATE, RowWord

STATES = ("dead", "starting", "idle", "busy", "draining")
IDLE, BUSY = STATES.index("idle"), STATES.index("busy")
ITEM_FAILURE_CODE = "node_timeout"

# `p` holds its own length in its first byte: one byte less than it says.
JOB = Struct("<256p256pq40p")  # held, item, item_deadline_ns, failure code at the item's deadline
PHASE = Struct("<72pqq40p")  # phase, since_ns, deadline_ns, failure code at the deadline
HELD_LIMIT, ITEM_LIMIT, PHASE_LIMIT = 255, 255, 71  # bytes


class CurrentItem:
    """
    Args:
        ints: The words of the whole row.
        offset: Where the records begin in *shared*.
    """

    __slots__ = ("_in_hand", "_job", "_limit", "_phase", "_phases", "ints")
    SIZE = Twin.size(JOB) + Twin.size(PHASE)  # bytes of the records

    # Words of the row; the others are in `row.py`.
    _state = Choice(STATE, STATES)
    since_ns = Number(RowWord.SINCE)  # of the state
    items_done = Number(ITEMS_DONE)

    def __init__(self, ints: memoryview[int], shared: mmap, offset: int) -> None:
        self.ints = ints
        self._job = Twin(shared, offset, JOB)
        self._phase = Twin(shared, offset + Twin.size(JOB), PHASE)
        self._phases: dict[str, bytes] = {}
        # What the job says, for its writer: held and item, then deadline and failure code.
        self._in_hand: tuple[bytes, bytes] = (b"", b"")
        self._limit: tuple[int, bytes] = (0, b"")

    def begin(
        self, held: str, item: str, phase: str, item_deadline_ns: int = 0, on_deadline: str = ITEM_FAILURE_CODE
    ) -> None:
        """
        Say that *held* is in hand.

        Args:
            held: What a successor needs to take over.
            item: Its name for people.
            item_deadline_ns: The worker is killed when it still holds it then, whatever its phase.
            on_deadline: The failure code in that case.

        Raises:
            ValueError: *held* is longer than `HELD_LIMIT` bytes: half a name would be worse than none.
        """
        now, failure_code = monotonic_ns(), self._short(on_deadline)
        # In this order a kill in between leaves at worst an item in hand that was not begun.
        self._take_in_hand(whole(held), clip(item, ITEM_LIMIT), item_deadline_ns, failure_code)
        self._phase.write(self._short(phase), now, item_deadline_ns, failure_code)
        self.since_ns = now
        self.ints[STATE] = BUSY

    def proceed(self, item: str, phase: str, item_deadline_ns: int, on_deadline: str = ITEM_FAILURE_CODE) -> None:
        """Say what the item in hand is called, and how long it may take; see `begin`."""
        failure_code = self._short(on_deadline)
        self._take_in_hand(self._in_hand[0], clip(item, ITEM_LIMIT), item_deadline_ns, failure_code)
        self._phase.write(self._short(phase), monotonic_ns(), item_deadline_ns, failure_code)

    def enter(self, phase: str, deadline_ns: int = 0, on_deadline: str = ITEM_FAILURE_CODE) -> None:
        """Say what is being done now, and until when at the latest: the item's own deadline holds as well."""
        item_deadline_ns, item_failure_code = self._limit
        if item_deadline_ns and not 0 < deadline_ns < item_deadline_ns:
            self._phase.write(self._short(phase), monotonic_ns(), item_deadline_ns, item_failure_code)
        else:
            self._phase.write(self._short(phase), monotonic_ns(), deadline_ns, self._short(on_deadline))

    def finish(self, phase: str, deadline_ns: int = 0, on_deadline: str = "") -> None:
        """Say that the item's own deadline no longer holds: only its result is still to be handed in."""
        self._take_in_hand(*self._in_hand, 0, b"")
        self._phase.write(self._short(phase), monotonic_ns(), deadline_ns, self._short(on_deadline))

    def postpone(self, deadline_ns: int) -> None:
        """Move the deadline of a phase that has one of its own; the item's stays where it is."""
        phase, since_ns, own_ns, failure_code = self._phase.read()
        if own_ns and not self._limit[0]:
            self._phase.write(phase, since_ns, deadline_ns, failure_code)

    def end(self, phase: str = "waiting", *, done: bool = True) -> None:
        """Say that nothing is in hand any more; *done*: one item more was finished."""
        now = monotonic_ns()
        # The deadline goes first: it must never be found passed with nothing in hand.
        self._phase.write(self._short(phase), now, 0, b"")
        self._take_in_hand(b"", b"", 0, b"")
        if done:
            self.ints[ITEMS_DONE] += 1
        self.since_ns = now
        self.ints[STATE] = IDLE

    @property
    def activity(self) -> str:
        """The state as the worker wrote it: starting, idle or busy also while it is asked to leave."""
        return self._state

    @property
    def held(self) -> str:
        return text(self._job.read()[0])

    @held.setter
    def held(self, held: str) -> None:
        self._take_in_hand(whole(held), *self._job.read()[1:])

    @property
    def item(self) -> str:
        return text(self._job.read()[1])

    @item.setter
    def item(self, item: str) -> None:
        held, _, *limit = self._job.read()
        self._take_in_hand(held, clip(item, ITEM_LIMIT), *limit)

    @property
    def item_deadline_ns(self) -> int:
        return int(self._job.read()[2])

    @property
    def phase(self) -> str:
        return text(self._phase.read()[0])

    @phase.setter
    def phase(self, phase: str) -> None:
        self.enter(phase)

    @property
    def phase_since_ns(self) -> int:
        return int(self._phase.read()[1])

    @property
    def deadline_ns(self) -> int:
        """The time at which the worker is killed unless it goes on: the phase's or the item's, whichever is first."""
        return int(self._phase.read()[2])

    @property
    def on_deadline(self) -> str:
        return text(self._phase.read()[3])

    # Only while the slot has no worker.

    def leave_to_successor(self) -> None:
        """Keep what is in hand, for the next worker; not its time limit, or that one would be killed for it."""
        held, item, _, _ = self._job.read()
        self._take_in_hand(held, item, 0, b"")
        self._phase.write(b"starting", monotonic_ns(), 0, b"")

    def forget(self) -> None:
        """Have nothing in hand, and be at nothing."""
        self._take_in_hand(b"", b"", 0, b"")
        self._phase.write(b"", 0, 0, b"")

    def _take_in_hand(self, held: bytes, item: bytes, deadline_ns: int, failure_code: bytes) -> None:
        self._in_hand, self._limit = (held, item), (deadline_ns, failure_code)
        self._job.write(held, item, deadline_ns, failure_code)

    def _short(self, name: str) -> bytes:
        # Phases and failure codes are few and come again and again.
        known = self._phases.get(name)
        if known is None:
            if len(self._phases) > 1000:  # tool names are data from outside
                self._phases.clear()
            known = self._phases[name] = clip(name, PHASE_LIMIT)
        return known


def whole(held: str) -> bytes:
    """
    Encode *held*.

    Raises:
        ValueError: It is too long; half of it would be worse than none.
    """
    raw = held.encode()
    if len(raw) > HELD_LIMIT:
        raise ValueError(f"held is {len(raw)} bytes long, at most {HELD_LIMIT} fit: shorten the worker's name")
    return raw


def text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
