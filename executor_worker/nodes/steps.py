"""
The two kinds of step that cost something: a model call and a tool call.

What a run has to write down goes through one `Steps`: all calls of agents and models, and those of a tool's node that
must not be made twice. Nodes keep no state but the conversation, which is plain data.
What was answered is written to the run's journal before it is used, and a tool call before it is sent. So a run
that was interrupted, by anything, is led to where it stopped: answers come from the journal as long as it has
them; a call that was sent and never answered is made again only if that is known to do no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from loguru import logger

from executor_worker.errors import (
    ModelBadResponse,
    ModelError,
    ModelRejected,
    NodeTimeout,
    Parked,
    ToolError,
    ToolFailed,
    ToolUncertain,
    UnknownTool,
)
from executor_worker.nodes import calls, journal
from executor_worker.nodes.journal import Config, History, Journal, Record
from executor_worker.nodes.templates import short
from executor_worker.nodes.tool import call_tool
from executor_worker.outcome import Usage
from executor_worker.providers.base import Answering, Fallback, ModelReply, ModelRequest
from executor_worker.run_context import RunContext
from executor_worker.tools.base import Answer, Tool

_TOLD_CHARS = 4000


@dataclass(frozen=True, slots=True)
class Made:
    """A tool call that was made, or that the model asked for in vain."""

    name: str
    ok: bool
    duration_ms: int

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "ok": self.ok, "duration_ms": self.duration_ms}


@dataclass(slots=True)  # not frozen: one is made for every item, which takes thrice as long then
class _Call:
    """
    One tool call of a run.

    Attributes:
        id: Its name in the journal: `<model calls before it>.<position in the turn>`.
        again: It is made again if an earlier run has sent it and its answer is unknown.
        value: The run wants the answer's value, not what a model reads.
    """

    tool: Tool | None
    id: str
    name: str
    arguments: dict[str, Any]
    again: bool
    value: bool = False


@dataclass(slots=True)
class Steps:
    """
    Args:
        provider: Gives whatever answers; asked only when a model is called.
        kept: Where the run's steps are written down.
        config: The node's: a journal of another one is not gone on from.

    Attributes:
        usage: What all model calls have cost, those of earlier runs included; None while none was made.
        replies: Model calls that have answered, in this run or an earlier one.
        made: Tool calls that models have asked for, in order.
        fallback: Set if the last answer was another model's than the one asked for.
    """

    _provider: Callable[[], Answering]
    _run_context: RunContext
    _journal: Journal
    _config: Config
    _known: History | None = field(default=None, init=False)
    usage: Usage | None = field(default=None, init=False)
    replies: int = field(default=0, init=False)
    made: list[Made] = field(default_factory=list, init=False)
    fallback: Fallback | None = field(default=None, init=False)

    def model(self, request: ModelRequest) -> ModelReply:
        """
        Raises:
            ModelError: No answer, or the model refused.
            NodeTimeout, Cancelled, Abandoned: From the run context.
        """
        reply = self._history.reply(self.replies) or self._asked(self._history.opened(request))
        self.replies += 1
        self.usage = self.usage or Usage()
        self.usage.add(reply.usage)
        self.fallback = reply.fallback and reply.fallback.after(self.fallback)
        if reply.stop_reason == "refusal":
            said = f": {short(reply.text, _TOLD_CHARS)}" if reply.text else ""
            raise ModelRejected(f"{short(reply.model)} refused to answer{said}")
        return reply

    def tool(self, tool: Tool, name: str, arguments: dict[str, Any]) -> Answer:
        """
        Call *tool* with *arguments*, which fit its schema, for its value: the one call of a tool node.

        A call that an earlier run has sent is sent again unless the tool is declared unsafe.

        Args:
            name: What the node calls it.

        Raises:
            ToolError: It did not answer; whatever else a tool raises becomes `ToolFailed`.
            ToolUncertain: It may have been called: the line was lost, or an earlier run was.
            NodeTimeout, Cancelled, Abandoned: From the run context.
        """
        call = _Call(tool, f"{self.replies}.0", name, arguments, again=tool.effects != "unsafe", value=True)
        known = self._history.answered(call.id)
        return self._made(call) if known is None else journal.answer(known)

    def asked_tool(self, tool: Tool | None, position: int, name: str, arguments: dict[str, Any]) -> Answer:
        """
        Call *tool* as the model asked, for the model to read.

        A call that an earlier run has sent is sent again only if the tool is declared to allow it.

        Args:
            tool: None if there is none any more; see `was_sent`.
            position: The call's, in the model's turn.

        Raises:
            ToolError, ToolUncertain, NodeTimeout, Cancelled, Abandoned: See `tool`.
        """
        again = tool is not None and tool.effects in ("none", "idempotent")
        return self._once(_Call(tool, f"{self.replies}.{position}", name, arguments, again=again))

    def was_sent(self, position: int) -> bool:
        """Tell whether an earlier run has sent the call at *position* of the model's last turn."""
        return self._history.sent(f"{self.replies}.{position}")

    def broke_off(self, position: int) -> bool:
        """Tell whether an earlier run left the call at *position* without an answer, and had the model's next reply."""
        return self._history.replies > self.replies and self._history.answered(f"{self.replies}.{position}") is None

    def note(self, name: str, *, ok: bool, seconds: float = 0.0) -> None:
        """Remember a tool call for the run's result."""
        self.made.append(Made(short(name, 128), ok, round(seconds * 1000)))

    # -- written down -----------------------------------------------------------------------------

    @property
    def _history(self) -> History:
        if self._known is None:
            self._known = History(self._journal.read(), self._config)
            if self._known.changed:
                logger.info("journal.outdated", advice="the node's config is another one now: its run begins anew")
        return self._known

    def _keep(self, record: Record, opening: ModelRequest | None = None) -> None:
        """Write *record* down; the first one of a run brings the run's beginning along."""
        known = self._history
        if known.begun:
            self._journal.append([record])
            return
        begin = journal.began(self._run_context.key, self._config, opening)
        self._journal.append([begin, record], anew=known.outdated)
        self._known = History([begin], self._config)

    def _asked(self, request: ModelRequest) -> ModelReply:
        started = self._run_context.clock()
        self._run_context.begin_turn(self.replies + 1)
        try:
            reply = calls.ask_model(self._provider, self._run_context, request)
        except (ModelError, NodeTimeout):
            self.usage = self.usage or Usage()  # it was called, as far as is known for nothing
            raise
        record = journal.replied(reply, self._run_context.clock() - started)
        try:
            self._keep(record, request)
        except ValueError as error:
            raise ModelBadResponse(f"{short(reply.model)} answered what can't be written down: {error}") from None
        return reply

    def _once(self, call: _Call) -> Answer:
        """Answer *call* from the journal, or make it; either way it is one of the run's calls."""
        started = self._run_context.clock()
        known = self._history.answered(call.id)
        ok = False
        try:
            answer = self._made(call) if known is None else journal.answer(known)
            ok = not answer.is_error
            return answer
        finally:
            seconds = self._run_context.clock() - started if known is None else known["seconds"]
            self.note(call.name, ok=ok, seconds=seconds)

    def _made(self, call: _Call) -> Answer:
        """Make *call*, unless an earlier run may have made it and it is not to be repeated."""
        run_context = self._run_context
        started = run_context.clock()
        try:
            tool, key = self._sent(call)
            try:
                answer = call_tool(tool, call.name, call.arguments, key, run_context, self._journal)
            except Parked:
                self._keep(journal.unsent(call.id))  # else the run that goes on would take its outcome for unknown
                raise
            run_context.between_steps()  # to write down may take as long as Redis is away
            seconds = run_context.clock() - started
            try:
                self._keep(journal.answered(call.id, call.name, answer, seconds, with_value=call.value))
            except ValueError:
                raise ToolFailed(f"{short(call.name)} returned output that is not JSON") from None
            return answer
        except (ToolError, UnknownTool) as error:
            run_context.between_steps()
            self._keep(journal.failed(call.id, call.name, error, run_context.clock() - started))
            raise

    def _sent(self, call: _Call) -> tuple[Tool, str]:
        """Write down that *call* is sent; answers what is called, and by which idempotency key."""
        tool = call.tool
        was_sent = self._history.sent(call.id)
        if was_sent and not call.again:
            raise ToolUncertain(f"an earlier run was interrupted while it called {short(call.name)}")
        if tool is None:
            raise UnknownTool(f"there is no tool {short(call.name)!r} any more")
        if not was_sent:
            self._run_context.admit_tool(tool.circuits)
            self._run_context.check()  # what is stopped here was not sent, and no reader should have to wonder
            self._keep(journal.sent(call.id, call.name, call.arguments))
        return tool, f"{self._history.key or self._run_context.key}:{call.id}"
