"""Put the chunks of one chat completion together, as plain JSON."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import orjson

from executor_worker.outcome import Usage
from executor_worker.providers.base import ModelReply, ModelTurn, StopReason, ToolCall
from executor_worker.providers.declared_tools import DeclaredTools
from executor_worker.providers.faults import Unusable
from executor_worker.providers.reply_json import mended, read_arguments
from executor_worker.run_context import RunContext

STOP_REASONS: dict[str, StopReason] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "model_length": "context_window_exceeded",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


class Answer:
    """
    Args:
        run_context: Is shown what comes as it comes.

    Attributes:
        finish_reason: As the server says it; None while the answer is not complete.
        message: The assistant's message, as it is to be handed back.
    """

    def __init__(self, model: str, turn: int, run_context: RunContext, tools: DeclaredTools) -> None:
        self.model = model
        self._run_context = run_context
        self._tools = tools
        self.finish_reason: str | None = None
        self.message: dict[str, Any] = {"role": "assistant"}
        self.usage = Usage()
        self._turn = turn
        self._calls: list[dict[str, Any]] = []
        self._position: dict[int, int] = {}
        self._pieces: defaultdict[str, list[str]] = defaultdict(list)
        self._begun = False

    def feed(self, chunk: Any) -> None:
        """Take one chunk; servers differ in what they leave out."""
        self.model = str(chunk.get("model") or self.model)
        self._count(chunk.get("usage"))
        for choice in chunk.get("choices") or ():
            if choice.get("index", 0) != 0:
                continue
            self._begun = True
            self._add(choice.get("delta") or choice.get("message") or {})
            reason = choice.get("finish_reason")
            self.finish_reason = reason if reason and isinstance(reason, str) else self.finish_reason

    def finish(self, content_type: str) -> None:
        """
        Join the pieces after the last chunk.

        Raises:
            Unusable: There was nothing to join.
        """
        if not self._begun:
            raise Unusable(f"no completion in it ({content_type})")
        self.message["content"] = None
        self.message |= {key: "".join(pieces) for key, pieces in self._pieces.items()}
        known: set[str] = set()
        for position, call in enumerate(self._calls):
            # Ids tie results to calls; some servers give none, or all calls the same.
            given = str(call.get("id") or "")
            call["id"] = given if given and given not in known else f"call_{self._turn}_{position}"
            known.add(call["id"])
            call.setdefault("type", "function")
        if self._calls:
            self.message["tool_calls"] = self._calls
        self.message = mended(self.message)

    def reply(self) -> ModelReply:
        calls = tuple(_call(call, self._tools) for call in self.message.get("tool_calls", ()))
        reason = STOP_REASONS.get(self.finish_reason or "", "end_turn")
        if refusal := str(self.message.get("refusal") or ""):
            reason = "refusal"
        return ModelReply(
            text=self.message["content"] or refusal,
            turn=ModelTurn(self.message),
            # Some servers say `stop` all the same.
            stop_reason="tool_use" if calls and reason == "end_turn" else reason,
            usage=self.usage,
            model=self.model,
            tool_calls=calls,
        )

    def _count(self, usage: Any) -> None:
        if not isinstance(usage, dict):
            return
        details = usage.get("prompt_tokens_details") or {}
        prompt, cached = int(usage.get("prompt_tokens") or 0), int(details.get("cached_tokens") or 0)
        self.usage = Usage(
            # This API's count has the cached ones in it, ours has them apart.
            input_tokens=max(prompt - cached, 0),
            output_tokens=int(usage.get("completion_tokens") or 0),
            cache_read_tokens=cached,
        )

    def _add(self, delta: dict[str, Any]) -> None:
        for key, value in delta.items():
            if key == "tool_calls":
                for piece in value or ():
                    self._add_call(piece)
            elif key == "content" and isinstance(value, list):
                self._pieces[key] += [str(part.get("text", "")) for part in value if isinstance(part, dict)]
            elif isinstance(value, str) and key != "role":
                self._pieces[key].append(value)
                if key == "content":
                    self._run_context.text_delta(value)
            elif isinstance(value, list):
                self.message[key] = [*self.message.get(key, ()), *value]
            elif value is not None and key != "role":
                self.message[key] = value

    def _add_call(self, piece: dict[str, Any]) -> None:
        call = self._call_of(piece)
        for key, value in piece.items():
            if key == "function":
                function, name = call["function"], str(value.get("name") or "")
                # Some servers say the name with every piece.
                function["name"] += "" if function["arguments"] and name == function["name"] else name
                more = _text(value.get("arguments"))
                function["arguments"] += more
                position = next(at for at, one in enumerate(self._calls) if one is call)
                self._run_context.call_delta(position, self._tools.own_name(function["name"]), more)
            elif value is not None and key != "index":
                call[key] = value

    def _call_of(self, piece: dict[str, Any]) -> dict[str, Any]:
        """
        Find the call that *piece* belongs to: by index, where the server counts.

        A new id begins a new call whatever the index says, and so does a name after a call that is whole.
        """
        index = piece.get("index")
        position = self._position.get(index, -1) if isinstance(index, int) else len(self._calls) - 1
        if position >= 0 and piece.get("id") in (None, "", self._calls[position].get("id")):
            call = self._calls[position]
            if not _begins(piece.get("function") or {}, call["function"]):
                return call
        self._calls.append({"function": {"name": "", "arguments": ""}})
        if isinstance(index, int):
            self._position[index] = len(self._calls) - 1
        return self._calls[-1]


def _begins(function: dict[str, Any], before: dict[str, Any]) -> bool:
    """Tell whether *function* begins a call after *before*: both have a name, and one is whole, arguments and all."""
    name, arguments = function.get("name"), _text(function.get("arguments"))
    if not (name and before["name"]) or (name == before["name"] and not arguments):
        return False
    return _is_object(before["arguments"] or arguments)


def _is_object(text: str) -> bool:
    return bool(text.strip()) and read_arguments(text)[0] is not None


def _text(arguments: Any) -> str:
    """Some servers give the arguments as an object instead of as its text."""
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()


def _call(call: dict[str, Any], tools: DeclaredTools) -> ToolCall:
    arguments, problem = read_arguments(call["function"]["arguments"])
    return tools.call(call["id"], call["function"]["name"], arguments, problem)
