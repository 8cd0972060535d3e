"""One item's run: limited, watched, written down, and ended from outside if that is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from executor_worker.envelopes.events import event
from executor_worker.errors import Abandoned, Interrupt, Overdue, Stopped, ToolTimeout
from executor_worker.nodes.executor import Executor
from executor_worker.outcome import Failed
from executor_worker.run_context import Circuit
from executor_worker.telemetry.metrics import Recorder
from executor_worker.telemetry.tracing import NO_TRACING, Tracing
from executor_worker.worker.deltas import Deltas
from executor_worker.worker.journal import RunJournal
from executor_worker.worker.kinds import Kind, Kinds
from executor_worker.worker.means import Breakers, Means, NoBreakers
from executor_worker.worker.run_control import NOT_WANTED, RareControl
from executor_worker.worker.stages import Conclusion, Run, Work
from supervisor.scoreboard.scoreboard import Row

BETWEEN_STEPS = "running"  # the phase


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
        deadline, row = started + run.seconds, self._row
        label = f"{work.graph_id or '?'}/{work.node_id or '?'}"
        name = row.begin_run(label, BETWEEN_STEPS, int(deadline * 1e9), work.watched, work.attempt)
        kind = self._kinds[work.claim.delivery.kind]
        deltas = self._deltas(work) if self._content else None
        run_context = RunControl(self._means, work, kind, deadline, name, deltas)
        journal = RunJournal(
            work, lambda: kind.journal(work), run_context, self._pause, self._means.worker_id, deltas,
            self._content, work.claim.delivery.start_told,
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

    def _deltas(self, work: Work) -> Deltas:
        return Deltas(work.claim.ask, work.names, work.attempt, self._redis_up)


class RunControl(RareControl):
    """
    Limits a run by its lease and its graph's status as well, and shows it on the scoreboard and in the metrics.

    Args:
        run: Its name on the scoreboard.
        deltas: Shows what models say while they say it; None: nothing does.
    """

    def __init__(
        self, means: Means, work: Work, kind: Kind[Any], deadline: float, run: int, deltas: Deltas | None = None
    ) -> None:
        super().__init__(deadline, work.run_key)
        self.tries = work.claim.delivery.refused
        self.tracing = means.tracing
        self._means = means
        self._row = means.row
        self._work = work
        self._kind = kind
        self._deltas = deltas
        self._run = run
        self._looked_at = self.clock()

    def check(self) -> None:
        now = self.clock()
        if self.deadline - self.kept_back <= now or not self._row.goes_on(self._run, int(now * 1e9)):
            self._find_out(now)

    def show(self, mode: str, step: int = 0, steps: int = 0) -> None:
        self._mode = mode
        self._row.show(mode, step, steps, int(self.deadline * 1e9))

    def phase(self, name: str, seconds: float | None = None, failure_code: str = "node_timeout") -> None:
        if name != BETWEEN_STEPS and self._row.goes_unwatched(self._run):
            self._see_for_itself()
        deadline = self.deadline
        own = self.clock() + seconds if seconds is not None else deadline
        if own < deadline:
            self._row.enter(name, int(own * 1e9), failure_code)
        else:
            self._row.enter(name, int(deadline * 1e9), "node_timeout")

    def admit_tool(self, circuits: Sequence[Circuit]) -> None:
        breakers = self._means.breakers
        if breakers.unsure or breakers.active():
            held_back = breakers.admit(circuits)
            if held_back is not None:
                self._hold_back(held_back)

    def tool_answered(self, circuits: Sequence[Circuit]) -> None:
        breakers = self._means.breakers
        if breakers.unsure or breakers.active():
            breakers.answered(circuits)

    def tool_called(self, name: str, seconds: float, ok: bool, call: str = "") -> None:
        means, work = self._means, self._work
        means.recorder.count("dago_tool_executions_total", name)
        means.recorder.observe("dago_tool_duration_seconds", seconds, name)
        if not ok:
            means.recorder.count("dago_tool_failures_total", name)
        if call:
            graph_id, node_id = work.graph_id, work.node_id
            about = {"graph_id": graph_id, "node_id": node_id, "worker_id": means.worker_id, "attempt": work.attempt}
            about |= {"call": call, "name": name, "ok": ok, "duration_ms": round(seconds * 1000)}
            said = event("tool.called", graph_id, work.execution_id or graph_id, node_id, about, time.time())
            work.claim.tell_with_result(said)
