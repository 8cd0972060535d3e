"""
A slot's row of the scoreboard: what its worker is doing, and what supervisor and keeper have to say about it.

Written by the worker:      state, phase, held, item, deadlines, items_done, wants_replacement, client_id, counters,
                            run, watched, progress, attempt
Written by the supervisor:  placed, pid, generation, leaving, verdict, restarts, respawn_at_ns, stopped, cut_short;
                            while there is no worker, what is the worker's
Written by the keeper:      lease_until_ns, lost, released, rss_bytes, pss_bytes, stop_run, lost_run, unwatched_run

The texts are not understood here. Times are nanoseconds of CLOCK_MONOTONIC, 0 meaning none.
"""

from __future__ import annotations

from mmap import mmap
from struct import Struct
from time import monotonic_ns
from typing import TYPE_CHECKING

from supervisor.cells import WORD, Choice, Flag, Number, Twin, clip
from supervisor.counters import Counters
from supervisor.progress import Progress, ProgressCell

if TYPE_CHECKING:
    from supervisor.wakes import Wakes

STATES = ("dead", "starting", "idle", "busy", "draining")
ITEM_VERDICT = "node_timeout"

WORDS = 32
# `p` holds its own length in its first byte: one byte less than it says.
JOB = Struct("<256p256pq40p")  # held, item, item_deadline_ns, verdict at the item's deadline
PHASE = Struct("<72pqq40p")  # phase, since_ns, deadline_ns, verdict at the deadline
VERDICT = Struct("<40p256p")  # verdict, what was held then
RELEASED = Struct("<256p")
WATCHED = Struct("<H510s")

_JOB_AT = WORDS * WORD
_PHASE_AT = _JOB_AT + Twin.size(JOB)
_VERDICT_AT = _PHASE_AT + Twin.size(PHASE)
_RELEASED_AT = _VERDICT_AT + Twin.size(VERDICT)
_WATCHED_AT = _RELEASED_AT + Twin.size(RELEASED)
_PROGRESS_AT = _WATCHED_AT + Twin.size(WATCHED)
SIZE = 4096  # bytes
assert _PROGRESS_AT + ProgressCell.SIZE <= SIZE

HELD_LIMIT, ITEM_LIMIT, PHASE_LIMIT, VERDICT_LIMIT, WATCHED_LIMIT = 255, 255, 71, 39, 510  # bytes


