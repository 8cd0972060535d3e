"""A worker's slot: watched through its row of the scoreboard."""

from __future__ import annotations

import os
import time

from supervisor.processes.processes import END_RUN, Exit
from supervisor.processes.stacks import Frame
from supervisor.program import Program
from supervisor.scoreboard.row import Row
from supervisor.scoreboard.scoreboard import Scoreboard
from supervisor.slots.host import Host, Rules
from supervisor.slots.slot import Slot
from supervisor.transitions import SlotEvent, SlotState, StopReason

GRACE_NS = 250_000_000  # past its deadline, for a worker that is just about to notice itself
END_BY_ITSELF_S = 0.3  # for a run that was told to end, before its worker is interrupted
END_INTERRUPTED_S = 0.5  # and then, before its worker is killed
CANCELLED = "cancelled"  # the failure code then
LEAVE_S = 10.0  # for a worker with nothing in hand to leave
LEAVE_BOOT_S = 1.0  # for one that is not even up
PLACE_OF_STATE = {"idle": SlotState.IDLE, "busy": SlotState.BUSY}


class WorkerSlot(Slot):
    """Worker number `row.slot`, one generation after the other."""

    kind = "slot"
    title = "worker"

    def __init__(self, row: Row, board: Scoreboard, host: Host, rules: Rules, program: Program) -> None:
        super().__init__(f"{self.title} {row.slot}", host, rules)
        self.row = row
        self.board = board
        self.program = program
        self._done_before = 0
        self._held = ""  # when its deadline was looked at
        self._source_line = ""  # where it stood then, in code of the user's
        self._stopped_at: float | None = None
        self._turned_ns = 0
        self._woken_at: float | None = None
        self._ending = 0  # the run that is watched for its end
        self._ending_since = 0.0
        self._interrupted = False

    @property
    def awaited(self) -> bool:
        """Tell whether the worker will be ready soon, so that waiting for it makes sense."""
        return not self.ready and not (self.state is SlotState.DEAD and self.backoff.long)

    @property
    def removed(self) -> bool:
        """Tell whether the slot is on its way out of the pool."""
        return self.vacated or self.stop_reason is StopReason.REMOVED

    @property
    def settled(self) -> bool:
        """Tell whether the dead worker has left nothing in hand that the keeper has to give back."""
        return self.child is None and self.row.held in ("", self.row.released)

    @property
    def worn(self) -> bool:
        """Tell whether the slot's worker should be replaced between items."""
        return self.row.worn(self.rules.settings.max_rss_bytes)

    def main(self) -> int:
        self.row.pid = os.getpid()  # the supervisor may have its next turn late: nobody is to see us without a number
        try:
            return self.program.work(self.row)
        except Exception as error:
            if self.row.activity == "starting":  # nothing was taken yet, so the error can quote nothing that was
                self.board.head.reason = f"{type(error).__name__}: {error}"
            raise

    def label(self) -> dict[str, object]:
        return {"slot": self.row.slot}

    def is_up(self) -> bool:
        return self.row.activity in PLACE_OF_STATE

    def watch(self, now: float) -> None:
        if self.state is SlotState.IDLE and self.row.at_rest and self._stopped_at is None and not self._ending:
            self._watch_idleness(now)
            return
        if self.state is SlotState.STARTING:
            self._watch_boot(now)
        if self.ready:
            self._follow_row()
        if self.ready or (self.state is SlotState.DRAINING and self.kill_at is None):
            self._watch_deadlines(now)
            self._watch_run(now)

    def next_look(self) -> float | None:
        """Return when to look again: as for any slot, and when a run that was told to end must be interrupted."""
        look = super().next_look()
        if not self._ending:
            return look
        interrupt_at = self._ending_since + END_BY_ITSELF_S
        looks = [at for at in (interrupt_at, interrupt_at + END_INTERRUPTED_S) if at > self.host.now()]
        return min((at for at in (look, *looks) if at is not None), default=None)

    def note_stopped(self, stopped: bool) -> None:
        """Note that the worker was stopped by a signal, or goes on."""
        self._stopped_at = self.host.now() if stopped else None
        self.row.stopped = stopped
        if stopped:
            self.host.log("warn", "slot.stopped", **self.label())

    def cut_short(self) -> None:
        """Kill the worker because a drain's time is up: that is not held against what it has in hand."""
        self.row.cut_short = True
        self.kill_now()

    def prepare(self) -> None:
        self.row.reset()
        self.row.started_ns = time.monotonic_ns()
        self.row.respawn_at_ns = 0
        self._done_before = self.row.items_done
        self._stopped_at = None
        self._source_line = ""

    def refills(self) -> bool:
        return not self.rules.draining

    def count_restart(self, reason: str) -> None:
        self.board.head.counters.add(self.rules.settings.restarts_key.format(reason=reason).encode(), 1.0)

    def exited(self, died: Exit) -> None:
        if self.row.held:
            self.row.record_death(died.cause, self._source_line)
        super().exited(died)

    def useful(self) -> bool:
        return self.row.items_done > self._done_before

    def tell(self) -> None:
        self.row.leaving = True
        self.row.wake()

    def record_kill(self, reason: str) -> None:
        self.row.leaving = True  # should it come round in its last moment: it takes nothing more
        if reason not in (StopReason.HUNG_BOOT, "stuck", "stopped"):
            self.row.record_kill(reason, self._held)

    def note_stack(self, frames: list[Frame]) -> None:
        if self.row.held and self.row.held == self._held:
            self._source_line = self.program.source_line_in(frames)

    def buried(self) -> None:
        self.row.state = "dead"
        self.row.pid = 0
        self.row.stopped = False
        self.row.respawn_at_ns = time.monotonic_ns()

    def details(self) -> dict[str, object]:
        held_s = round((time.monotonic_ns() - self.row.since_ns) / 1e9, 3) if self.row.held else 0.0
        return {"phase": self.row.phase, "item": self.row.item, "held": self.row.held, "held_for_s": held_s}

    def count_crash(self) -> None:
        self.row.restarts += 1
        super().count_crash()
        self._show_delay()

    def back_off(self) -> None:
        super().back_off()
        self._show_delay()

    def count_failed_boot(self, hung: bool = False) -> None:
        self.row.restarts += 1
        super().count_failed_boot(hung)
        self._show_delay()

    def follow_stop_reason(self) -> None:
        self.row.restarts += self.stop_reason is StopReason.HUNG
        super().follow_stop_reason()
        self._show_delay()

    def fork(self) -> None:
        super().fork()
        self.row.pid = self.pid

    def _watch_boot(self, now: float) -> None:
        if self.is_up():
            self.feed(SlotEvent.CAME_UP)
        elif now > self.forked_at + self.rules.settings.boot_timeout_s:
            self.kill(StopReason.HUNG_BOOT, StopReason.HUNG_BOOT)

    def _follow_row(self) -> None:
        seen = PLACE_OF_STATE.get(self.row.activity, self.state)
        if seen is not self.state:
            self.feed(SlotEvent.TOOK if seen is SlotState.BUSY else SlotEvent.SETTLED)

    def _watch_deadlines(self, now: float) -> None:
        deadline_ns = self.row.deadline_ns
        if deadline_ns and now * 1e9 > deadline_ns + GRACE_NS:
            self._held, failure_code = self.row.held, self.row.on_deadline or "deadline"
            if self.row.deadline_ns == deadline_ns:  # else it has gone on while we looked, perhaps to another item
                self.kill(failure_code, StopReason.HUNG)
        elif self.state is SlotState.DRAINING and self.row.activity != "busy":
            self._watch_leaving(now)
        elif not deadline_ns:  # idle, or before or after what has one
            self._watch_stopped(now)

    def _watch_run(self, now: float) -> None:
        """A run that was told to end and does not is interrupted; then, unless that is of no use, killed."""
        run = self.row.run if self.row.run_is_over else 0
        if run != self._ending:
            self._ending, self._ending_since, self._interrupted = run, now, False
        if not run or self.kill_at is not None:
            return
        if not self._interrupted and now >= self._ending_since + END_BY_ITSELF_S:
            self._interrupted = True
            self.signal(END_RUN)
        elif now >= self._ending_since + END_BY_ITSELF_S + END_INTERRUPTED_S and self.row.stop_run == run:
            self._held = self.row.held
            if self.row.run == run:  # else it has gone on while we looked
                self.kill(CANCELLED, StopReason.HUNG)

    def _watch_leaving(self, now: float) -> None:
        patience_s = LEAVE_S if self.is_up() else LEAVE_BOOT_S
        if now > max(self.asked_at, self.row.since_ns / 1e9) + patience_s:
            self.kill("stuck", StopReason.HUNG)

    def _watch_stopped(self, now: float) -> None:
        if self._stopped_at is not None and now > self._stopped_at + self.rules.settings.boot_timeout_s:
            self.kill("stopped", StopReason.HUNG)

    def _watch_idleness(self, now: float) -> None:
        """
        Have a worker killed that hangs with nothing in hand: it is woken, and does not come round.

        One that was not heard of for long may be well: the whole machine stood still.
        """
        turned_ns = self.row.turned_ns
        if turned_ns != self._turned_ns:
            self._turned_ns, self._woken_at = turned_ns, None
        limit_s = self.rules.settings.idle_timeout_s
        if not turned_ns or now < max(turned_ns, self.row.since_ns) / 1e9 + limit_s:
            return
        if self._woken_at is None:
            self._woken_at = now
            self.row.wake()
        elif now >= self._woken_at + limit_s / 3:
            self.kill("stuck", StopReason.HUNG)

    def _show_delay(self) -> None:
        if self.child is None:
            self.row.respawn_at_ns = 0 if self.due_at is None else int(self.due_at * 1e9)
