"""A call of a model as it is made: limited, watched, counted, traced; and what calls of all kinds share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from executor_worker.errors import NodeTimeout, Overdue, ToolTimeout
from executor_worker.nodes import journal
from executor_worker.nodes.journal import Journal
from executor_worker.outcome import Usage
from executor_worker.providers.base import Answering, ModelReply, ModelRequest
from executor_worker.run_context import RunContext

GRACE_S = 1.0
"""What a call that is over its time gets to end by itself, before the worker may be ended for it."""

PROGRESS_S = 0.2
"""Of what a call says of itself, so much lies between two events."""


def ask_model(provider: Callable[[], Answering], run_context: RunContext, request: ModelRequest) -> ModelReply:
    """
    Args:
        provider: Gives whatever answers.

    Raises:
        ModelError: No answer.
        NodeTimeout, Cancelled, Abandoned: From the watch.
    """
    run_context.before_step()
    started, deadline = run_context.clock(), run_context.deadline
    run_context.means.row.enter("llm", int(min(deadline - run_context.kept_back + GRACE_S, deadline) * 1e9))
    usage: Usage | None = None
    model = request.model
    try:
        with run_context.tracing.model(model) as span:
            try:
                reply = provider().complete(request, run_context)
            except BaseException as error:
                note_step(error, "llm")
                raise
            by = reply.fallback.provider if reply.fallback else ""
            span.answered(reply.model, by, reply.stop_reason, reply.usage)
        usage, model = reply.usage, reply.fallback.model if reply.fallback else model
        return reply
    finally:
        run_context.model_called(model, run_context.clock() - started, usage)
        run_context.between_steps()


def note_step(error: BaseException, step: str) -> None:
    """Note in what ends a call because time is up where it stood, unless that is known better."""
    if isinstance(error, NodeTimeout | ToolTimeout | Overdue):
        error.where = error.where or step


@dataclass(slots=True)  # not frozen: one is made for every item, which takes thrice as long then
class Progress:
    """Shows what a call of the tool *name* says of itself, but not all of it if it says a lot."""

    name: str
    run_context: RunContext
    shown: Journal
    said_at: float = -PROGRESS_S

    def __call__(self, done: float, total: float | None) -> None:
        now = self.run_context.clock()
        if now >= self.said_at + PROGRESS_S or done == total:
            self.said_at = now
            self.shown.tell(journal.progressed(self.name, done, total))
