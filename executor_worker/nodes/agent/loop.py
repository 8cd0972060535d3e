"""
A model that calls tools until it has its answer.

    ask ──→ tool calls ──→ run them in order, tell the results ──┐
     ↑  ╲─→ paused, or an answer that does not fit its schema ───┤
     │   ╲─→ an answer: done                                     │
     └───────────── within the limits? ←─────────────────────────┘
                        no: fail, finalize or partial

The limits are model calls, tokens, money, a loop of the same calls, and time, which may be up at any point.
What goes wrong with a tool is told to the model, which can do something about it; it does not fail the node.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from executor_worker.errors import (
    BudgetExceeded,
    Cancelled,
    ContextExceeded,
    MaxIterations,
    ModelBadResponse,
    NodeError,
    NodeTimeout,
    ToolUncertain,
)
from executor_worker.nodes.agent.conversation import Conversation
from executor_worker.nodes.agent.limits import Limits, kept_back_s
from executor_worker.nodes.agent.repetition import Repetition
from executor_worker.nodes.agent.shown_results import ReadResult
from executor_worker.nodes.answer import MAX_REPAIRS, Unfit, Wanted
from executor_worker.nodes.context import Context
from executor_worker.nodes.llm import FINISHED, cut_short, nothing_said, opening, wanted_of
from executor_worker.nodes.schema import refusal
from executor_worker.nodes.spec import ALL_TOOLS, AgentNode
from executor_worker.nodes.templates import sendable, short
from executor_worker.outcome import Usage
from executor_worker.providers.base import (
    ModelReply,
    ModelRequest,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from executor_worker.tools.base import Answer, Tool

_FULL = "context_window_exceeded"
_CUT = frozenset({"max_tokens", _FULL})
_SHOWN_CHARS = 500
_NOT_RUN = "Not run: the limit is reached."
_CUT_OFF = "Cut off: the time was up. Its outcome is unknown, it may have taken effect or not."


def run(node: AgentNode, context: Context) -> dict[str, Any]:
    """
    Raises:
        UnknownTool, ToolUnavailable, TemplateError, InvalidNode: Before anything is called.
        MaxIterations, BudgetExceeded, NodeTimeout, ContextExceeded: If the node asks to fail at its limits.
        ToolUncertain: If the node asks to fail then.
        ModelError: No answer, a refusal, or none that follows the schema.
    """
    return _Agent(node, context).run()


def prepare(node: AgentNode, context: Context) -> tuple[ModelRequest, dict[str, Tool], Wanted | None]:
    """
    Find the tools and render the first request: all that can be done without calling anything.

    Raises:
        UnknownTool, ToolUnavailable, TemplateError, InvalidNode: See `run`.
    """
    Limits.of(node, context)
    wanted = wanted_of(node.llm)
    tools = _listed(node, context)
    request = opening(node.llm, context, *(context.scope.text(text, where) for where, text in node.task))
    specs = tuple(ToolSpec(name, tool.description, tool.input_schema) for name, tool in tools.items())
    return replace(request, tools=specs), tools, wanted


def _listed(node: AgentNode, context: Context) -> dict[str, Tool]:
    tools: dict[str, Tool] = {}
    for name in node.tools:
        if name == ALL_TOOLS:
            tools |= {tool.name: tool for tool in context.tools.all()}
        else:
            tools[name] = context.find_tool(name)
    return tools


class _Agent:
    """One run: the conversation so far, and what of it is still open."""

    def __init__(self, node: AgentNode, context: Context) -> None:
        self._node = node
        self._steps = context.steps
        self._run_context = context.run_context
        self._limits = Limits.of(node, context)
        self._repetition = Repetition()
        self._request, self._tools, self._wanted = prepare(node, context)
        price = context.prices.find(self._request.model)
        room = context.room.within(price.context_window if price else None)
        self._conversation = Conversation(self._request.turns, room, self._tools)
        self._open_calls: tuple[ToolCall, ...] = ()
        self._results: list[ToolResult] = []
        self._repairs = 0
        self._paused_text = ""
        self._last_text = ""

    def run(self) -> dict[str, Any]:
        self._run_context.kept_back = kept_back_s(self._node.on_limit, self._run_context.left())
        try:
            return self._answered()
        except (MaxIterations, BudgetExceeded, NodeTimeout, ContextExceeded) as limit:
            self._run_context.kept_back = 0.0
            return self._stopped(limit)

    # -- the loop ---------------------------------------------------------------------------------

    def _answered(self) -> dict[str, Any]:
        while True:
            # Before the tools: their results only a further model call could read.
            _raise(self._limits.reached(self._steps.replies, self._steps.usage))
            self._run_open_calls()
            _raise(self._repetition.limit)
            self._conversation.make_room()
            run_context = self._run_context
            ends_ns = int(run_context.deadline * 1e9)
            run_context.means.row.show("agent", self._steps.replies + 1, self._limits.max_iterations, ends_ns)
            output = self._concluded(self._ask("auto"))
            if output is not None:
                return output

    def _ask(self, tool_choice: str) -> ModelReply:
        reply = self._reply(tool_choice)
        if reply is None:
            reply = self._steps.model(self._asking(tool_choice))
        if reply.stop_reason == _FULL and self._node.on_limit == "finalize" and tool_choice != "none":
            # Not taken up: the half of a call in it could never be answered.
            raise ContextExceeded(f"{short(reply.model)} has no room left in its context window")
        self._conversation.take(reply)
        self._last_text = reply.text or self._last_text
        return reply

    def _reply(self, tool_choice: str) -> ModelReply | None:
        """Call the model; None if the conversation was too long for it, and has been made shorter."""
        try:
            reply = self._steps.model(self._asking(tool_choice))
        except ContextExceeded:
            if not self._conversation.shorten():
                raise
            return None
        full = reply.stop_reason == _FULL
        within = self._limits.reached(self._steps.replies, self._steps.usage) is None
        return None if full and within and self._conversation.shorten() else reply

    def _asking(self, tool_choice: str) -> ModelRequest:
        tools, reader = self._request.tools, self._conversation.reader
        if self._conversation.shortened:
            tools = (*tools, ToolSpec(reader.name, reader.description, reader.input_schema))
        return replace(self._request, turns=tuple(self._conversation.turns), tools=tools, tool_choice=tool_choice)

    def _concluded(self, reply: ModelReply) -> dict[str, Any] | None:
        """Make *reply* the output, or None if the conversation goes on."""
        if reply.tool_calls and reply.stop_reason not in _CUT:
            self._open_calls = reply.tool_calls
            return None
        if reply.stop_reason == "pause_turn":
            self._paused_text += reply.text
            return None
        text, self._paused_text = self._paused_text + reply.text, ""
        stop_reason = None if reply.stop_reason in FINISHED else reply.stop_reason
        if stop_reason == "tool_use" or not (text or self._steps.made):
            raise nothing_said(reply)
        if self._wanted is None:
            return self._output(text, stop_reason)
        try:
            return self._output(text, stop_reason) | {"parsed": self._wanted.read(text)}
        except Unfit as unfit:
            self._ask_for_repair(self._wanted, short(str(unfit), _SHOWN_CHARS), reply)
            return None

    def _ask_for_repair(self, wanted: Wanted, problem: str, reply: ModelReply) -> None:
        if reply.stop_reason in _CUT:
            raise cut_short(reply, problem)
        self._repairs += 1
        if self._repairs > MAX_REPAIRS:
            raise ModelBadResponse(
                f"the answer did not follow output_schema, nor did {MAX_REPAIRS} corrections: {problem}"
            )
        self._conversation.say(sendable(wanted.repair(problem)))

    def _output(self, text: str, stop_reason: str | None) -> dict[str, Any]:
        output: dict[str, Any] = {
            "result": text,
            "iterations": self._steps.replies,
            "usage": (self._steps.usage or Usage()).as_json(),
            "tool_calls": [made.as_json() for made in self._steps.made],
        }
        return output if stop_reason is None else output | {"stop_reason": stop_reason}

    # -- at a limit -------------------------------------------------------------------------------

    def _stopped(self, limit: NodeError) -> dict[str, Any]:
        if self._node.on_limit == "fail":
            raise limit
        if self._node.on_limit == "partial":
            return self._output(self._last_text, _stop_reason(limit))
        return self._finalized(limit)

    def _finalized(self, limit: NodeError) -> dict[str, Any]:
        asked = (
            f"The limit is reached: {limit}. No tool can be called any more. Give your final answer from what you have."
        )
        self._answer_open_calls(limit)
        self._conversation.say(asked)
        if isinstance(limit, ContextExceeded):
            self._conversation.shorten()
        reply = self._ask("none")
        output = self._output(reply.text, _stop_reason(limit))
        if self._wanted is None:
            return output
        try:
            return output | {"parsed": self._wanted.read(reply.text)}
        except Unfit as unfit:
            problem = short(str(unfit), _SHOWN_CHARS)
            raise ModelBadResponse(f"{limit}; the last answer did not follow output_schema: {problem}") from unfit

    def _answer_open_calls(self, limit: NodeError) -> None:
        """Give each call its answer, as providers want it: what there is, or why there is none."""
        unanswered = self._open_calls[len(self._results) :]
        for call in unanswered:
            in_flight = isinstance(limit, NodeTimeout) and call is unanswered[0]
            self._results.append(ToolResult(call.id, _CUT_OFF if in_flight else _NOT_RUN, is_error=True))
        self._close_turn()

    # -- tools ------------------------------------------------------------------------------------

    def _run_open_calls(self) -> None:
        for position, call in enumerate(self._open_calls):
            # Kept one by one: time may be up between two of them.
            self._results.append(self._result(call, position))
        if self._open_calls:
            self._repetition.note(self._open_calls, self._results)
            self._close_turn()
            if advice := self._repetition.advice:
                self._conversation.say(advice)

    def _close_turn(self) -> None:
        if self._open_calls:
            self._conversation.answer(self._results)
        self._open_calls, self._results = (), []

    def _result(self, call: ToolCall, position: int) -> ToolResult:
        reader = self._conversation.reader
        tool = reader if call.name == reader.name else self._tools.get(call.name)
        # What an earlier run has sent is answered as it was then, even if the tool is another one now.
        problem = "" if self._steps.was_sent(position) else refusal(call, tool, self._tools)
        if problem:
            self._steps.note(call.name, ok=False)
            return ToolResult(call.id, sendable(problem), is_error=True)
        if isinstance(tool, ReadResult):
            # No step: it calls nothing, and what it reads is in the conversation.
            answer = tool.read(call.arguments or {})
            self._steps.note(call.name, ok=not answer.is_error)
            return _told(call, answer)
        if self._node.on_limit == "finalize" and self._steps.broke_off(position):
            # Its last answer is there already: what it was given without must not be run after it.
            raise NodeTimeout("the node's time was up, in an earlier run")
        try:
            answer = self._steps.asked_tool(tool, position, call.name, call.arguments or {})
        except (NodeTimeout, Cancelled):
            raise
        except ToolUncertain as error:
            if self._node.on_uncertain == "fail":
                raise
            return ToolResult(call.id, sendable(_outcome_unknown(error)), is_error=True)
        except NodeError as error:
            return ToolResult(call.id, sendable(str(error)), is_error=True)
        return _told(call, answer)


def _raise(limit: NodeError | None) -> None:
    if limit is not None:
        raise limit


def _stop_reason(limit: NodeError) -> str:
    return _FULL if isinstance(limit, ContextExceeded) else limit.code


def _told(call: ToolCall, answer: Answer) -> ToolResult:
    return ToolResult(call.id, sendable(answer.text), answer.is_error, answer.blocks)


def _outcome_unknown(error: ToolUncertain) -> str:
    return (
        f"The outcome of this call is unknown: {error}. It may have taken effect or not. "
        "Find out before you do anything that must not happen twice."
    )
