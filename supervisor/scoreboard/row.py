"""
A slot's row of the scoreboard: what its worker is doing, and what supervisor and keeper have to say about it.

What the worker has in hand and runs, which changes with every item, is in `current_item.py`.

Written by the worker:      state, phase, held, item, deadlines, items_done, wants_replacement, client_id, counters,
                            run, watched, progress, attempt, turned_ns, pid (first of all, as the supervisor does)
Written by the supervisor:  placed, pid, generation, leaving, failure_code, killed_for, death, restarts, respawn_at_ns,
                            stopped, cut_short; while there is no worker, what is the worker's
Written by the keeper:      lease_until_ns, lost, released, rss_bytes, pss_bytes, stop_run, lost_run, unwatched_run,
                            listed

The texts are not understood here. Times are nanoseconds of CLOCK_MONOTONIC, 0 meaning none.
"""

from __future__ import annotations

from mmap import mmap
from struct import Struct
from time import monotonic_ns
from typing import TYPE_CHECKING, NamedTuple

from supervisor.scoreboard.cells import WORD, Flag, Number, Twin, clip
from supervisor.scoreboard.counters import Counters
from supervisor.scoreboard.current_item import IDLE, CurrentItem, whole
from supervisor.scoreboard.item_record import PHASE_LIMIT, text
from supervisor.scoreboard.words import OF_ONE_WORKER, RSS, RUN, STATE, WANTS_REPLACEMENT, W

if TYPE_CHECKING:
    from supervisor.scoreboard.wakeups import Wakeups

WORDS = 32
KILL = Struct("<40p256p")  # failure code, what was held then
RELEASED = Struct("<256p")
DEATH = Struct("<256p40p72p256p")  # what was held then, cause, phase, line of the user's code

_IN_HAND_AT = WORDS * WORD
_KILL_AT = _IN_HAND_AT + CurrentItem.SIZE
_RELEASED_AT = _KILL_AT + Twin.size(KILL)
_DEATH_AT = _RELEASED_AT + Twin.size(RELEASED)
SIZE = 8192  # bytes
assert _DEATH_AT + Twin.size(DEATH) <= SIZE

FAILURE_CODE_LIMIT, CAUSE_LIMIT, LINE_LIMIT = 39, 39, 255  # bytes


class Death(NamedTuple):
    """
    The end of a worker with an item in hand.

    Attributes:
        line: File and line of the innermost frame in the user's code, if it was made to show its stack before.
    """

    held: str
    cause: str
    phase: str
    line: str


