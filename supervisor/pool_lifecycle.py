"""
The pool's course from its start to its end: what `lifecycle.POOL` says, done.

It decides over the whole; the single seats look after themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from supervisor.control.control_socket import ControlSocket
from supervisor.control.systemd import Notify
from supervisor.drain import Drain
from supervisor.errors import WRONG_SETTINGS, ReloadRefused
from supervisor.pool import Pool
from supervisor.processes.processes import Exit, Processes
from supervisor.program import Journal, PoolSettings, Program
from supervisor.scaling import Bounds, Load, Scaling
from supervisor.scoreboard.scoreboard import Scoreboard
from supervisor.slots.keeper_slot import KeeperSlot
from supervisor.slots.respawn import hopeless
from supervisor.transitions import POOL, Mode, PoolEvent, StopReason
from supervisor.upgrade import Inheritance, Succession

SECOND_TERM_S = 1.0  # a TERM this much later is meant
EXTEND_S = 10.0  # asked of systemd beyond the drain deadline


@dataclass(frozen=True, slots=True)
class Generation:
    """The program as one reading of the settings made it."""

    program: Program
    number: int


class PoolLifecycle:
    """
    Args:
        program: What is run first; reloads put others in its place.
        inheritance: From a predecessor that waits for us to be ready.
        control: Handed on with the pool.
    """

    def __init__(
        self,
        program: Program,
        board: Scoreboard,
        log: Journal,
        now: Callable[[], float],
        processes: Processes,
        succession: Succession,
        notify: Notify | None,
        inheritance: Inheritance | None,
        control: ControlSocket | None,
    ) -> None:
        self.mode = Mode.STARTING
        self.status = 0  # the exit status
        self.generation = Generation(program, 1)
        self.drained: Drain | None = None
        self.notify = notify
        self._board = board
        self._log = log
        self._now = now
        self._processes = processes
        self._succession = succession
        self._inheritance = inheritance
        self._control = control
        self._previous: Generation | None = None  # to go back to when a reload fails
        self._generations = 1  # so far
        self._reload_later = False
        self._await_check: list[Callable[[str], None]] = []  # asked for a reload, and wait for what is said of it
        self._drain_asked_at: float | None = None
        self._scaling = Scaling(_bounds(program.pool), now())
        self._pool: Pool
        self._services: Pool
        self._keeper: KeeperSlot

    def lead(self, pool: Pool, services: Pool, keeper: KeeperSlot) -> None:
        """Take over *pool*, *services* and *keeper*, which need us to be made, and begin."""
        self._pool, self._services, self._keeper = pool, services, keeper
        self._board.head.mode = self.mode
        self._board.head.heir = self._inheritance is not None
        self._keeper.fill()
        self._resize(self.generation.program.pool)

    # What happens to it.

    def feed(self, event: PoolEvent) -> None:
        step = POOL.get((self.mode, event))
        if step is None:
            self._log("error", "lifecycle.unlisted", mode=self.mode, pool_event=event)
            return
        self.mode = self._board.head.mode = step.mode
        action: Callable[[], None] = getattr(self, step.action)
        action()

    def asked_to_drain(self) -> None:
        """Drain; asked a second time, and not by the same keystroke, hurry."""
        if self._drain_asked_at is None:
            self._drain_asked_at = self._now()
        again = self._now() - self._drain_asked_at > SECOND_TERM_S
        self.feed(PoolEvent.HURRY if again else PoolEvent.DRAIN)

    def ask_to_reload(self, checked: Callable[[str], None]) -> None:
        """
        Reload as SIGHUP does.

        Args:
            checked: Called once: with why it can't be, or with nothing when the settings are checked.
        """
        self._await_check.append(checked)
        self.feed(PoolEvent.RELOAD)
        if self.mode in (Mode.DRAINING, Mode.STOPPED):
            self._tell_checked("the pool is draining")

    def boot_failed(self, died: Exit, failures: int) -> None:
        """Decide whether that ends a reload or the pool; see `Host`."""
        refused, starting, ready = died.code == WRONG_SETTINGS, self.mode is Mode.STARTING, self._pool.ready
        if self.mode is Mode.RELOADING and self._previous is not None:
            if refused or failures > 1:
                self.feed(PoolEvent.BOOT_FAILED)
        elif refused and (starting or ready == 0 or not self._board.head.gate):  # the gate: nothing was ever taken
            self._give_up(WRONG_SETTINGS)
        elif self._hopeless(starting, ready):
            self._give_up(1)

    @property
    def bounds(self) -> Bounds:
        """How many slots there may be."""
        return self._scaling.bounds

    def scale(self, bounds: Bounds) -> None:
        """Have as many slots as there are now, within *bounds*."""
        self._scaling.move(bounds)
        head = self._board.head
        head.least, head.most = bounds.least, bounds.most
        self._pool.resize(bounds.within(head.configured))
        head.scaled = self._scaling.reason(head.configured)

    def superseded(self, heir: int) -> None:
        """Leave everything to the successor *heir*, which is ready."""
        self._board.head.superseded = True
        self._board.keeper_event_fd.ring()
        if self._control is not None:
            self._control.shut()
        if self.notify is not None:
            self.notify.main_pid(heir)
            self.notify = None  # from here on the successor speaks for the unit
        self.feed(PoolEvent.DRAIN)

    def advance(self) -> None:
        """Go as far as is possible now."""
        match self.mode:
            case Mode.STARTING if self._pool.all_up and self._services.all_up and self._keeper.ready:
                self.feed(PoolEvent.ALL_UP)
            case Mode.RUNNING:
                self._pool.roll()
                self._services.roll()
                self._scale()
            case Mode.RELOADING:
                self._roll()
            case Mode.DRAINING if self.drained is not None:
                self.drained.advance()
                if self.drained.done:
                    self.feed(PoolEvent.ENDED)
            case _:
                pass

    # What follows: actions, by their names in the table.

    def nothing(self) -> None:
        pass

    def announce_ready(self) -> None:
        configured = {"workers": self._board.head.configured, "services": self._services.board.head.configured}
        self._log(
            "info", "pool.ready", **{name: count for name, count in configured.items() if count or name == "workers"}
        )
        self._board.head.heir = False
        if self._inheritance is not None:
            self._inheritance.announce()
            self._inheritance = None
        if self._control is not None:
            self._control.open()
        if self.notify is not None:
            self.notify.ready()
        if self._reload_later:
            self._reload_later = False
            self.feed(PoolEvent.RELOAD)

    def go_on(self) -> None:
        """Be up and running, with nothing to go back to."""
        self._previous = None
        self._board.head.on_trial = False

    def remember_reload(self) -> None:
        self._reload_later = True

    def reload(self) -> None:
        try:
            program = self._read_settings()
        except ReloadRefused as refused:
            self.feed(PoolEvent.REFUSED)  # first: whoever hears of it finds the pool running
            self._tell_refused(refused)
        else:
            self._adopt_new(program)

    def reload_again(self) -> None:
        """Roll on to still newer settings; where they can't be used, to those that are being rolled out."""
        try:
            program = self._read_settings()
        except ReloadRefused as refused:
            self._tell_refused(refused)
        else:
            self._adopt_new(program)

    def abandon_reload(self) -> None:
        """Go back to the settings before: a child did not come up with the new ones."""
        if self._previous is not None:
            before, self._previous = self._previous, None
            self._log("error", "pool.reload_abandoned", reason=self._board.head.reason)
            self._adopt(before)

    def end_reload(self) -> None:
        self._log("info", "pool.reloaded", generation=self.generation.number)
        self.go_on()

    def drain(self) -> None:
        self._tell_checked("the pool is draining")
        settings = self.generation.program.pool
        self._log("info", "pool.draining", timeout_s=settings.drain_timeout_s)
        self._succession.abandon("the pool is draining")
        if self.notify is not None:
            self.notify.stopping()
            self.notify.extend(settings.drain_timeout_s + EXTEND_S)
        self.drained = Drain(self._pool, self._services, self._keeper, self._processes, settings, self._now)
        self.drained.begin()

    def hurry(self) -> None:
        if self.drained is None:
            self.drain()
        if self.drained is not None:
            self._log("info", "pool.hurried", timeout_s=self.drained.settings.hurry_timeout_s)
            self.drained.hurry()

    def end(self) -> None:
        if self.drained is not None and self.drained.killed:
            self.status = self.status or 1

    # Means.

    def _read_settings(self) -> Program:
        """
        The program with the settings as they are now.

        Raises:
            ReloadRefused: They can't be used; whatever the reason is, the pool goes on as it is.
        """
        if self.notify is not None:
            self.notify.reloading()
        try:
            return self.generation.program.reload()
        except ReloadRefused:
            raise
        except Exception as error:
            raise ReloadRefused(f"{type(error).__name__}: {error}") from error
        finally:
            # For systemd it ends here: the roll waits for items, for as long as those take.
            if self.notify is not None:
                self.notify.ready()

    def _tell_refused(self, refused: ReloadRefused) -> None:
        self._log("error", "pool.reload_refused", reason=str(refused))
        self._tell_checked(str(refused))

    def _adopt_new(self, program: Program) -> None:
        self._board.head.log_level = ""
        self._log("info", "pool.reloading", workers=program.pool.workers)
        self._tell_checked("")
        self._generations += 1
        self._previous = self._previous or self.generation
        self._processes.freeze_heap()
        self._adopt(Generation(program, self._generations))

    def _tell_checked(self, problem: str) -> None:
        waiting, self._await_check = self._await_check, []
        for checked in waiting:
            checked(problem)

    def _adopt(self, generation: Generation) -> None:
        self.generation = generation
        self._board.head.on_trial = self._previous is not None
        self._keeper.program = generation.program
        self._keeper.backoff.forgive()
        self._keeper.dismiss(StopReason.RELOADED)
        for pool in (self._pool, self._services):
            pool.renew(generation.program)
        self._resize(generation.program.pool)

    def _resize(self, settings: PoolSettings) -> None:
        self.scale(_bounds(settings))
        self._services.resize(settings.services)

    def _scale(self) -> None:
        """Have as many slots as there is work for."""
        head, before = self._board.head, self._board.head.configured
        if self._scaling.bounds.fixed or head.paused:
            return
        busy = self._pool.busy
        # What was seen to wait a moment ago new workers may have in hand by now.
        load = Load(busy, max(head.demand - busy, 0), head.throttled, head.room)
        decision = self._scaling.decide(before, load, self._now())
        head.scaled = decision.reason
        if decision.slots == before:
            return
        self._pool.resize(decision.slots)
        if head.configured < decision.slots:
            self._scaling.no_room(self._now())
        fields = {"workers": head.configured, "before": before, "busy": load.busy, "waiting": load.waiting}
        self._log("info", "pool.scaled", **fields, reason=decision.reason)

    def _roll(self) -> None:
        # The keeper goes first: workers need the leases it keeps.
        if not self._keeper.ready or self._keeper.old:
            return
        if self._pool.rolled and self._services.rolled:
            self.feed(PoolEvent.ROLLED)
        else:
            self._pool.roll()
            self._services.roll()

    def _hopeless(self, starting: bool, ready: int) -> bool:
        workers = hopeless([slot.backoff.boot_failures for slot in self._pool.staying], ready)
        services = hopeless([slot.backoff.boot_failures for slot in self._services.staying], self._services.ready)
        keeper = hopeless([self._keeper.backoff.boot_failures], int(self._keeper.ready))
        return workers or (starting and (keeper or services))

    def _give_up(self, status: int) -> None:
        self.status = self.status or status
        reason = self._board.head.reason or self._services.board.head.reason or "no child comes up"
        self._log("error", "pool.given_up", status=status, reason=reason)
        self.feed(PoolEvent.GIVE_UP)


def _bounds(settings: PoolSettings) -> Bounds:
    return Bounds(settings.workers, max(settings.workers, settings.most_workers))
