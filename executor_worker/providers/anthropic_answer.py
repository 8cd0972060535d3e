"""Put the events of one Messages stream together, as plain JSON."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from executor_worker.outcome import Usage
from executor_worker.providers.base import ModelReply, ModelTurn, StopReason, ToolCall
from executor_worker.providers.declared_tools import DeclaredTools
from executor_worker.providers.faults import Unusable
from executor_worker.providers.reply_json import mended, read_arguments
from executor_worker.run_context import RunContext

STOP_REASONS: dict[str, StopReason] = {
    "end_turn": "end_turn",
    "max_tokens": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_use",
    "pause_turn": "pause_turn",
    "refusal": "refusal",
    "model_context_window_exceeded": "context_window_exceeded",
}
# What a delta adds to; all else in a delta replaces.
_APPENDED = ("text", "thinking", "partial_json")


class Answer:
    """
    Attributes:
        blocks: The content, block by block, as the API would want it back.
        stop_reason: As the API says it; None while the answer is not complete.
        explanation: Why it stopped, if the API says more: a refusal's reason.
        problems: Tool call id → what is wrong with its arguments.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self.blocks: list[dict[str, Any]] = []
        self.stop_reason: str | None = None
        self.explanation = ""
        self.problems: dict[str, str] = {}
        self._figures: dict[str, int] = {}
        self._position: dict[int, int] = {}  # index as the server counts → position among the blocks
        self._pieces: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
        self._begun = False

    @property
    def usage(self) -> Usage:
        figures = self._figures
        return Usage(
            input_tokens=figures.get("input_tokens", 0),
            output_tokens=figures.get("output_tokens", 0),
            cache_read_tokens=figures.get("cache_read_input_tokens", 0),
            cache_write_tokens=figures.get("cache_creation_input_tokens", 0),
        )

    def feed(self, event: Any) -> None:
        """Take one event; kinds that are not known add nothing."""
        kind = event["type"]
        if kind == "message_start":
            self._begin(event["message"])
        elif kind == "content_block_start":
            self._position[event.get("index", 0)] = len(self.blocks)
            self.blocks.append(dict(event["content_block"]))
        elif kind == "content_block_delta":
            self._add(self._position[event.get("index", 0)], event["delta"])
        elif kind == "message_delta":
            self._end(event)

    def tell(self, event: Any, run_context: RunContext, tools: DeclaredTools) -> None:
        """Show what an event that was taken has added."""
        delta = event.get("delta") if event["type"] == "content_block_delta" else None
        if isinstance(delta, dict) and isinstance(delta.get("text"), str):
            run_context.text_delta(delta["text"])
            return
        more = delta.get("partial_json") if isinstance(delta, dict) else ""
        if event["type"] in ("content_block_start", "content_block_delta") and isinstance(more, str):
            position = self._position.get(event.get("index", 0), -1)
            calls = [at for at, block in enumerate(self.blocks) if block.get("type") == "tool_use"]
            if position in calls:
                name = tools.own_name(str(self.blocks[position].get("name", "")))
                run_context.call_delta(calls.index(position), name, more)

    def take_whole(self, message: Any) -> None:
        """Take a message that came in one piece."""
        if not isinstance(message, dict) or not isinstance(message.get("content"), list):
            raise Unusable("a JSON document that is no message")
        self._begin(message)
        self.blocks = [dict(block) for block in message["content"]]
        self._tell_calls_apart()
        self._complete_blocks()
        self._end({"delta": message, "usage": message.get("usage")})

    def finish(self, content_type: str) -> None:
        """
        Join the pieces after the last event.

        Raises:
            Unusable: There was nothing to join.
        """
        if not self._begun:
            raise Unusable(f"no message in it ({content_type})")
        self._tell_calls_apart()
        for (position, key), pieces in self._pieces.items():
            block = self.blocks[position]
            text = "".join(pieces)
            if key == "partial_json":
                self._set_input(block, text)
            else:
                block[key] = str(block.get(key) or "") + text
        self._complete_blocks()

    def _tell_calls_apart(self) -> None:
        """Give every call an id of its own: it ties the result to it. Some gateways give none, or all the same."""
        known: set[str] = set()
        for block in self.blocks:
            if block.get("type") == "tool_use":
                given = str(block.get("id") or "")
                block["id"] = given if given and given not in known else f"toolu_{uuid.uuid4().hex}"
                known.add(block["id"])

    def _complete_blocks(self) -> None:
        """See to it that what is read of blocks later, and handed back, is there."""
        for block in self.blocks:
            if block.get("type") == "tool_use" and not isinstance(block.get("input"), dict):
                self._set_input(block, json.dumps(block.get("input")))
            elif block.get("type") == "text" and not isinstance(block.get("text"), str):
                block["text"] = ""
        self.blocks = mended(self.blocks)

    def _begin(self, message: dict[str, Any]) -> None:
        self._begun = True
        self.model = str(message.get("model") or self.model)
        self._count(message.get("usage"))

    def _end(self, event: dict[str, Any]) -> None:
        delta = event.get("delta") or {}
        reason = delta.get("stop_reason")
        self.stop_reason = reason if reason and isinstance(reason, str) else self.stop_reason
        details = delta.get("stop_details")
        if isinstance(details, dict):
            self.explanation = " ".join(str(value) for key, value in details.items() if value and key != "type")
        self._count(event.get("usage"))

    def _count(self, usage: Any) -> None:
        # The figures are totals: a later one replaces an earlier one.
        figures = usage if isinstance(usage, dict) else {}
        self._figures |= {key: value for key, value in figures.items() if isinstance(value, int)}

    def _add(self, position: int, delta: dict[str, Any]) -> None:
        block = self.blocks[position]
        for key, value in delta.items():
            if key in _APPENDED and isinstance(value, str):
                self._pieces[position, key].append(value)
            elif key == "citation":
                block["citations"] = [*(block.get("citations") or ()), value]
            elif key != "type":
                block[key] = value

    def _set_input(self, block: dict[str, Any], text: str) -> None:
        arguments, problem = read_arguments(text)
        if arguments is None:
            self.problems[str(block.get("id"))] = problem
        # The API takes nothing but an object back.
        block["input"] = arguments or {}


def reply_of(answers: Sequence[Answer], tools: DeclaredTools) -> ModelReply:
    """Make the neutral reply of one answer, given in several parts where the model paused in between."""
    last = answers[-1]
    usage = Usage()
    for answer in answers:
        usage.add(answer.usage)
    blocks = [block for answer in answers for block in answer.blocks]
    calls = tuple(_call(block, last.problems, tools) for block in blocks if block.get("type") == "tool_use")
    text = "".join(str(block.get("text", "")) for block in blocks if block.get("type") == "text")
    return ModelReply(
        text=text or last.explanation,
        turn=ModelTurn(blocks),
        stop_reason=STOP_REASONS.get(last.stop_reason or "", "tool_use" if calls else "end_turn"),
        usage=usage,
        model=last.model,
        tool_calls=calls,
    )


def _call(block: dict[str, Any], problems: dict[str, str], tools: DeclaredTools) -> ToolCall:
    call_id = str(block.get("id", ""))
    problem = problems.get(call_id, "")
    return tools.call(call_id, str(block.get("name", "")), None if problem else block["input"], problem)
