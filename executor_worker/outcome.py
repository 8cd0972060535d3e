"""What came of a node: a value, not an exception."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from executor_worker.errors import NodeError

Mode = Literal["llm", "agent", "tool"]


@dataclass(slots=True)
class Usage:
    """Tokens a run has used, over all its model calls."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    def add(self, other: Usage) -> None:
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cache_read_tokens += other.cache_read_tokens
        self.cache_write_tokens += other.cache_write_tokens

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def as_json(self) -> dict[str, int]:
        """As on the wire: `input_tokens` and `output_tokens` always, the cache's figures where there are any."""
        wire = {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens}
        if self.cache_read_tokens:
            wire["cache_read_tokens"] = self.cache_read_tokens
        if self.cache_write_tokens:
            wire["cache_write_tokens"] = self.cache_write_tokens
        return wire


@dataclass(frozen=True, slots=True)
class Completed:
    """The node is done; `output` is any JSON value."""

    output: Any
    mode: Mode
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """
    The node has failed for good.

    Attributes:
        error: A sentence for the graph's author.
        code: One of the contract's error codes.
        mode: None where it failed before the mode was known.
        usage: What its model calls cost all the same.
        detail: More of `data`, e.g. what was done before the failure; JSON values.
    """

    error: str
    code: str
    mode: Mode | None = None
    usage: Usage | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, error: NodeError, mode: Mode | None = None, usage: Usage | None = None) -> Failed:
        return cls(str(error), error.code, mode, usage)


Outcome = Completed | Failed
