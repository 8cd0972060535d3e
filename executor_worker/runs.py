"""One ticket's run: limited, watched, written down, and ended from outside where that is asked for."""

from __future__ import annotations

from collections.abc import Callable

from executor_worker.errors import Abandoned, Interrupt, Overdue, StreamError
from executor_worker.executor import Executor, Task
from executor_worker.intake import Ticket
from executor_worker.item_watch import ItemWatch
from executor_worker.metrics import Recorder
from executor_worker.nodes.journal import Journal
from executor_worker.outcome import Failed
from executor_worker.stream import Held
from executor_worker.watch import Watch
from supervisor.scoreboard import Row


class Runs:
    """
    Args:
        holds: Asks Redis whether an item is still held as it was taken, and renews its lease if so.
        journal_of: Makes the journal of a ticket's run.
    """

    def __init__(
        self,
        row: Row,
        executor: Executor,
        holds: Callable[[Held], bool],
        journal_of: Callable[[Ticket, Watch], Journal],
    ) -> None:
        self._row = row
        self._executor = executor
        self._holds = holds
        self._journal_of = journal_of
        self._recorder = Recorder(row.counters)
        self._interruptible = False
        self._unwanted: Interrupt | None = None

    def run(self, ticket: Ticket, task: Task, started: float) -> None:
        """
        Run *task* and leave what came of it in *ticket*.

        Args:
            started: When the item was taken, in seconds on the monotonic clock.

        Raises:
            Abandoned: The item is somebody else's, or has to be given back.
        """
        deadline = started + ticket.seconds
        self._row.begin(str(ticket.held), ticket.label, "running", int(deadline * 1e9))
        watch = ItemWatch(deadline, ticket.run_key, self._row, self._recorder, lambda: self._still_ours(ticket.held))
        try:
            self._interruptible = True
            if self._unwanted is not None:
                raise self._unwanted
            ticket.outcome = self._executor.execute(task, watch, self._journal_of(ticket, watch))
        except Overdue:
            ticket.outcome = Failed(f"the node did not end within {ticket.seconds:g} s", "node_timeout")
        finally:
            self._interruptible = False

    def abandon(self, reason: str) -> None:
        """
        End the run in progress, and any other that may still begin; called by a signal's handler.

        Raises:
            Abandoned: There is one in progress: in the midst of it.
        """
        self._unwanted = Abandoned(reason)
        if self._interruptible:
            self._interruptible = False
            raise self._unwanted

    def _still_ours(self, held: Held) -> bool:
        """Ask Redis itself, where the scoreboard says that the lease is lost: it may have meant the item before."""
        try:
            return self._holds(held)
        except StreamError:
            return True
