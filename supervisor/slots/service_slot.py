"""A service's slot: a process that serves others for the pool, watched through its row of a scoreboard of its own."""

from __future__ import annotations

from supervisor.processes.stacks import Frame
from supervisor.slots.worker_slot import GRACE_NS, WorkerSlot
from supervisor.transitions import SlotState, StopReason


class ServiceSlot(WorkerSlot):
    """
    Service number `row.slot`, one generation after the other.

    It is up when its row says idle. Again and again it puts off its row's deadline: one past which it is held up, and
    is replaced.
    """

    kind = "service"
    title = "service"

    def main(self) -> int:
        try:
            return self.program.serve(self.row)
        except Exception as error:
            if self.row.activity == "starting":
                self.board.head.reason = f"{type(error).__name__}: {error}"
            raise

    def label(self) -> dict[str, object]:
        return {"service": self.row.slot}

    @property
    def settled(self) -> bool:
        """Tell that nothing is left to give back: a service holds no item."""
        return self.child is None

    def useful(self) -> bool:
        return False

    def watch(self, now: float) -> None:
        if self.state is SlotState.STARTING:
            self._watch_boot(now)
        elif self.row.deadline_ns and now * 1e9 > self.row.deadline_ns + GRACE_NS and self.kill_at is None:
            self.kill("deadline", StopReason.HUNG)

    def record_kill(self, reason: str) -> None:
        """Nothing: it had nothing in hand."""

    def note_stack(self, frames: list[Frame]) -> None:
        """Nothing: it had nothing in hand."""

    def details(self) -> dict[str, object]:
        return {}
