"""The program that a pool runs: the only place that knows what workers do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from supervisor.scoreboard.row import Row

if TYPE_CHECKING:
    from supervisor.processes.stacks import Frame


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Durations are seconds; 0 for a limit means none."""

    name: str  # in process titles
    workers: int  # at least, if there may be more
    most_workers: int = 0  # as many as there is work for, up to this; 0: `workers`, always
    services: int = 0  # processes that run `Program.serve`
    drain_timeout_s: float = 60.0  # from SIGTERM to the last worker killed
    hurry_timeout_s: float = 3.0  # the same after SIGQUIT
    boot_timeout_s: float = 60.0  # from the fork until the row says idle
    idle_timeout_s: float = 90.0  # an idle worker that does not come round is woken, and a third of this later killed
    keeper_silence_s: float = 10.0  # without a beat the keeper is replaced
    keeper_wait_s: float = 30.0  # before one that died again and again is forked again, at most
    keeper_close_s: float = 3.0  # for the keeper to give back what dead workers held
    max_rss_bytes: int = 0  # a worker beyond it is replaced between items
    restarts_key: str = "restarts\x1f{reason}"  # what restarts are counted under in the head's counters


class Program(Protocol):
    """Loaded once, before the first fork; its methods run in the process that is named."""

    @property
    def pool(self) -> PoolSettings: ...

    def work(self, row: Row) -> int:
        """
        In a worker: do its work until asked to leave.

        Write `row.state = "idle"` and ring `board.event_fd` once up; the clock of `boot_timeout_s` runs until then.
        SIGTERM: finish what is in hand and return 0. SIGQUIT: give it back and return 0. `row.leaving` says
        either was sent. SIGUSR1 writes all stacks to where the supervisor
        reads them (already registered), SIGHUP: reopen logs.

        Returns:
            The exit status: 0 asked to leave, 78 wrong settings (reason in `head.reason`), else a crash.
        """

    def keep(self) -> int:
        """In the keeper: run a `Keeper` until asked to leave (SIGTERM). Exit status as for `work`."""

    def serve(self, row: Row) -> int:
        """
        In a service: serve others until asked to leave.

        *row* is one of the services' scoreboard, not of the workers'. Write `row.state = "idle"` and ring the workers'
        `board.event_fd` once up; put off its deadline (`row.enter`) again and again if a service that hangs is to be
        replaced. SIGTERM: finish what is being served and return 0. SIGQUIT: return 0 at once.

        Returns:
            The exit status, as for `work`; the reason goes to the head of the services' scoreboard.
        """

    def source_line_in(self, frames: Sequence[Frame]) -> str:
        """In the supervisor: name the line of the first of *frames*, innermost first, in the user's code; or ""."""

    def reload(self) -> Program:
        """
        In the supervisor: read the settings again.

        Raises:
            ReloadRefused: They can't be used.
        """

    def reopen_logs(self) -> None:
        """In the supervisor, at SIGUSR1."""
