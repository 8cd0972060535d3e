"""
A pool from its start to its end: what `transitions.POOL` says, done.

It decides over the whole; the single slots look after themselves.
"""

from __future__ import annotations

from collections.abc import Callable

from supervisor.control.control_socket import ControlSocket
from supervisor.control.systemd import Notify
from supervisor.drain import Drain
from supervisor.errors import WRONG_SETTINGS, ReloadRefused
from supervisor.generations import Generations
from supervisor.pool_slots import PoolSlots
from supervisor.pool_view import PoolView
from supervisor.processes.processes import REOPEN_LOGS, Child, Exit, Processes
from supervisor.program import PoolSettings, Program
from supervisor.scaling import Bounds
from supervisor.scoreboard.scoreboard import Scoreboard
from supervisor.sizing import Sizing, bounds_of
from supervisor.slots.host import Host
from supervisor.transitions import POOL, Mode, PoolAction, PoolEvent
from supervisor.upgrade import Inheritance, Succession

UPGRADE_BOOTS = 3  # boot timeouts a successor has
SECOND_TERM_S = 1.0  # a TERM this much later is meant
EXTEND_S = 10.0  # asked of systemd beyond the drain deadline


class PoolLifecycle:
    """
    Owns the pool's slots, services and keeper, and takes them from start to end; what signals and commands ask for.

    Args:
        program: What is run first; reloads put others in its place.
        boards: The workers' scoreboard, and the services'.
        inheritance: From a predecessor that waits for us to be ready.
        control: Handed on with the pool.
    """

    def __init__(
        self,
        program: Program,
        boards: tuple[Scoreboard, Scoreboard],
        host: Host,
        processes: Processes,
        succession: Succession,
        notify: Notify | None = None,
        inheritance: Inheritance | None = None,
        control: ControlSocket | None = None,
    ) -> None:
        self.mode = Mode.STARTING
        self.status = 0  # the exit status
        self.board = boards[0]
        self.log, self._now = host.log, host.now
        self.notify = notify
        self._host = host
        self._processes = processes
        self._succession = succession
        self._inheritance = inheritance
        self._control = control
        self._generations = Generations(program)
        self._drained: Drain | None = None
        self._reload_later = False
        self._drain_asked_at: float | None = None
        self._slots = PoolSlots(program, boards, host, self, processes.make_room)
        self.view = PoolView(self._slots, self.board, host.log, host.now)
        self._sizing = Sizing(self._slots.workers, program.pool, host.log, host.now)

    def begin(self) -> None:
        """Fork the keeper and all others."""
        self.board.head.mode = self.mode
        self.board.head.heir = self._inheritance is not None
        self._slots.keeper.fill()
        self._resize()

    # What slots go by.

    @property
    def settings(self) -> PoolSettings:
        return self._generations.current.program.pool

    @property
    def generation(self) -> int:
        return self._generations.current.number

    @property
    def draining(self) -> bool:
        return self._drained is not None

    @property
    def keeper_needed(self) -> bool:
        return self._drained is None or self._drained.keeper_needed

    # The loop's turns.

    def exited(self, child: Child, died: Exit) -> bool:
        """Note that a child was reaped; answers whether it was one of ours."""
        return self._slots.exited(child, died)

    def observe(self) -> None:
        """See what has become of the children and of a successor."""
        self._slots.observe()
        heir = self._succession.ready_pid(self._now())
        if heir:
            self._superseded(heir)

    def act(self) -> None:
        """Fork what is due, and go as far as is possible now."""
        self._slots.refill()
        self.view.advance()
        self._advance()

    def next_look(self) -> float | None:
        """Return when something is to be done here that no event announces."""
        looks = [self._slots.next_look(), self.view.next_look()]
        looks.append(None if self._drained is None else self._drained.next_look())
        return min((at for at in looks if at is not None), default=None)

    # What signals and commands ask for.

    def drain(self) -> None:
        """Unlike SIGTERM, asked for again it is not meant more urgently."""
        self.feed(PoolEvent.DRAIN)

    def asked_to_drain(self) -> None:
        """Drain; asked a second time, and not by the same keystroke, hurry."""
        if self._drain_asked_at is None:
            self._drain_asked_at = self._now()
        again = self._now() - self._drain_asked_at > SECOND_TERM_S
        self.feed(PoolEvent.HURRY if again else PoolEvent.DRAIN)

    def reload(self, checked: Callable[[str], None]) -> None:
        """
        Reload as SIGHUP does.

        Args:
            checked: Called once: with why it can't be, or with nothing when the settings are checked.
        """
        self._generations.await_check(checked)
        self.feed(PoolEvent.RELOAD)
        if self.mode in (Mode.DRAINING, Mode.STOPPED):
            self._generations.tell_checked("the pool is draining")

    def scale(self, bounds: Bounds) -> None:
        if self.mode is not Mode.DRAINING:
            self._sizing.scale(bounds)

    def grow(self) -> None:
        self.scale(self._sizing.bounds.one_more(self.board.head.configured))

    def shrink(self) -> None:
        self.scale(self._sizing.bounds.one_fewer(self.board.head.configured))

    def pause(self, paused: bool) -> None:
        if self.board.head.paused is not paused:
            self.board.head.paused = paused
            self.log("info", "pool.paused" if paused else "pool.resumed")
            self._slots.workers.wake()
            self.board.keeper_event_fd.ring()

    def reopen_logs(self) -> None:
        self._generations.current.program.reopen_logs()
        self._slots.signal(REOPEN_LOGS)

    def note_stops(self) -> None:
        """Note which workers were stopped by a signal, or go on."""
        for child, stopped in self._processes.stops():
            slot = self._slots.workers.of(child)
            if slot is not None:
                slot.note_stopped(stopped)

    def upgrade(self) -> None:
        """Start a successor."""
        if self.mode is not Mode.RUNNING:
            self.log("error", "upgrade.refused", reason=f"the pool is {self.mode}")
            return
        deadline = self._now() + UPGRADE_BOOTS * self.settings.boot_timeout_s
        self._succession.attempt(self.board.head, self.notify, deadline)

    # What happens to it.

    def feed(self, event: PoolEvent) -> None:
        step = POOL.get((self.mode, event))
        if step is None:
            self.log("error", "lifecycle.unlisted", mode=self.mode, pool_event=event)
            return
        self.mode = self.board.head.mode = step.mode
        self._act_on(step.action)

    def boot_failed(self, died: Exit, failures: int) -> None:
        """Decide whether that ends a reload or the pool; see `Host`."""
        refused, starting, ready = died.code == WRONG_SETTINGS, self.mode is Mode.STARTING, self._slots.workers.ready
        if self.mode is Mode.RELOADING and self._generations.previous is not None:
            if refused or failures > 1:
                self.feed(PoolEvent.BOOT_FAILED)
        elif refused and (starting or ready == 0 or not self.board.head.gate):  # the gate: nothing was ever taken
            self._give_up(WRONG_SETTINGS)
        elif self._slots.hopeless(starting, ready):
            self._give_up(1)

    def _superseded(self, heir: int) -> None:
        """Leave everything to the successor *heir*, which is ready."""
        self.board.head.superseded = True
        self.board.keeper_event_fd.ring()
        if self._control is not None:
            self._control.shut()
        if self.notify is not None:
            self.notify.main_pid(heir)
            self.notify = None  # from here on the successor speaks for the unit
        self.feed(PoolEvent.DRAIN)

    def _advance(self) -> None:
        """Go as far as is possible now."""
        match self.mode:
            case Mode.STARTING if self._slots.all_up:
                self.feed(PoolEvent.ALL_UP)
            case Mode.RUNNING:
                self._slots.replace_worn()
                self._sizing.advance()
            case Mode.RELOADING:
                if self._slots.roll():
                    self.feed(PoolEvent.ROLLED)
            case Mode.DRAINING if self._drained is not None:
                self._drained.advance()
                if self._drained.done:
                    self.feed(PoolEvent.ENDED)
            case _:
                pass

    # Actions.

    def _act_on(self, action: PoolAction) -> None:
        match action:
            case PoolAction.NOTHING:
                pass
            case PoolAction.ANNOUNCE_READY:
                self._announce_ready()
            case PoolAction.REMEMBER_RELOAD:
                self._reload_later = True
            case PoolAction.RELOAD:
                self._read_settings(PoolEvent.REFUSED)
            case PoolAction.RELOAD_AGAIN:
                self._read_settings()
            case PoolAction.GO_ON:
                self._go_on()
            case PoolAction.ABANDON_RELOAD:
                self._abandon_reload()
            case PoolAction.END_RELOAD:
                self._end_reload()
            case PoolAction.DRAIN:
                self._begin_drain()
            case PoolAction.HURRY:
                self._hurry()
            case PoolAction.END:
                self._end()

    def _announce_ready(self) -> None:
        configured = {"workers": self.board.head.configured, "services": self._slots.services.board.head.configured}
        self.log(
            "info", "pool.ready", **{name: count for name, count in configured.items() if count or name == "workers"}
        )
        self.board.head.heir = False
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

    def _go_on(self) -> None:
        """Be up and running, with nothing to go back to."""
        self._generations.previous = None
        self.board.head.on_trial = False

    def _read_settings(self, refused: PoolEvent | None = None) -> None:
        """Roll on to newer settings; if they can't be used it goes on as it is, or as *refused* says."""
        try:
            program = self._generations.read(self.notify)
        except ReloadRefused as error:
            if refused is not None:
                self.feed(refused)  # first: a process that hears of it finds the pool running
            self.log("error", "pool.reload_refused", reason=str(error))
            self._generations.tell_checked(str(error))
        else:
            self._adopt(program)

    def _abandon_reload(self) -> None:
        """Go back to the settings before: a child did not come up with the new ones."""
        if self._generations.previous is not None:
            self._generations.go_back()
            self.log("error", "pool.reload_abandoned", reason=self.board.head.reason)
            self._renew()

    def _end_reload(self) -> None:
        self.log("info", "pool.reloaded", generation=self.generation)
        self._go_on()

    def _begin_drain(self) -> None:
        self._generations.tell_checked("the pool is draining")
        settings = self.settings
        self._succession.abandon("the pool is draining")
        if self.notify is not None:
            self.notify.stopping()
            self.notify.extend(settings.drain_timeout_s + EXTEND_S)
        self._drained = Drain(self._slots, self._processes, settings, self._now, self._succession.refuse)
        self._drained.begin()
        self.log("info", "pool.draining", timeout_s=settings.drain_timeout_s)  # who reads it finds all told

    def _hurry(self) -> None:
        if self._drained is None:
            self._begin_drain()
        if self._drained is not None:
            self.log("info", "pool.hurried", timeout_s=self._drained.settings.hurry_timeout_s)
            self._drained.hurry()

    def _end(self) -> None:
        if self._drained is not None and self._drained.killed:
            self.status = self.status or 1

    # Means.

    def _adopt(self, program: Program) -> None:
        self.board.head.log_level = ""
        self.log("info", "pool.reloading", workers=program.pool.workers)
        self._generations.tell_checked("")
        self._processes.freeze_heap()
        self._generations.adopt(program)
        self._renew()

    def _renew(self) -> None:
        self.board.head.on_trial = self._generations.previous is not None
        self._slots.renew(self._generations.current.program)
        self._resize()

    def _resize(self) -> None:
        self._sizing.set_bounds(bounds_of(self.settings))
        self._slots.services.resize(self.settings.services)

    def _give_up(self, status: int) -> None:
        self.status = self.status or status
        reason = self.board.head.reason or self._slots.services.board.head.reason or "no child comes up"
        self.log("error", "pool.given_up", status=status, reason=reason)
        self.feed(PoolEvent.GIVE_UP)
