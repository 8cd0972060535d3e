"""All slots of a pool: the keeper's, and those of each kind, of which there are any number."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Protocol

from supervisor.pool import Pool
from supervisor.processes.processes import Child, Exit
from supervisor.program import Program
from supervisor.scoreboard.scoreboard import Scoreboard
from supervisor.slots.host import Host, Rules
from supervisor.slots.keeper_slot import KeeperSlot
from supervisor.slots.respawn import hopeless
from supervisor.slots.service_slot import ServiceSlot
from supervisor.slots.worker_slot import WorkerSlot
from supervisor.transitions import StopReason


class Makes(Protocol):
    """A kind of slot: what is made for each number."""

    def __call__(self, board: Scoreboard, number: int, host: Host, rules: Rules, program: Program) -> WorkerSlot: ...


def _worker(board: Scoreboard, number: int, host: Host, rules: Rules, program: Program) -> WorkerSlot:
    return WorkerSlot(board.row(number), board, host, rules, program)


def _service(board: Scoreboard, number: int, host: Host, rules: Rules, program: Program) -> WorkerSlot:
    return ServiceSlot(board.row(number), board, host, rules, program)


class PoolSlots:
    """
    Args:
        boards: The workers' scoreboard, and the services'.
        make_room: Sees to it that so many descriptors may be open.

    Attributes:
        workers, services: The kinds.
        keeper: There is one.
    """

    def __init__(
        self,
        program: Program,
        boards: tuple[Scoreboard, Scoreboard],
        host: Host,
        rules: Rules,
        make_room: Callable[[int], None],
    ) -> None:
        self._program = program
        self._host = host
        self._rules = rules
        self._make_room = make_room
        workers, services = boards
        self.workers = self._kind(workers, _worker, least=min(1, program.pool.workers))
        self.services = self._kind(services, _service, least=0)
        self.keeper = KeeperSlot(workers, host, rules, program)
        self._kinds = (self.workers, self.services)

    def _kind(self, board: Scoreboard, make: Makes, *, least: int) -> Pool:
        def hire(number: int) -> WorkerSlot:
            return make(board, number, self._host, self._rules, self._program)

        return Pool(board, hire, self._host.now, self._make_room, self._host.log, least=least)

    @property
    def all(self) -> list[WorkerSlot]:
        """Of all kinds."""
        return [slot for kind in self._kinds for slot in kind.slots]

    @property
    def all_up(self) -> bool:
        return self.keeper.ready and all(kind.all_up for kind in self._kinds)

    def exited(self, child: Child, died: Exit) -> bool:
        """Tell the slot of a child that was reaped; answers whether it was one of ours."""
        slot = self.keeper if self.keeper.child == child else self.workers.of(child) or self.services.of(child)
        if slot is None:
            return False
        slot.exited(died)
        return True

    def observe(self) -> None:
        for one in (self.keeper, *self._kinds):
            one.observe()

    def refill(self) -> None:
        for one in (self.keeper, *self._kinds):
            one.refill()

    def signal(self, number: signal.Signals) -> None:
        for one in (self.keeper, *self._kinds):
            one.signal(number)

    def next_look(self) -> float | None:
        looks = [one.next_look() for one in (self.keeper, *self._kinds)]
        return min((at for at in looks if at is not None), default=None)

    def renew(self, program: Program) -> None:
        """Give all slots the settings in force: the keeper first, the others in turns."""
        self._program = self.keeper.program = program
        self.keeper.backoff.forgive()
        self.keeper.dismiss(StopReason.RELOADED)
        for kind in self._kinds:
            kind.renew(program)

    def roll(self) -> bool:
        """Replace the slot that is next; answers whether all have the settings in force, and are up."""
        # The keeper goes first: workers need the leases it keeps.
        if not self.keeper.ready or self.keeper.old:
            return False
        if all(kind.rolled for kind in self._kinds):
            return True
        self.replace_worn()
        return False

    def replace_worn(self) -> None:
        for kind in self._kinds:
            kind.roll()

    def hopeless(self, starting: bool, ready: int) -> bool:
        """Tell whether nothing will come up any more, *ready* being the workers that are up."""
        workers = hopeless([slot.backoff.boot_failures for slot in self.workers.staying], ready)
        services = hopeless([slot.backoff.boot_failures for slot in self.services.staying], self.services.ready)
        keeper = hopeless([self.keeper.backoff.boot_failures], int(self.keeper.ready))
        return workers or (starting and (keeper or services))