class Row:
    """One slot; its writers are named at the head of this file."""

    __slots__ = (
        *("_in_hand", "_job", "_limit", "_phase", "_phases", "_progress", "_released", "_verdict", "_wakes"),
        *("_watched", "counters", "ints", "slot"),
    )

    placed = Flag(0)
    pid = Number(1)
    generation = Number(2)  # workers this slot has had
    _state = Choice(3, STATES)
    since_ns = Number(4)  # of the state
    started_ns = Number(5)  # of the worker
    lease_until_ns = Number(6)
    lost = Flag(7)  # the lease is gone: what is held is no longer ours
    stop_run = Number(8)  # the run that is to end at once, as failed
    items_done = Number(9)
    restarts = Number(10)  # workers replaced that had not been asked to leave
    wants_replacement = Flag(11)
    rss_bytes = Number(12)
    pss_bytes = Number(13)
    client_id = Number(14)
    leaving = Flag(15)  # the worker was asked to leave
    respawn_at_ns = Number(16)  # when a dead slot gets its next worker
    stopped = Flag(17)  # by SIGSTOP
    cut_short = Flag(18)  # the worker was killed because a drain's time was up
    # Names a run while it lasts, and no other of this slot: what is said of one can't hit the next.
    run = Number(19)  # when it began
    lost_run = Number(20)  # the run whose item is surely somebody else's: it is to end at once, as nothing
    unwatched_run = Number(21)  # the run whose worker has to see for itself whether it is still wanted
    attempt = Number(22)  # which run of the item the last one begun was, from 1

    def __init__(self, slot: int, shared: mmap, offset: int, counters: Counters, wakes: Wakes) -> None:
        self.slot = slot
        self.ints: memoryview[int] = memoryview(shared)[offset : offset + _JOB_AT].cast("q")
        self.counters = counters
        self._wakes = wakes
        self._job = Twin(shared, offset + _JOB_AT, JOB)
        self._phase = Twin(shared, offset + _PHASE_AT, PHASE)
        self._verdict = Twin(shared, offset + _VERDICT_AT, VERDICT)
        self._released = Twin(shared, offset + _RELEASED_AT, RELEASED)
        self._watched = Twin(shared, offset + _WATCHED_AT, WATCHED)
        self._progress = ProgressCell(shared, offset + _PROGRESS_AT)
        self._phases: dict[str, bytes] = {}
        # What the job says, for whoever writes it: held and item, then deadline and verdict.
        self._in_hand: tuple[bytes, bytes] = (b"", b"")
        self._limit: tuple[int, bytes] = (0, b"")

    # What the worker does, cheaply: a few of these are called for every item.

    def begin(
        self, held: str, item: str, phase: str, item_deadline_ns: int = 0, on_deadline: str = ITEM_VERDICT
    ) -> None:
        """
        Say that *held* is in hand.

        Args:
            held: What a successor needs to take over.
            item: Its name for people.
            item_deadline_ns: The worker is killed when it still holds it then, whatever its phase.
            on_deadline: The verdict in that case.

        Raises:
            ValueError: *held* is longer than `HELD_LIMIT` bytes: half a name would be worse than none.
        """
        now, verdict = monotonic_ns(), self._short(on_deadline)
        # In this order a kill in between leaves at worst an item in hand that was not begun.
        self._take_in_hand(_whole(held), clip(item, ITEM_LIMIT), item_deadline_ns, verdict)
        self._phase.write(self._short(phase), now, item_deadline_ns, verdict)
        self.since_ns = now
        self.ints[3] = BUSY

    def proceed(self, item: str, phase: str, item_deadline_ns: int, on_deadline: str = ITEM_VERDICT) -> None:
        """Say what the item in hand is called, and how long it may take; see `begin`."""
        verdict = self._short(on_deadline)
        self._take_in_hand(self._in_hand[0], clip(item, ITEM_LIMIT), item_deadline_ns, verdict)
        self._phase.write(self._short(phase), monotonic_ns(), item_deadline_ns, verdict)

    def enter(self, phase: str, deadline_ns: int = 0, on_deadline: str = ITEM_VERDICT) -> None:
        """Say what is being done now, and until when at the latest: the item's own deadline holds as well."""
        item_deadline_ns, item_verdict = self._limit
        if item_deadline_ns and not 0 < deadline_ns < item_deadline_ns:
            self._phase.write(self._short(phase), monotonic_ns(), item_deadline_ns, item_verdict)
        else:
            self._phase.write(self._short(phase), monotonic_ns(), deadline_ns, self._short(on_deadline))

    def finish(self, phase: str, deadline_ns: int = 0, on_deadline: str = "") -> None:
        """Say that the item's own deadline no longer holds: only its result is still to be handed in."""
        self._take_in_hand(*self._in_hand, 0, b"")
        self._phase.write(self._short(phase), monotonic_ns(), deadline_ns, self._short(on_deadline))

    def end(self, phase: str = "waiting", *, done: bool = True) -> None:
        """Say that nothing is in hand any more; *done*: one item more was finished."""
        now = monotonic_ns()
        # The deadline goes first: it must never be found passed with nothing in hand.
        self._phase.write(self._short(phase), now, 0, b"")
        self._take_in_hand(b"", b"", 0, b"")
        if done:
            self.ints[9] += 1
        self.since_ns = now
        self.ints[3] = IDLE

    def begin_run(self, watched: str) -> int:
        """
        Say that what is in hand is run from now on, until `end_run`; returns the run's name.

        Args:
            watched: Where the keeper sees whether it is still wanted; what is too long is not watched.
        """
        raw = watched.encode()
        whole = raw if len(raw) <= WATCHED_LIMIT else b""
        self._watched.write(len(whole), whole)
        self.run = run = monotonic_ns()
        if not whole:
            self.unwatched_run = run
        return run

    def end_run(self) -> None:
        self.run = 0

    @property
    def progress(self) -> Progress:
        """How far the run in progress has got, as its worker has shown."""
        return self._progress.read(self.run)

    @progress.setter
    def progress(self, progress: Progress) -> None:
        self._progress.write(self.run, progress)

    @property
    def watched(self) -> str:
        length, raw = self._watched.read()
        return str(raw[:length], "utf-8")

    def goes_on(self, run: int, now_ns: int) -> bool:
        """Whether nothing that is said here speaks against going on with *run*; asked many times in each."""
        words = self.ints
        return words[8] != run and not words[7] and words[6] >= now_ns

    @property
    def at_rest(self) -> bool:
        """Whether nothing is in hand and nobody wants anything of its worker: looked at several times a second."""
        words = self.ints
        return words[3] == IDLE and not words[19]

    def worn(self, limit: int) -> bool:
        """Whether its worker wants to be replaced, or weighs more than *limit* bytes (0: none)."""
        words = self.ints
        return words[11] != 0 or 0 < limit < words[12]

    @property
    def run_is_over(self) -> bool:
        """Whether the run in progress is to end at once."""
        run = self.run
        return run != 0 and run in (self.stop_run, self.lost_run)

    @property
    def state(self) -> str:
        """One of `STATES`; a worker that was asked to leave is draining, whatever it is at."""
        raw = self._state
        return "draining" if raw != "dead" and self.leaving else raw

    @state.setter
    def state(self, state: str) -> None:
        self.since_ns = monotonic_ns()
        self._state = state

    @property
    def activity(self) -> str:
        """The state as the worker wrote it: starting, idle or busy also while it is asked to leave."""
        return self._state

    @property
    def held(self) -> str:
        return _text(self._job.read()[0])

    @held.setter
    def held(self, held: str) -> None:
        self._take_in_hand(_whole(held), *self._job.read()[1:])

    @property
    def item(self) -> str:
        return _text(self._job.read()[1])

    @item.setter
    def item(self, item: str) -> None:
        held, _, *limit = self._job.read()
        self._take_in_hand(held, clip(item, ITEM_LIMIT), *limit)

    @property
    def item_deadline_ns(self) -> int:
        return int(self._job.read()[2])

    @property
    def phase(self) -> str:
        return _text(self._phase.read()[0])

    @phase.setter
    def phase(self, phase: str) -> None:
        self.enter(phase)

    @property
    def phase_since_ns(self) -> int:
        return int(self._phase.read()[1])

    @property
    def deadline_ns(self) -> int:
        """When the worker is killed unless it has gone on: the phase's or the item's, whichever is first."""
        return int(self._phase.read()[2])

    @property
    def on_deadline(self) -> str:
        return _text(self._phase.read()[3])

    @property
    def verdict(self) -> str:
        """Why the slot's last worker was killed, until its successor has dealt with that and cleared it."""
        return _text(self._verdict.read()[0])

    @property
    def verdict_held(self) -> str:
        return _text(self._verdict.read()[1])

    def condemn(self, verdict: str, held: str) -> None:
        """Record *verdict* on *held*."""
        self._verdict.write(clip(verdict, VERDICT_LIMIT), _whole(held))

    def clear_verdict(self) -> None:
        self._verdict.write(b"", b"")

    @property
    def released(self) -> str:
        """The `held` of a dead worker that the keeper has given back: not to be taken over."""
        return _text(self._released.read()[0])

    @released.setter
    def released(self, held: str) -> None:
        self._released.write(_whole(held))

    # Between processes.

    @property
    def wake_fd(self) -> int:
        """Readable once `wake` was called, until `clear_wake`."""
        return self._wakes.fd(self.slot)

    def wake(self) -> None:
        """Make the worker look up from its waiting; never blocks."""
        self._wakes.ring(self.slot)

    def clear_wake(self) -> bool:
        """Take back all wakes so far; True when there was one."""
        return self._wakes.clear(self.slot)

    # Only while the slot has no worker.

    def reset(self) -> None:
        """Prepare for the next worker: what the last one held stays, for its successor."""
        for word in _OF_ONE_WORKER:
            self.ints[word] = 0
        # Its time limit does not: the successor would be killed for it.
        held, item, _, _ = self._job.read()
        self._take_in_hand(held, item, 0, b"")
        self._phase.write(b"starting", monotonic_ns(), 0, b"")
        self.generation += 1
        self.state = "starting"

    def clear(self) -> None:
        """Leave nothing of a former user of this slot but its totals."""
        for word in _OF_ONE_WORKER:
            self.ints[word] = 0
        self.items_done = self.restarts = self.respawn_at_ns = 0
        self._take_in_hand(b"", b"", 0, b"")
        self._phase.write(b"", 0, 0, b"")
        self.clear_verdict()
        self._released.write(b"")
        self.state = "dead"

    def _take_in_hand(self, held: bytes, item: bytes, deadline_ns: int, verdict: bytes) -> None:
        self._in_hand, self._limit = (held, item), (deadline_ns, verdict)
        self._job.write(held, item, deadline_ns, verdict)

    def _short(self, name: str) -> bytes:
        # Phases and verdicts are few and come again and again.
        known = self._phases.get(name)
        if known is None:
            if len(self._phases) > 1000:  # tool names are data from outside
                self._phases.clear()
            known = self._phases[name] = clip(name, PHASE_LIMIT)
        return known


_OF_ONE_WORKER = (1, 5, 6, 7, 8, 11, 12, 13, 14, 15, 17, 18, 19, 20, 21)
IDLE, BUSY = STATES.index("idle"), STATES.index("busy")


def _whole(held: str) -> bytes:
    raw = held.encode()
    if len(raw) > HELD_LIMIT:
        raise ValueError(f"held is {len(raw)} bytes long, at most {HELD_LIMIT} fit: shorten the worker's name")
    return raw


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
