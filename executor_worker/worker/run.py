"""One item's run: limited, watched, written down, and ended from outside if that is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from executor_worker.envelopes.events import event
from executor_worker.errors import Abandoned, Interrupt, Overdue, Stopped, ToolTimeout
from executor_worker.nodes.executor import Executor
from executor_worker.outcome import Failed
from executor_worker.run_context import BETWEEN_STEPS, Circuit, Untold
from executor_worker.telemetry.metrics import Recorder
from executor_worker.telemetry.tracing import NO_TRACING, Tracing
from executor_worker.worker.deltas import Deltas
from executor_worker.worker.journal import RunJournal
from executor_worker.worker.kinds import Kinds
from executor_worker.worker.means import Breakers, Means, NoBreakers
from executor_worker.worker.run_control import NOT_WANTED, RunControl
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
        deadline, row, means, delivery = started + run.seconds, self._row, self._means, work.claim.delivery
        label = f"{work.graph_id or '?'}/{work.node_id or '?'}"
        name = row.begin_run(label, BETWEEN_STEPS, int(deadline * 1e9), work.watched, work.attempt)
        kind = self._kinds[delivery.kind]
        deltas = self._deltas(work) if self._content else None
        run_context = RunControl(
            deadline, work.run_key, means=means, tracing=means.tracing, work=work, kind=kind, run=name,
            tries=delivery.refused, looked_at=started, deltas=deltas,
        )  # fmt: skip
        journal = RunJournal(
            work, lambda: kind.journal(work), run_context, self._pause, means.worker_id, deltas,
            self._content, delivery.start_told,
        )  # fmt: skip
        try:
            self._interruptible = True
            if self._unwanted is not None:
                raise self._unwanted
            outcome = self._executor.execute(run.task, run_context, journal)
        except Overdue as overdue:
            said = f"the node did not end within {run.seconds:g} s"
            outcome = Failed(said, "node_timeout", where=overdue.where)
        except Stopped as stopped:
            outcome = Failed(str(stopped), "cancelled")
        finally:
            self._interruptible = False
            row.end_run()
            if run_context.untold is not None:
                self._tell(work, run_context.untold)
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

    def _tell(self, work: Work, untold: Untold) -> None:
        """Tell watchers of a call, in the step that settles its item or gives it back."""
        (call, name, ok, seconds), graph_id, node_id = untold, work.graph_id, work.node_id
        about = {"graph_id": graph_id, "node_id": node_id, "worker_id": self._means.worker_id, "attempt": work.attempt}
        about |= {"call": call, "name": name, "ok": ok, "duration_ms": round(seconds * 1000)}
        said = event("tool.called", graph_id, work.execution_id or graph_id, node_id, about, time.time())
        work.claim.tell_with_result(said)

    def _deltas(self, work: Work) -> Deltas:
        return Deltas(work.claim.ask, work.names, work.attempt, self._redis_up)
