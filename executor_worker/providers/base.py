"""
The interface of a model provider: one method, `complete`, from a neutral request to a neutral reply.

A conversation is kept as the provider's own blocks, verbatim: a `ModelTurn` is handed back as it came,
so nothing that a provider wants to see again (signatures, ids, reasoning) is lost. All of it is JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Protocol

from executor_worker.outcome import Usage
from executor_worker.run_context import RunContext

StopReason = Literal[
    "end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "context_window_exceeded"
]


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model sees it; `name` is any string, adapters map it to what their API takes."""

    name: str
    description: str
    input_schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class UserTurn:
    text: str


@dataclass(frozen=True, slots=True)
class ModelTurn:
    """
    A model's answer.

    Attributes:
        raw: The provider's own JSON (anthropic: list of content blocks; openai: the message).
        by: `provider/model` of the fallback that said it; empty: the model that was asked for.
    """

    raw: Any
    by: str = ""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """
    The answer to one tool call.

    Attributes:
        blocks: Images and links carried over, in MCP's content block form (`{"type":"image","data","mimeType"}` …);
            empty if `text` says all.
    """

    call_id: str
    text: str
    is_error: bool = False
    blocks: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class ToolTurn:
    """The answers to all tool calls of the turn before, in order; `text` may say something to the model as well."""

    results: tuple[ToolResult, ...]
    text: str = ""


Turn = UserTurn | ModelTurn | ToolTurn


@dataclass(frozen=True, slots=True)
class ToolCall:
    """
    A tool the model wants called.

    Attributes:
        name: The tool's own name, mapped back; as the model wrote it if no declared tool has it.
        arguments: None if the model's arguments were not a JSON object; `problem` then says why.
    """

    id: str
    name: str
    arguments: dict[str, Any] | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """A model; `provider` is empty for the configured one."""

    model: str
    provider: str = ""

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class Fallback:
    """
    Another model than the one that was asked for has answered.

    Attributes:
        model: The one that answered.
        origin: `provider/model` of the one that was asked for.
        reason: Error code of what that one did; empty if it was not asked any more.
        error: The same as a sentence.
    """

    model: str
    provider: str
    origin: str
    reason: str = ""
    error: str = ""

    def after(self, earlier: Fallback | None) -> Fallback:
        """Keep the reason that an *earlier* call of the same run had."""
        return self if self.reason or earlier is None else replace(self, reason=earlier.reason, error=earlier.error)

    def as_json(self) -> dict[str, Any]:
        """Write it as the node's result says it."""
        told = {"from": self.origin, "reason": self.reason, "error": self.error}
        return {"model": self.model, "provider": self.provider, "fallback": {k: v for k, v in told.items() if v}}


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """
    One model call.

    Attributes:
        output_schema: JSON schema the answer's text must follow; the adapter uses the provider's native way where
            it has one, and asks for it in words if it has none (the caller validates and repairs in any case).
        tool_choice: `auto`, `none` (declared but not allowed) or the name of the one tool to be called.
        fallbacks: Asked one after the other where *model* can't answer; adapters know nothing of them.
    """

    model: str
    turns: tuple[Turn, ...]
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    output_schema: dict[str, Any] | None = None
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str = "auto"
    fallbacks: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelReply:
    """
    One answer, whole unless `stop_reason` says otherwise.

    Attributes:
        text: All of its text; of a refusal, what the provider gives as its reason.
        fallback: Set where another model than the one asked for has answered.
    """

    text: str
    turn: ModelTurn
    stop_reason: StopReason
    usage: Usage
    model: str
    tool_calls: tuple[ToolCall, ...] = field(default=())
    fallback: Fallback | None = None

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values, to be written down."""
        return {
            "model": self.model,
            "text": self.text,
            "turn": self.turn.raw,
            "stop_reason": self.stop_reason,
            "usage": asdict(self.usage),
            # Not copied: arguments may be nested deeper than can be copied.
            "tool_calls": [{name: getattr(call, name) for name in call.__slots__} for call in self.tool_calls],
            **({"by": self.turn.by} if self.turn.by else {}),
            **({"fallback": asdict(self.fallback)} if self.fallback is not None else {}),
        }

    @classmethod
    def of_json(cls, record: Mapping[str, Any]) -> ModelReply:
        """
        Read what `as_json` wrote; further fields don't matter.

        Raises:
            KeyError, TypeError: It is something else.
        """
        return cls(
            text=record["text"],
            turn=ModelTurn(record["turn"], record.get("by", "")),
            stop_reason=record["stop_reason"],
            usage=Usage(**record["usage"]),
            model=record["model"],
            tool_calls=tuple(ToolCall(**call) for call in record["tool_calls"]),
            fallback=Fallback(**told) if (told := record.get("fallback")) else None,
        )


class Answering(Protocol):
    """Whatever answers a request: one provider's adapter, or several with what falls back on what."""

    def complete(self, request: ModelRequest, run_context: RunContext) -> ModelReply:
        """See `Provider`."""
        ...


class Provider(Protocol):
    """One provider's adapter; made after fork, used by one thread."""

    name: str

    def complete(self, request: ModelRequest, run_context: RunContext) -> ModelReply:
        """
        Call the model, with retries, until it answers or time is up.

        Calls `run_context.check()` between events and attempts and never waits past `run_context.deadline`.
        Shows no phase and counts nothing: its caller does.

        Raises:
            ModelError: A subclass says which kind; foreign exceptions never escape.
            NodeTimeout, Cancelled, Abandoned: From `run_context.check()`.
        """
        ...

    def known_models(self, run_context: RunContext) -> list[str]:
        """
        List the models that can be named; empty if any will do. Costs nothing, retries nothing.

        Raises:
            ModelError: The provider can't be reached or refuses the key.
        """
        ...

    def close(self) -> None: ...
