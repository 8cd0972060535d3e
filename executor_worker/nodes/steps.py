"""
The two kinds of step that cost something: a model call and a tool call.

All of a run's calls go through one `Steps`, in one order that depends on nothing but the answers, and nodes keep
no state but the conversation, which is plain data. So a run can go on from where an earlier one stopped: a
subclass whose `send_request` and `send_call` know what was answered then leads it to the same place.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loguru import logger

from executor_worker.errors import Interrupt, ModelRejected, NodeError, NodeTimeout, ToolFailed, ToolTimeout
from executor_worker.outcome import Usage
from executor_worker.providers.base import ModelReply, ModelRequest, Provider
from executor_worker.templating import short
from executor_worker.tools.base import Answer, Tool
from executor_worker.watch import Watch

GRACE_S = 1.0
"""What a call that is over its time gets to end by itself, before the worker may be ended for it."""

_TOLD_CHARS = 4000


@dataclass(frozen=True, slots=True)
class Made:
    """A tool call that was made, or that the model asked for in vain."""

    name: str
    ok: bool
    duration_ms: int

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "ok": self.ok, "duration_ms": self.duration_ms}


class Steps:
    """
    Args:
        provider: Gives the model's adapter; asked only when a model is called.

    Attributes:
        usage: What all model calls have cost; None while none has answered.
        replies: Model calls that have answered.
        made: Tool calls, in order.
    """

    def __init__(self, provider: Callable[[], Provider], watch: Watch) -> None:
        self._provider = provider
        self._watch = watch
        self._sent = 0
        self.usage: Usage | None = None
        self.replies = 0
        self.made: list[Made] = []

    def model(self, request: ModelRequest) -> ModelReply:
        """
        Raises:
            ModelError: No answer, or the model refused.
            NodeTimeout, Cancelled, Abandoned: From the watch.
        """
        reply = self.send_request(request)
        self.replies += 1
        self.usage = self.usage or Usage()
        self.usage.add(reply.usage)
        if reply.stop_reason == "refusal":
            said = f": {short(reply.text, _TOLD_CHARS)}" if reply.text else ""
            raise ModelRejected(f"{short(reply.model)} refused to answer{said}")
        return reply

    def tool(self, tool: Tool, name: str, arguments: dict[str, Any]) -> Answer:
        """
        Call *tool* with *arguments*, which fit its schema.

        Args:
            name: What the node calls it.

        Raises:
            ToolError: It did not answer; whatever else a tool raises becomes `ToolFailed`.
            NodeTimeout, Cancelled, Abandoned: From the watch.
        """
        self._sent += 1
        started = self._watch.clock()
        ok = False
        try:
            answer = self.send_call(tool, name, arguments, f"{self._watch.key}:{self._sent}")
            ok = not answer.is_error
        finally:
            self.note(name, ok=ok, seconds=self._watch.clock() - started)
        return answer

    def note(self, name: str, *, ok: bool, seconds: float = 0.0) -> None:
        """Remember a tool call for the run's result."""
        self.made.append(Made(short(name, 128), ok, round(seconds * 1000)))

    def send_request(self, request: ModelRequest) -> ModelReply:
        """Call the model, seen and counted."""
        watch = self._watch
        watch.check()
        watch.phase("llm", watch.left() + GRACE_S, "node_timeout")
        started = watch.clock()
        usage: Usage | None = None
        try:
            reply = self._provider().complete(request, watch)
            usage = reply.usage
            return reply
        finally:
            watch.model_called(request.model, watch.clock() - started, usage)
            watch.phase("running")

    def send_call(self, tool: Tool, name: str, arguments: dict[str, Any], key: str) -> Answer:
        """Call the tool, seen, counted and limited; *key* is the call's idempotency key."""
        watch = self._watch
        watch.check()
        left = watch.left()
        ends_node = left < tool.timeout
        seconds, verdict = (left, "node_timeout") if ends_node else (tool.timeout, "tool_timeout")
        watch.phase(f"tool:{name}", seconds + GRACE_S, verdict)
        started = watch.clock()
        ok = False
        try:
            answer = _caught(tool, name, lambda: tool.call(_own_copy(arguments), watch, key))
            ok = not answer.is_error
            return answer
        except ToolTimeout as error:
            if ends_node:
                raise NodeTimeout(f"the node's time was up during the call of {short(name)}") from error
            raise
        finally:
            watch.tool_called(name, watch.clock() - started, ok)
            watch.phase("running")


def _caught(tool: Tool, name: str, call: Callable[[], Answer]) -> Answer:
    """Make whatever a tool raises an error of ours: foreign code may do anything, `sys.exit` included."""
    try:
        return call()
    except (Interrupt, NodeError):
        raise
    except BaseException as error:
        kind = type(error).__name__
        logger.bind(tool=name, source=tool.source).opt(exception=error).warning("tool.broke")
        said = _said(error)
        raise ToolFailed(f"{short(name)} broke with {kind}{': ' if said else ''}{said}") from error


def _own_copy(arguments: dict[str, Any]) -> dict[str, Any]:
    """
    Copy what a tool may change as it likes: it is also the conversation's, or the graph's inputs.

    JSON values of any size and depth, many times faster than `copy.deepcopy`; the bytes are nobody else's.
    """
    copy: dict[str, Any] = marshal.loads(marshal.dumps(arguments))
    return copy


def _said(error: BaseException) -> str:
    try:
        return short(str(error), _TOLD_CHARS)
    except Exception:  # noqa: BLE001 - foreign code again: an exception's __str__
        return ""
