"""
A call of a tool: found, its parameters rendered and checked, made, shown. All tool calls of all nodes are made here.

The call of a tool's node is not written down, unless it must not be made twice or a model was paid for its parameters:
`steps.py` does that, and for agents.
"""

from __future__ import annotations

import json
import marshal
from typing import TYPE_CHECKING, Any

import orjson
from loguru import logger

from executor_worker.errors import (
    Interrupt,
    InvalidNode,
    NodeError,
    NodeTimeout,
    ToolError,
    ToolFailed,
    ToolTimeout,
    ToolUnavailable,
    UnknownTool,
)
from executor_worker.nodes import journal
from executor_worker.nodes.calls import GRACE_S, Progress, note_step
from executor_worker.nodes.extract import extracted
from executor_worker.nodes.journal import Journal
from executor_worker.nodes.schema import misfits
from executor_worker.nodes.spec import ToolNode
from executor_worker.nodes.templates import short
from executor_worker.run_context import RunContext
from executor_worker.telemetry import logs
from executor_worker.tools.base import Answer, Tool

if TYPE_CHECKING:
    from executor_worker.nodes.context import Context

_TOLD_CHARS = 4000
_PLAIN_ONLY = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
_ONE_CALL = "0.0"  # of a node that asks no model; see `journal`


def run(node: ToolNode, context: Context) -> Any:
    """
    Raises:
        UnknownTool, ToolUnavailable, TemplateError, InvalidNode: Before anything is called.
        ModelError: The parameters could not be extracted.
        ToolError: The tool was called, and failed.
    """
    tool, params = prepare(node, context)
    if node.extract is not None:
        context.run_context.admit_tool(tool.circuits)  # before a model is paid for the parameters
        params = extracted(node.extract, node.tool, tool, params, context)
    try:
        if node.extract is not None or tool.effects == "unsafe":
            answer = context.steps.tool(tool, node.tool, params)
        else:
            answer = _called(tool, node.tool, params, context)
        if answer.is_error:
            raise ToolFailed(f"{short(node.tool)}: {short(answer.text, _TOLD_CHARS) or 'failed and gave no reason'}")
        if not answer.is_json and not _is_json(answer.value):
            raise ToolFailed(f"{short(node.tool)} returned output that is not JSON")
        return answer.value
    except NodeError as error:
        error.retry = getattr(tool, "retry", None)
        raise


def prepare(node: ToolNode, context: Context) -> tuple[Tool, dict[str, Any]]:
    """
    Find the tool, render the parameters and check them: all that can be done without calling anything.

    Raises:
        UnknownTool, ToolUnavailable, TemplateError, InvalidNode: See `run`.
    """
    tool = context.tools.at_hand.get(node.tool) or context.find_tool(node.tool)
    params: dict[str, Any] = context.scope.value(node.params, node.params_field)
    if not tool.surely_fits(params):
        problems = misfits(tool, params, missing=node.extract is None)
        if problems:
            raise InvalidNode(f"{node.params_field} of {short(node.tool)}: {'; '.join(problems)}")
    return tool, params


def _called(tool: Tool, name: str, arguments: dict[str, Any], context: Context) -> Answer:
    """Call *tool* and show that; nothing is written down, for an interrupted run may call it again."""
    run_context, shown = context.run_context, context.shown
    breakers = run_context.means.breakers
    started = run_context.clock()
    key = f"{run_context.key}:{_ONE_CALL}"
    try:
        if breakers.unsure or breakers.active():
            run_context.admit_tool(tool.circuits)
        if shown.content:
            shown.tell(journal.sent(_ONE_CALL, name, arguments))
        answer = call_tool(tool, name, arguments, key, run_context, shown)
        seconds = run_context.clock() - started
        if shown.content:
            shown.tell(journal.answered(_ONE_CALL, name, answer, seconds, with_value=True))
        else:
            run_context.untold = _ONE_CALL, name, not answer.is_error, seconds
        return answer
    except (ToolError, UnknownTool) as error:
        shown.tell(journal.failed(_ONE_CALL, name, error, run_context.clock() - started))
        raise


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
    means, deadline, started = run_context.means, run_context.deadline, run_context.clock()
    row, recorder, breakers = means.row, means.recorder, means.breakers
    if deadline - run_context.kept_back <= started or not row.may_begin(run_context.run, int(started * 1e9)):
        run_context.before_step()
        started = run_context.clock()
    left = deadline - run_context.kept_back - started
    ends_node = left < tool.timeout
    ends_at, failure_code = started + tool.timeout + GRACE_S, "tool_timeout"
    if ends_node or ends_at >= deadline:
        ends_at, failure_code = min(started + left + GRACE_S, deadline), "node_timeout"
    row.enter(f"tool:{name}", int(ends_at * 1e9), failure_code)
    ok = False
    try:
        with logs.context(tool=name):
            if run_context.tracing.wanted:
                answer = _traced(tool, name, arguments, key, run_context, shown)
            else:
                answer = _answered(tool, name, arguments, key, run_context, shown)
        ok = not answer.is_error
        if breakers.unsure or breakers.active():
            run_context.tool_answered(tool.circuits)
        return answer
    except NodeError as error:
        failure = _failure(error, tool, name, run_context, ends_node=ends_node)
        if failure is error:
            raise
        raise failure from error
    finally:
        recorder.count("dago_tool_executions_total", name)
        recorder.observe("dago_tool_duration_seconds", run_context.clock() - started, name)
        if not ok:
            recorder.count("dago_tool_failures_total", name)


def _failure(error: NodeError, tool: Tool, name: str, run_context: RunContext, *, ends_node: bool) -> NodeError:
    """Report a call that has failed, and return what its node fails with: its own time may have been up."""
    run_context.tool_failed(name, error)
    if isinstance(error, ToolFailed):
        run_context.tool_answered(tool.circuits)
    if ends_node and isinstance(error, ToolTimeout):
        timeout = NodeTimeout(f"the node's time was up during the call of {short(name)}")
        timeout.where = error.where
        return timeout
    if isinstance(error, ToolTimeout | ToolUnavailable):
        run_context.tool_unanswered(tool.circuits, error)
    return error


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
        return tool.call(own, run_context, key, Progress(name, run_context, shown))
    except (Interrupt, NodeError) as error:
        note_step(error, f"tool:{name}")
        raise
    except BaseException as error:  # foreign code may do anything, `sys.exit` included
        raise _broken(tool, name, error) from error


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


def _is_json(value: Any) -> bool:
    try:
        # orjson writes NaN as null, and fails on integers over 64 bits: only then is a second, slow look needed.
        if b"null" not in orjson.dumps(value, option=_PLAIN_ONLY):
            return True
    except TypeError:
        pass
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
