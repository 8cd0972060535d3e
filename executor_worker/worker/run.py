"""One item's run: limited, watched, written down, and ended from outside if that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from executor_worker.errors import Abandoned, Interrupt, Overdue, Stopped, ToolTimeout
from executor_worker.nodes.executor import Executor, Task
from executor_worker.nodes.journal import Journal
from executor_worker.outcome import Failed, Outcome
from executor_worker.run_context import Circuit, RunContext
from executor_worker.telemetry.metrics import Recorder
from executor_worker.telemetry.tracing import NO_TRACING, Tracing
from executor_worker.worker.deltas import Deltas
from executor_worker.worker.journal import RunJournal
from executor_worker.worker.kinds import Kinds
from executor_worker.worker.run_control import BETWEEN_STEPS, NOT_WANTED, Breakers, Means, NoBreakers, RunControl
from executor_worker.worker.stages import Conclusion, Run, Work
from supervisor.scoreboard.scoreboard import Row


class Runs:
    """
    Args:
        pause: See `RunJournal`.
        content: Events tell prompts, arguments and results too.
        longest_wait_s: For a tool that only another pool has.
        breakers: Hold tools back whose calls bring no answer; None: nothing does.
        circuits: Say with what a function is held back.
        redis_up: Says whether Redis answers, as far as the keeper knows.
    """

    def __init__(
        self,
        row: Row,
        executor: Executor,
        kinds: Kinds,
        worker_id: str,
        pause: Callable[[int], bool],
        *,
        content: bool = False,
        tracing: Tracing = NO_TRACING,
        longest_wait_s: float = 900.0,
        breakers: Breakers | None = None,
        circuits: Callable[[str], Sequence[Circuit]] = lambda _: (),
        redis_up: Callable[[], bool] = lambda: True,
    ) -> None:
        self._means = Means(row, Recorder(row.counters), worker_id, tracing, breakers or NoBreakers(), longest_wait_s)
        self._row = row
        self._executor = executor
        self._kinds = kinds
        self._worker_id = worker_id
        self._pause = pause
        self._content = content
        self._circuits = circuits
        self._redis_up = redis_up
        self._interruptible = False
        self._unwanted: Interrupt | None = None

    def run(self, work: Work, run: Run, started: float) -> Conclusion:
        """
        Run what *work* asks for.

        Args:
            started: When the item was taken, in seconds on the monotonic clock.

        Raises:
            Abandoned: The item is another worker's, or has to be given back.
            Parked: Its model can't be called for a while.
        """
        deadline = started + run.seconds
        name = self._row.begin_run(work.label, BETWEEN_STEPS, int(deadline * 1e9), work.watched, work.attempt)
        kind = self._kinds[work.claim.delivery.kind]
        deltas = self._deltas(work) if self._content else None
        run_context = RunControl(self._means, work, kind, deadline, name, deltas)
        journal = RunJournal(
            work, lambda: kind.journal(work), run_context, self._pause, self._worker_id, deltas, content=self._content
        )  # fmt: skip
        try:
            outcome = self._execute(run.task, run_context, journal)
        except Overdue as overdue:
            said = f"the node did not end within {run.seconds:g} s"
            outcome = Failed(said, "node_timeout", where=overdue.where)
        except Stopped as stopped:
            outcome = Failed(str(stopped), "cancelled")
        finally:
            self._row.end_run()
        return Conclusion(outcome, journal=journal.written_as)

    def note_overdue(self, tool: str) -> None:
        """Note that a call of the function *tool* did not end in time, and could only be ended with its worker."""
        self._means.breakers.failed(self._circuits(tool), ToolTimeout.code)

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
            Abandoned: Its item went to another worker: in the midst of it.
        """
        if self._interruptible and self._row.run_is_over:
            self._interruptible = False
            lost = self._row.lost_run == self._row.run
            raise Abandoned("the item was taken over") if lost else Stopped(NOT_WANTED)

    def _execute(self, task: Task, run_context: RunContext, journal: Journal) -> Outcome:
        try:
            self._interruptible = True
            if self._unwanted is not None:
                raise self._unwanted
            return self._executor.execute(task, run_context, journal)
        finally:
            self._interruptible = False

    def _deltas(self, work: Work) -> Deltas:
        return Deltas(work.claim.ask, work.names, work.attempt, self._redis_up)
