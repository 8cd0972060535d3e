"""One ticket's run: limited, watched, written down, and ended from outside where that is asked for."""

from __future__ import annotations

from collections.abc import Callable

from executor_worker.broker import Held
from executor_worker.errors import Abandoned, Interrupt, Overdue, Stopped, StreamError
from executor_worker.graph.state import is_cancelled
from executor_worker.nodes.executor import Executor, Task
from executor_worker.nodes.journal import Journal
from executor_worker.outcome import Failed
from executor_worker.run_context import RunContext
from executor_worker.telemetry.metrics import Recorder
from executor_worker.telemetry.tracing import NO_TRACING, Tracing
from executor_worker.worker.intake import Ticket
from executor_worker.worker.run_control import NOT_WANTED, RunControl
from supervisor.scoreboard.scoreboard import Row


class Runs:
    """
    Args:
        holds: Asks Redis whether an item is still held as it was taken, and renews its lease if so.
        read_state: Reads a graph's document by its key.
        journal_of: Makes the journal of a ticket's run.
    """

    def __init__(
        self,
        row: Row,
        executor: Executor,
        holds: Callable[[Held], bool],
        read_state: Callable[[str], bytes | None],
        journal_of: Callable[[Ticket, RunContext], Journal],
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self._row = row
        self._executor = executor
        self._holds = holds
        self._read_state = read_state
        self._journal_of = journal_of
        self._tracing = tracing
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
            Postponed: Its model can't be called for a while.
        """
        deadline = started + ticket.seconds
        self._row.proceed(ticket.label, "running", int(deadline * 1e9))
        self._row.attempt = ticket.attempt
        self._row.begin_run(ticket.state_key or "")
        try:
            self._execute(ticket, task, self._run_context(ticket, deadline))
        except Overdue:
            ticket.outcome = Failed(f"the node did not end within {ticket.seconds:g} s", "node_timeout")
        except Stopped as stopped:
            ticket.outcome = Failed(str(stopped), "cancelled")
        finally:
            self._row.end_run()

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

    def end_if_over(self) -> None:
        """
        End the run in progress if the scoreboard says that it is over; called by a signal's handler.

        Raises:
            Stopped: Its graph was cancelled: in the midst of it.
            Abandoned: Its item is somebody else's: in the midst of it.
        """
        if self._interruptible and self._row.run_is_over:
            self._interruptible = False
            lost = self._row.lost_run == self._row.run
            raise Abandoned("the item was taken over") if lost else Stopped(NOT_WANTED)

    def _execute(self, ticket: Ticket, task: Task, run_context: RunContext) -> None:
        try:
            self._interruptible = True
            if self._unwanted is not None:
                raise self._unwanted
            ticket.outcome = self._executor.execute(task, run_context, self._journal_of(ticket, run_context))
        finally:
            self._interruptible = False

    def _run_context(self, ticket: Ticket, deadline: float) -> RunControl:
        def ours() -> bool:
            return self._still_ours(ticket.held)

        def cancelled() -> bool:
            return self._is_cancelled(ticket.state_key or "")

        return RunControl(
            deadline,
            ticket.run_key,
            self._row,
            self._recorder,
            ours,
            cancelled,
            refused=ticket.refused,
            tracing=self._tracing,
        )

    def _is_cancelled(self, state_key: str) -> bool:
        """Ask Redis itself; where it is away nobody knows, and what is settled later finds out."""
        try:
            document = self._read_state(state_key)
        except StreamError:
            return False
        return bool(document) and is_cancelled(document or b"")

    def _still_ours(self, held: Held) -> bool:
        """Ask Redis itself, where the scoreboard says that the lease is lost: it may have meant the item before."""
        try:
            return self._holds(held)
        except StreamError:
            return True
