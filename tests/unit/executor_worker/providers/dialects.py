"""The two APIs as a server speaks them: the same answers in each, for tests that run on both."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from executor_worker.providers.anthropic_messages import AnthropicMessages
from executor_worker.providers.base import ModelRequest, Provider, Turn, UserTurn
from executor_worker.providers.openai_chat import OpenAIChat
from executor_worker.providers.retries import Retries
from executor_worker.run_context import RunContext

KEY = "sk-test-0123456789abcdef"


def sse(data: Any, event: str | None = None) -> str:
    text = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {event}\n" if event else "") + f"data: {text}\n\n"


def event(kind: str, **fields: Any) -> str:
    """One event of Messages."""
    return sse({"type": kind, **fields}, kind)


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **fields: Any) -> str:
    """One chunk of a chat completion."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return sse({"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": choices, **fields})


@dataclass(frozen=True)
class Dialect:
    name: str

    def provider(self, url: str, *, timeout_s: float = 5.0, max_retries: int = 2, base_s: float = 0.01) -> Provider:
        """Make the adapter with short waits."""
        retries = Retries(max_retries, base_s=base_s)
        if self.name == "anthropic":
            return AnthropicMessages(api_key=KEY, base_url=url, timeout_s=timeout_s, retries=retries)
        return OpenAIChat(name="openai", api_key=KEY, base_url=f"{url}/v1", timeout_s=timeout_s, retries=retries)

    def begin(self) -> str:
        if self.name == "anthropic":
            usage = {"input_tokens": 3, "output_tokens": 1}
            return event("message_start", message={"id": "m1", "model": "m", "content": [], "usage": usage})
        return chunk({"role": "assistant", "content": ""})

    def text(self, text: str) -> str:
        if self.name == "anthropic":
            delta = {"type": "text_delta", "text": text}
            return (
                event("content_block_start", index=0, content_block={"type": "text", "text": ""})
                + event("content_block_delta", index=0, delta=delta)
                + event("content_block_stop", index=0)
            )
        return chunk({"content": text})

    def end(self) -> str:
        if self.name == "anthropic":
            return event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5}) + event(
                "message_stop"
            )
        usage = {"prompt_tokens": 3, "completion_tokens": 5}
        return chunk({}, "stop") + chunk(usage=usage) + sse("[DONE]")

    def stopped(self, reason: str) -> str:
        """The end of an answer that is not whole: `max_tokens`, `refusal`."""
        if self.name == "anthropic":
            return self.end().replace("end_turn", reason)
        return self.end().replace('"stop"', json.dumps({"max_tokens": "length", "refusal": "content_filter"}[reason]))

    def calling(self, *calls: tuple[str, str]) -> str:
        """A whole answer that calls tools: their names, and their arguments as the model writes them."""
        if self.name == "anthropic":
            blocks = "".join(_tool_block(index, name, text) for index, (name, text) in enumerate(calls))
            return self.begin() + blocks + self.stopped("tool_use")
        made = [
            {"index": index, "id": f"t{index}", "type": "function", "function": {"name": name, "arguments": text}}
            for index, (name, text) in enumerate(calls)
        ]
        return self.begin() + chunk({"tool_calls": made}) + self.end().replace('"stop"', '"tool_calls"')

    def ping(self) -> str:
        """What keeps a connection open and says nothing: the SDKs never show it."""
        return event("ping") if self.name == "anthropic" else ": keep-alive\n\n"

    def failure(self, kind: str, message: str) -> str:
        """An error in mid-stream."""
        error = {"type": kind, "message": message}
        return event("error", error=error) if self.name == "anthropic" else sse({"error": error})

    def whole(self, text: str) -> str:
        """The same answer from a server that does not stream."""
        if self.name == "anthropic":
            message = {
                "type": "message",
                "model": "m",
                "content": [{"type": "text", "text": text}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 3, "output_tokens": 5},
            }
            return json.dumps(message)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 5}})


def _tool_block(index: int, name: str, arguments: str) -> str:
    delta = {"type": "input_json_delta", "partial_json": arguments}
    return (
        event("content_block_start", index=index, content_block=_tool_use(index, name))
        + event("content_block_delta", index=index, delta=delta)
        + event("content_block_stop", index=index)
    )


def _tool_use(index: int, name: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"t{index}", "name": name, "input": {}}


def asked(text: str = "hello", *, then: tuple[Turn, ...] = (), **fields: Any) -> ModelRequest:
    """Ask *text*; *then* is how the conversation went on."""
    return ModelRequest("test-model", (UserTurn(text), *then), **fields)


def run_context(seconds: float = 15.0) -> RunContext:
    return RunContext(time.monotonic() + seconds)
