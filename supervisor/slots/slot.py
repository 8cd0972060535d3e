"""
A slot for one child at a time: forked, watched, asked to leave, killed, forked again.

`transitions.SLOT` says what follows from what; here is how it is done. What a child is for, how one sees that it is up
and what it must not exceed, is told by the kinds of slot: `WorkerSlot`, `KeeperSlot`, `ServiceSlot`.
"""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod

from supervisor.errors import WRONG_SETTINGS
from supervisor.processes.processes import DUMP_STACKS, Child, Exit
from supervisor.processes.stacks import Frame, Stacks, frames_of, in_one_line
from supervisor.slots.host import Host, Rules
from supervisor.slots.respawn import DELAYS_S, Backoff
from supervisor.transitions import FOLLOW, SLOT, Follow, SlotAction, SlotEvent, SlotState, StopReason

DUMP_S = 0.3  # for a child to write its stacks before it is killed
KILL_AGAIN_S = 5.0


class Slot(ABC):
    """
    Args:
        name: In the process title, e.g. `worker 3`.
    """

    kind: str  # in the names of events

    def __init__(self, name: str, host: Host, rules: Rules) -> None:
        self.name = name
        self.host = host
        self.rules = rules
        self.state = SlotState.DEAD
        self.child: Child | None = None
        self.generation = 0  # of the settings the child was forked with
        self.due_at: float | None = None  # when the next child is forked; None: not
        self.stop_reason: StopReason | None = None
        self.vacated = False  # has no child and gets none
        self.backoff = Backoff()
        self.forked_at = 0.0
        self.asked_at = 0.0
        self.kill_at: float | None = None
        self.stacks = Stacks()
        self._exit = Exit(0)
        self._why = ""

    # What the kinds of slot differ in.

    @abstractmethod
    def main(self) -> int:
        """In the child: do what it is there for. Returns the exit status."""

    def set_handlers(self) -> None:
        """In the child, before the first signal can come in: set the handlers it must never be without."""

    @abstractmethod
    def label(self) -> dict[str, object]:
        """Name the slot among those of its kind, for the log."""

    @abstractmethod
    def is_up(self) -> bool: ...

    @abstractmethod
    def watch(self, now: float) -> None:
        """Look at a living child that is not to be killed yet: feed what has happened to it."""

    @abstractmethod
    def prepare(self) -> None:
        """Get ready for a new child."""

    @abstractmethod
    def refills(self) -> bool:
        """Tell whether a child that has died is replaced now."""

    @abstractmethod
    def count_restart(self, reason: str) -> None: ...

    def longest_wait_s(self) -> float:
        """Return how long the slot may stay empty when its children die again and again."""
        return DELAYS_S[-1]

    def useful(self) -> bool:
        """Tell whether the child got something done: then its death is no crash in a loop."""
        return False

    @abstractmethod
    def tell(self) -> None:
        """Let the child know by other means than a signal that it is asked to leave."""

    @abstractmethod
    def record_kill(self, reason: str) -> None:
        """Record why the child is about to be killed."""

    def note_stack(self, frames: list[Frame]) -> None:
        """Note where the child stands that is about to be killed."""

    def details(self) -> dict[str, object]:
        """Return fields for the log about a child that has died."""
        return {}

    @abstractmethod
    def buried(self) -> None:
        """Note that there is no child any more."""

    # Requests and events.

    def feed(self, event: SlotEvent) -> None:
        step = SLOT.get((self.state, event))
        if step is None:
            self.host.log("error", "lifecycle.unlisted", slot=self.name, state=self.state, slot_event=event)
            return
        self.state = step.state
        self._act(step.action)

    def fill(self) -> None:
        """Have a child as soon as the supervisor comes to it."""
        self.due_at = self.host.now()

    def refill(self) -> bool:
        """Fork if it is time; True when that was tried."""
        if self.due_at is None or self.child is not None or not self.refills():
            return False
        if self.due_at > self.host.now():
            return False
        self.feed(SlotEvent.REFILLED)
        return True

    def dismiss(self, stop_reason: StopReason) -> None:
        """Ask the child to leave when it has finished what it has in hand."""
        self.stop_reason = stop_reason
        self.feed(SlotEvent.DISMISSED)

    def observe(self) -> None:
        """See what has become of the child, and kill it when its time is up."""
        now = self.host.now()
        if self.child is None:
            return
        if self.kill_at is None:
            self.watch(now)
        elif now >= self.kill_at:
            self._show_stack()
            self.kill_now()

    def _show_stack(self) -> None:
        """Log what the child that is about to be killed has written of its stacks."""
        stack = self.stacks.read()
        if self._why and stack:
            self.note_stack(frames_of(stack))
            self.host.log("error", f"{self.kind}.overdue_stack", **self.label(), pid=self.pid, stack=in_one_line(stack))
        self.stacks.clear()

    def exited(self, died: Exit) -> None:
        """Note that the child is dead and reaped."""
        self._exit = died
        if self.state is SlotState.STARTING and self.is_up():
            self.feed(SlotEvent.CAME_UP)  # it was up, and died before we looked: that is no failed boot
        expected = self.stop_reason is not None and not self._why and died.code in (0, -signal.SIGTERM)
        if expected:
            self.host.log("info", f"{self.kind}.left", **self._obituary(died))
        else:
            self.host.log("warn", f"{self.kind}.dead", **self._obituary(died))
        self.child, self.kill_at, self._why = None, None, ""
        self.buried()
        self.feed(SlotEvent.EXITED)

    def next_look(self) -> float | None:
        """Return when something is to be done here that no event announces."""
        return self.kill_at if self.child is not None else self.due_at

    @property
    def pid(self) -> int:
        return 0 if self.child is None else self.child.pid

    @property
    def ready(self) -> bool:
        """Tell whether the slot's child is up and was not asked to leave."""
        return self.state in (SlotState.IDLE, SlotState.BUSY)

    @property
    def old(self) -> bool:
        """Tell whether the child has settings that are no longer in force."""
        return self.child is not None and self.generation != self.rules.generation

    # Actions.

    def _act(self, action: SlotAction) -> None:
        match action:
            case SlotAction.NOTHING:
                pass
            case SlotAction.FORK:
                self.fork()
            case SlotAction.WELCOME:
                self.welcome()
            case SlotAction.ASK_TO_LEAVE:
                self.ask_to_leave()
            case SlotAction.HURRY:
                self.hurry()
            case SlotAction.SHOW_AND_KILL:
                self.show_and_kill()
            case SlotAction.KILL_NOW:
                self.kill_now()
            case SlotAction.COUNT_CRASH:
                self.count_crash()
            case SlotAction.COUNT_FAILED_BOOT:
                self.count_failed_boot()
            case SlotAction.BACK_OFF:
                self.back_off()
            case SlotAction.FOLLOW_STOP_REASON:
                self.follow_stop_reason()
            case SlotAction.RECALL:
                self.recall()

    def fork(self) -> None:
        self.stop_reason, self.due_at, self.asked_at = None, None, 0.0
        self.generation = self.rules.generation
        self.forked_at = self.host.now()
        self.prepare()
        try:
            self.stacks.open()
            self.child = self.host.fork(self.name, self.main, self._set_up)
        except OSError as error:
            self.host.log("error", f"{self.kind}.fork_failed", **self.label(), error=str(error))
            self.feed(SlotEvent.FORK_FAILED)
            return
        self.host.log("debug", f"{self.kind}.started", **self.label(), pid=self.pid)

    def _set_up(self) -> None:
        self.set_handlers()
        self.stacks.receive()

    def welcome(self) -> None:
        self.backoff.came_up()
        boot_s = round(self.host.now() - self.forked_at, 3)
        self.host.log("info", f"{self.kind}.up", **self.label(), pid=self.pid, boot_s=boot_s)

    def ask_to_leave(self) -> None:
        self.asked_at = self.host.now()
        self.tell()
        self.signal(signal.SIGTERM)

    def hurry(self) -> None:
        """Ask to give back what is in hand and leave."""
        if self.stop_reason is None:
            self.stop_reason = StopReason.DRAINED
        self.asked_at = self.asked_at or self.host.now()
        self.tell()
        self.signal(signal.SIGQUIT)

    def show_and_kill(self) -> None:
        """Make it show what it is at, then kill it."""
        state = self.child.look() if self.child else "X"
        facts = {**self.label(), "pid": self.pid, "process_state": state, **self.details()}
        self.host.log("error", f"{self.kind}.overdue", why=self._why, **facts)
        self.record_kill(self._why)
        self.stacks.clear()
        self.signal(DUMP_STACKS)
        # A stopped one can't write anything.
        self.kill_at = self.host.now() + (0.0 if state in "Tt" else DUMP_S)

    def kill_now(self) -> None:
        if self.stop_reason is None:
            self.stop_reason = StopReason.DRAINED
        self.signal(signal.SIGKILL)
        self.kill_at = self.host.now() + KILL_AGAIN_S

    def count_crash(self) -> None:
        self.count_restart("crashed")
        if self.wrong_settings:
            self.rules.boot_failed(self._exit, self.backoff.boot_failures)
        self._wait(self.backoff.crashed(self.host.now() - self.forked_at, self.useful()))

    def count_failed_boot(self, hung: bool = False) -> None:
        self.count_restart("boot")
        self._wait(self.backoff.boot_failed(hung))
        self.rules.boot_failed(self._exit, self.backoff.boot_failures)

    def back_off(self) -> None:
        """Back off after a fork that failed."""
        self.count_restart("fork_failed")
        self.buried()
        self._wait(max(self.backoff.crashed(0.0, useful=False), 0.1))

    def follow_stop_reason(self) -> None:
        stop_reason, self.stop_reason = self.stop_reason or StopReason.DRAINED, None
        match FOLLOW[stop_reason]:
            case Follow.REST:
                self.due_at = None
            case Follow.VACATE:
                self.due_at, self.vacated = None, True
            case Follow.REFILL:
                self.count_restart(stop_reason.value)
                self.fill()
                self.refill()
            case Follow.BACK_OFF if stop_reason is StopReason.HUNG_BOOT:
                self.count_failed_boot(hung=True)
            case Follow.BACK_OFF:
                self.count_restart(stop_reason.value)
                self._wait(self.backoff.crashed(self.host.now() - self.forked_at, self.useful()))

    def recall(self) -> None:
        """Fill the slot again once it is empty, whatever it was being emptied for."""
        self.vacated = False
        if self.child is None:
            self.fill()
        else:
            self.stop_reason = StopReason.RELOADED

    # Means.

    def signal(self, number: signal.Signals) -> None:
        if self.child is not None:
            self.child.signal(number)

    def kill(self, reason: str, stop_reason: StopReason) -> None:
        """Have the child killed for *reason*; if it was asked to leave for another one, that stands."""
        self._why = reason
        self.stop_reason = self.stop_reason or stop_reason
        self.feed(SlotEvent.OVERDUE)

    def _wait(self, delay_s: float) -> None:
        self.stop_reason = None
        delay_s = min(delay_s, self.longest_wait_s())
        self.due_at = self.host.now() + delay_s
        if delay_s == 0:
            self.refill()
        elif self.refills():
            self.host.log("warn", f"{self.kind}.backing_off", **self.label(), delay_s=delay_s)

    def _obituary(self, died: Exit) -> dict[str, object]:
        lived = round(self.host.now() - self.forked_at, 3)
        why = {"why": self._why} if self._why else {}
        return {**self.label(), "pid": self.pid, "cause": died.cause, "lived_s": lived, **why, **self.details()}

    @property
    def failed(self) -> bool:
        """Tell whether the child that died last did not end as it should."""
        return self._exit.code != 0

    @property
    def wrong_settings(self) -> bool:
        """Tell whether the child that died last said that it can't work with these settings."""
        return self._exit.code == WRONG_SETTINGS
