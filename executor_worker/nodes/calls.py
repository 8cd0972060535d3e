"""A model call and a tool call as they are made: limited, watched, counted, traced."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Sequence
from typing import Any

from loguru import logger

from executor_worker.errors import Interrupt, NodeError, NodeTimeout, Overdue, ToolFailed, ToolTimeout, ToolUnavailable
from executor_worker.nodes import journal
from executor_worker.nodes.journal import Journal
from executor_worker.nodes.templates import short
from executor_worker.outcome import Usage
from executor_worker.providers.base import Answering, ModelReply, ModelRequest
from executor_worker.run_context import Circuit, RunContext
from executor_worker.telemetry import logs
from executor_worker.tools.base import Answer, OnProgress, Tool

GRACE_S = 1.0
"""What a call that is over its time gets to end by itself, before the worker may be ended for it."""

PROGRESS_S = 0.2
"""Of what a call says of itself, so much lies between two events."""

_TOLD_CHARS = 4000


def ask_model(provider: Callable[[], Answering], run_context: RunContext, request: ModelRequest) -> ModelReply:
    """
    Args:
        provider: Gives whatever answers.

    Raises:
        ModelError: No answer.
        NodeTimeout, Cancelled, Abandoned: From the watch.
    """
    run_context.check()
    run_context.phase("llm", run_context.left() + GRACE_S, "node_timeout")
    started = run_context.clock()
    usage: Usage | None = None
    model = request.model
    try:
        with run_context.tracing.model(model) as span:
            try:
                reply = provider().complete(request, run_context)
            except BaseException as error:
                _note_step(error, "llm")
                raise
            by = reply.fallback.provider if reply.fallback else ""
            span.answered(reply.model, by, reply.stop_reason, reply.usage)
        usage, model = reply.usage, reply.fallback.model if reply.fallback else model
        return reply
    finally:
        run_context.model_called(model, run_context.clock() - started, usage)
        run_context.phase("running")


def call_tool(
    tool: Tool, name: str, arguments: dict[str, Any], key: str, run_context: RunContext, shown: Journal
) -> Answer:
    """
    Args:
        name: What the node calls the tool.
        key: The call's idempotency key.
        shown: Is told of what the call says of itself.

    Raises:
        ToolError: It did not answer; whatever else a tool raises becomes `ToolFailed`.
        NodeTimeout, Cancelled, Abandoned: From the watch.
        Parked: It was not sent, as no worker's calls reach the tool.
    """
    run_context.check()
    circuits = circuits_of(tool)
    left = run_context.left()
    ends_node = left < tool.timeout
    seconds, failure_code = (left, "node_timeout") if ends_node else (tool.timeout, "tool_timeout")
    run_context.phase(f"tool:{name}", seconds + GRACE_S, failure_code)
    started = run_context.clock()
    ok = False
    try:
        with logs.context(tool=name):
            if run_context.tracing.wanted:
                answer = _traced(tool, name, arguments, key, run_context, shown)
            else:
                answer = _answered(tool, name, arguments, key, run_context, shown)
        ok = not answer.is_error
        run_context.tool_answered(circuits)
        return answer
    except NodeError as error:
        run_context.tool_failed(name, error)
        if isinstance(error, ToolFailed):
            run_context.tool_answered(circuits)
        if ends_node and isinstance(error, ToolTimeout):
            timeout = NodeTimeout(f"the node's time was up during the call of {short(name)}")
            timeout.where = error.where
            raise timeout from error
        if isinstance(error, ToolTimeout | ToolUnavailable):
            run_context.tool_unanswered(circuits, error)
        raise
    finally:
        run_context.tool_called(name, run_context.clock() - started, ok)


def _traced(
    tool: Tool, name: str, arguments: dict[str, Any], key: str, run_context: RunContext, shown: Journal
) -> Answer:
    with run_context.tracing.tool(name, tool.source) as span:
        answer = _answered(tool, name, arguments, key, run_context, shown)
        if answer.is_error:
            span.failed(ToolFailed.code)
        return answer


def _answered(
    tool: Tool, name: str, arguments: dict[str, Any], key: str, run_context: RunContext, shown: Journal
) -> Answer:
    """Call *tool* with a copy of *arguments*, which it may change as it likes: they are the graph's inputs, say."""
    try:
        # Of JSON values, of any size and depth; many times faster than `copy.deepcopy`.
        own = marshal.loads(marshal.dumps(arguments))
        return tool.call(own, run_context, key, _now_and_then(name, run_context, shown))
    except (Interrupt, NodeError) as error:
        _note_step(error, f"tool:{name}")
        raise
    except BaseException as error:  # foreign code may do anything, `sys.exit` included
        raise _broken(tool, name, error) from error


def circuits_of(tool: Tool) -> Sequence[Circuit]:
    """Say with what *tool* is held back; a tool that goes to ever other places is not."""
    circuits: Sequence[Circuit] = getattr(tool, "circuits", ())
    return circuits


def _note_step(error: BaseException, step: str) -> None:
    """Note in what ends a call because time is up where it stood, unless that is known better."""
    if isinstance(error, NodeTimeout | ToolTimeout | Overdue):
        error.where = error.where or step


def _now_and_then(name: str, run_context: RunContext, shown: Journal) -> OnProgress:
    """Show what a call says of itself, but not all of it if it says a lot."""
    said_at = -PROGRESS_S

    def show(done: float, total: float | None) -> None:
        nonlocal said_at
        now = run_context.clock()
        if now >= said_at + PROGRESS_S or done == total:
            said_at = now
            shown.tell(journal.progressed(name, done, total))

    return show


def _broken(tool: Tool, name: str, error: BaseException) -> ToolFailed:
    """Make whatever a tool raises an error of ours."""
    kind = type(error).__name__
    logger.bind(tool=name, source=tool.source).opt(exception=error).warning("tool.broke")
    said = _said(error)
    return ToolFailed(f"{short(name)} broke with {kind}{': ' if said else ''}{said}")


def _said(error: BaseException) -> str:
    try:
        return short(str(error), _TOLD_CHARS)
    except Exception:  # noqa: BLE001 - foreign code again: an exception's __str__
        return ""
