"""Control of the running item: what speaks against going on with it, and how what models do is shown and counted."""

from __future__ import annotations

import select
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from executor_worker.broker.fleet.breakers import HeldBack
from executor_worker.broker.fleet.offers import lack
from executor_worker.errors import Abandoned, Cancelled, NodeError, Parked, StreamError, ToolTimeout, ToolUnavailable
from executor_worker.outcome import Usage
from executor_worker.run_context import Circuit, RunContext
from executor_worker.telemetry import logs
from executor_worker.telemetry.tracing import Tracing
from executor_worker.worker.deltas import Deltas
from executor_worker.worker.kinds import Kind
from executor_worker.worker.means import Means
from executor_worker.worker.stages import Work

LONGEST_ERROR = 500  # characters
LOOK_AGAIN_S = 1.0
NOT_WANTED = "the graph was cancelled while its node was being run"
IN_PLACE_S = 1.0  # a shorter wait is not worth giving the item back


@dataclass(eq=False, kw_only=True)
class RunControl(RunContext):
    """
    Limits a run by its lease and its graph's status as well; asked only if its row speaks against going on.

    Args:
        looked_at: From when on it is known to be wanted, in seconds on *clock*.
        deltas: Shows what models say while they say it; None: nothing does.
    """

    means: Means
    work: Work
    kind: Kind[Any]
    run: int
    tracing: Tracing
    tries: int
    looked_at: float
    deltas: Deltas | None

    def check(self) -> None:
        now = self.clock()
        if self.deadline - self.kept_back <= now or not self.means.row.goes_on(self.run, int(now * 1e9)):
            self._find_out(now)

    def before_step(self) -> None:
        self.check()
        if self.means.row.goes_unwatched(self.run):
            self._see_for_itself()

    def admit_tool(self, circuits: Sequence[Circuit]) -> None:
        held_back = self.means.breakers.admit(circuits)
        if held_back is not None:
            self._hold_back(held_back)

    def tool_answered(self, circuits: Sequence[Circuit]) -> None:
        self.means.breakers.answered(circuits)

    def _find_out(self, now: float) -> None:
        """Look what speaks against going on."""
        self._check_wanted(now)
        if self.means.row.lost:
            self._face_loss()
        if self.means.row.lease_until_ns < now * 1e9:
            self._await_lease()

    def _check_wanted(self, now: float) -> None:
        if self.deadline - self.kept_back <= now:
            super().check()
        if self.means.row.stop_run == self.run:
            raise Cancelled(NOT_WANTED)

    def _see_for_itself(self) -> None:
        """Ask before a step, for a graph whose document is too large for the keeper to read it again and again."""
        if self.clock() >= self.looked_at + LOOK_AGAIN_S:
            self.looked_at = self.clock()
            if self._is_cancelled():
                raise Cancelled(NOT_WANTED)

    def _hold_back(self, held_back: HeldBack) -> NoReturn:
        if held_back.circuit.fails:
            said = f"{held_back.circuit} is held back: its calls bring no answer"
            raise ToolUnavailable(f"{said} ({held_back.why}); one tries again in {held_back.seconds:.0f} s")
        raise Parked(held_back.key)

    def _is_cancelled(self) -> bool:
        """Ask Redis itself; if it is unreachable, assume not cancelled: the settle script finds out."""
        try:
            return self.kind.is_cancelled(self.work)
        except StreamError:
            return False

    def may_park(self, seconds: float, throttle_key: str) -> None:
        # Whatever the run has done by now is written down.
        if throttle_key and seconds > IN_PLACE_S:
            raise Parked(throttle_key, self.spent + self.tries)

    def lack(self, tools: Sequence[str]) -> None:
        found = self._elsewhere(tools)
        if found is not None:
            raise Parked(found[0], self.spent + self.tries, found[1])

    def _elsewhere(self, tools: Sequence[str]) -> tuple[str, float] | None:
        """
        Ask whether another pool has *tools*: what to wait for then, and until when.

        If Redis is unreachable, or says that we may not ask, there is none.
        """
        held, longest_s = self.work.held, self.means.longest_wait_s
        try:
            return self.work.claim.ask(lambda link: lack(link, held, tools, longest_s=longest_s))
        except StreamError:
            return None

    def tool_unanswered(self, circuits: Sequence[Circuit], error: ToolUnavailable | ToolTimeout) -> None:
        held_back = self.means.breakers.failed(circuits, error.code)
        # What was sent is over, whatever became of it.
        if held_back is not None and not held_back.circuit.fails and isinstance(error, ToolUnavailable):
            raise Parked(held_back.key)

    def _face_loss(self) -> None:
        if not self._still_ours():
            raise Abandoned("the item was taken over")
        self.means.row.lost = False

    def _still_ours(self) -> bool:
        """Ask Redis itself, when the scoreboard says that the lease is lost: it may have meant the item before."""
        try:
            return self.work.claim.still_ours()
        except StreamError:
            return True

    def begin_turn(self, turn: int) -> None:
        if self.deltas is not None:
            self.deltas.begin(turn)

    def text_delta(self, text: str) -> None:
        if self.deltas is not None and text:
            self.deltas.text(text)

    def call_delta(self, position: int, name: str, arguments: str) -> None:
        if self.deltas is not None:
            self.deltas.call(position, name, arguments)

    def void_deltas(self) -> None:
        if self.deltas is not None:
            self.deltas.void()

    def model_called(self, model: str, seconds: float, usage: Usage | None) -> None:
        if self.deltas is not None:
            self.deltas.end()
        record = self.means.recorder
        record.count("dago_llm_calls_total", model)
        record.observe("dago_llm_latency_seconds", seconds, model)
        if usage is None:
            record.count("dago_llm_failures_total", model)
            return
        record.count("dago_llm_tokens_total", model, "input", amount=usage.input_tokens)
        record.count("dago_llm_tokens_total", model, "output", amount=usage.output_tokens)
        for kind, tokens in (("cache_read", usage.cache_read_tokens), ("cache_write", usage.cache_write_tokens)):
            if tokens:
                record.count("dago_llm_tokens_total", model, kind, amount=tokens)
        if usage.cost_usd is not None:
            record.count("dago_llm_cost_usd_total", model, amount=usage.cost_usd)

    def tool_failed(self, name: str, error: NodeError) -> None:
        # A node that fails says so itself; a model that is told goes on.
        if self.mode == "agent" and error.where:
            logs.info("tool.failed", tool=name, where=error.where, error=str(error)[:LONGEST_ERROR])

    def _await_lease(self) -> None:
        """Start nothing while it is unknown whether the item is still ours: Redis or the keeper is away."""
        logs.warning("lease.overdue", advice="waiting until it is renewed before anything more is called")
        while self.means.row.lease_until_ns < self.clock() * 1e9:
            if self.means.row.lost:
                self._face_loss()
            self._check_wanted(self.clock())
            select.select([], [], [], 0.05)
