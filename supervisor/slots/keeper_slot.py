"""The keeper's slot: watched by its beat."""

from __future__ import annotations

from supervisor.keeper.loop import stay_until_dismissed
from supervisor.program import Program
from supervisor.scoreboard.scoreboard import Scoreboard
from supervisor.slots.host import Host, Rules
from supervisor.slots.slot import Slot
from supervisor.transitions import SlotEvent, SlotState, StopReason

LONGEST_GAP_S = 1.0  # of silence counted between two looks: if it was more, it was we who did not look


class KeeperSlot(Slot):
    """The one process that talks to the outside for the pool."""

    kind = "keeper"

    def __init__(self, board: Scoreboard, host: Host, rules: Rules, program: Program) -> None:
        super().__init__("keeper", host, rules)
        self.board = board
        self.program = program
        self._beat_ns = 0
        self._silent_s = 0.0
        self._looked_at = 0.0

    def main(self) -> int:
        try:
            return self.program.keep()
        except Exception as error:
            if not self.board.head.keeper_beat_ns:
                self.board.head.reason = f"{type(error).__name__}: {error}"
            raise

    def set_handlers(self) -> None:
        stay_until_dismissed(self.board)

    def label(self) -> dict[str, object]:
        return {}

    def is_up(self) -> bool:
        return self.board.head.keeper_beat_ns > 0

    def prepare(self) -> None:
        self.board.head.keeper_beat_ns = 0
        self.board.head.keeper_dismissed = False
        self.board.keeper_event_fd.clear()
        self._beat_ns, self._silent_s, self._looked_at = 0, 0.0, self.host.now()

    def fork(self) -> None:
        super().fork()
        self.board.head.keeper_pid = self.pid

    def buried(self) -> None:
        self.board.head.keeper_pid = 0

    def refills(self) -> bool:
        return not self.rules.draining or (self.rules.keeper_needed and not self.wrong_settings)

    def count_restart(self, reason: str) -> None:
        self.board.head.keeper_restarts += 1

    def longest_wait_s(self) -> float:
        return self.rules.settings.keeper_wait_s

    def tell(self) -> None:
        self.board.head.keeper_dismissed = True

    def record_kill(self, reason: str) -> None:
        """Nothing: it had nothing in hand."""

    def watch(self, now: float) -> None:
        self._listen(now)
        if self.state is SlotState.STARTING:
            if self.is_up():
                self.feed(SlotEvent.CAME_UP)
            elif self._silent_s > self.rules.settings.boot_timeout_s:
                self.kill(StopReason.HUNG_BOOT, StopReason.HUNG_BOOT)
        elif self.state is SlotState.DRAINING:
            if now > self.asked_at + self.rules.settings.keeper_close_s:
                self.kill("stuck", StopReason.SILENT)
        elif self._silent_s > self.rules.settings.keeper_silence_s:
            self.kill(StopReason.SILENT, StopReason.SILENT)

    def _listen(self, now: float) -> None:
        beat_ns = self.board.head.keeper_beat_ns
        silence = 0.0 if beat_ns != self._beat_ns else self._silent_s + min(now - self._looked_at, LONGEST_GAP_S)
        self._beat_ns, self._silent_s, self._looked_at = beat_ns, silence, now