class Row(CurrentItem):
    """One slot; its writers are named at the head of this file."""

    __slots__ = ("_death", "_kill", "_released", "_wakeups", "counters", "slot")

    # State, since and items done are in `CurrentItem`.
    placed = Flag(W.PLACED)
    pid = Number(W.PID)
    generation = Number(W.GENERATION)  # workers this slot has had
    started_ns = Number(W.STARTED)  # of the worker
    lease_until_ns = Number(W.LEASE_UNTIL)
    lost = Flag(W.LOST)  # the lease is gone: what is held is no longer ours
    stop_run = Number(W.STOP_RUN)  # the run that is to end at once, as failed
    restarts = Number(W.RESTARTS)  # workers replaced that had not been asked to leave
    wants_replacement = Flag(W.WANTS_REPLACEMENT)
    rss_bytes = Number(W.RSS)
    pss_bytes = Number(W.PSS)
    client_id = Number(W.CLIENT_ID)
    leaving = Flag(W.LEAVING)  # the worker was asked to leave
    respawn_at_ns = Number(W.RESPAWN_AT)  # when a dead slot gets its next worker
    stopped = Flag(W.STOPPED)  # by SIGSTOP
    cut_short = Flag(W.CUT_SHORT)  # the worker was killed because a drain's time was up
    # Id of the current run, unique within the slot: a late stop request can't hit the next run.
    run = Number(W.RUN)  # when it began
    lost_run = Number(
        W.LOST_RUN
    )  # the run whose item surely belongs to another worker: it is to end at once, as nothing
    unwatched_run = Number(W.UNWATCHED_RUN)  # the run whose worker has to see for itself whether it is still wanted
    attempt = Number(W.ATTEMPT)  # which run of the item the last one begun was, from 1
    listed = Flag(W.LISTED)  # others can see the slot by its name, until a keeper has seen to its removal
    turned_ns = Number(W.TURNED)  # when the worker, with nothing in hand, last looked what there is to do

    def __init__(
        self, slot: int, shared: mmap, offset: int, counters: Counters, wakeups: Wakeups, pool: memoryview[int]
    ) -> None:
        words = memoryview(shared)[offset : offset + _IN_HAND_AT].cast("q")
        super().__init__(words, shared, offset + _IN_HAND_AT, pool)
        self.slot = slot
        self.counters = counters
        self._wakeups = wakeups
        self._kill = Twin(shared, offset + _KILL_AT, KILL)
        self._released = Twin(shared, offset + _RELEASED_AT, RELEASED)
        self._death = Twin(shared, offset + _DEATH_AT, DEATH)

    @property
    def at_rest(self) -> bool:
        """Tell whether the worker has nothing in hand and nothing is asked of it; read several times a second."""
        words = self.ints
        return words[STATE] == IDLE and not words[RUN]

    def worn(self, limit: int) -> bool:
        """Tell whether the worker asks to be replaced, or weighs more than *limit* bytes (0: none)."""
        words = self.ints
        return words[WANTS_REPLACEMENT] != 0 or 0 < limit < words[RSS]

    @property
    def run_is_over(self) -> bool:
        """Tell whether the current run is to end at once."""
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
    def failure_code(self) -> str:
        """The reason why the slot's last worker was killed, until its successor has dealt with that and cleared it."""
        return text(self._kill.read()[0])

    @property
    def killed_for(self) -> str:
        return text(self._kill.read()[1])

    def record_kill(self, failure_code: str, held: str) -> None:
        """Record that the worker is killed for *held*, which fails with *failure_code*."""
        self._kill.write(clip(failure_code, FAILURE_CODE_LIMIT), whole(held))

    def clear_kill(self) -> None:
        self._kill.write(b"", b"")

    @property
    def released(self) -> str:
        """The `held` of a dead worker that the keeper has given back: not to be taken over."""
        return text(self._released.read()[0])

    @released.setter
    def released(self, held: str) -> None:
        self._released.write(whole(held))

    @property
    def death(self) -> Death:
        """The last death of a worker that had something in hand; of empty words: there was none."""
        return Death(*map(text, self._death.read()))

    def record_death(self, cause: str, line: str = "") -> None:
        """Record that the worker has died with what it has in hand."""
        words = clip(cause, CAUSE_LIMIT), clip(self.phase, PHASE_LIMIT), clip(line, LINE_LIMIT)
        self._death.write(whole(self.held), *words)

    # Between processes.

    @property
    def wake_fd(self) -> int:
        """Readable once `wake` was called, until `clear_wake`."""
        return self._wakeups.fd(self.slot)

    def wake(self) -> None:
        """Make the worker look up from its waiting; never blocks."""
        self._wakeups.ring(self.slot)

    def clear_wake(self) -> bool:
        """Take back all wakeups so far; True when there was one."""
        return self._wakeups.clear(self.slot)

    # Only while the slot has no worker.

    def reset(self) -> None:
        """Prepare for the next worker: what the last one held stays, for its successor."""
        for word in OF_ONE_WORKER:
            self.ints[word] = 0
        self.leave_to_successor()
        self.generation += 1
        self.state = "starting"

    def clear(self) -> None:
        """Leave nothing of a former user of this slot but its totals."""
        for word in OF_ONE_WORKER:
            self.ints[word] = 0
        self.items_done = self.restarts = self.respawn_at_ns = 0
        self.forget()
        self.clear_kill()
        self._released.write(b"")
        self._death.write(b"", b"", b"", b"")
        self.state = "dead"
