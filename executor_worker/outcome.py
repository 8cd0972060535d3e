"""The outcome of a node: a value, not an exception."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from executor_worker.errors import NodeError

Mode = Literal["llm", "agent", "tool", "router"]

_COST_DIGITS = 8


@dataclass(slots=True)
class Usage:
    """
    The usage of a run, over all its model calls.

    Attributes:
        input_tokens: Of the prompts, without what was read from the provider's cache or written to it.
        cost_usd: US dollars, at the operator's prices; None if there is no price.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float | None = None

    def add(self, other: Usage) -> None:
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cache_read_tokens += other.cache_read_tokens
        self.cache_write_tokens += other.cache_write_tokens
        if other.cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + other.cost_usd

    @property
    def prompt_tokens(self) -> int:
        """All that the model was given, from the cache or not."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.output_tokens

    def as_json(self) -> dict[str, float]:
        """Write the wire form: `input_tokens` and `output_tokens` always, the cache's figures and the cost if known."""
        wire: dict[str, float] = {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens}
        if self.cache_read_tokens:
            wire["cache_read_tokens"] = self.cache_read_tokens
        if self.cache_write_tokens:
            wire["cache_write_tokens"] = self.cache_write_tokens
        if self.cost_usd is not None:
            wire["cost_usd"] = round(self.cost_usd, _COST_DIGITS)
        return wire


@dataclass(slots=True)  # not frozen: one is made for every item, which takes thrice as long then
class Completed:
    """
    The node is done.

    Attributes:
        output: Any JSON value.
        detail: More of `data`, e.g. which model fell back on which; JSON values.
    """

    output: Any
    mode: Mode
    usage: Usage | None = None
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """
    The node has failed for good.

    Attributes:
        error: A sentence for the graph's author.
        code: One of the contract's error codes.
        mode: None if it failed before the mode was known.
        usage: What its model calls cost all the same.
        detail: More of `data`, e.g. what was done before the failure; JSON values.
        where: For the log alone; see `NodeError`.
        retry: The tool's own policy, for a node that has none; see `NodeError`.
    """

    error: str
    code: str
    mode: Mode | None = None
    usage: Usage | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    where: str = ""
    retry: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, error: NodeError, mode: Mode | None = None, usage: Usage | None = None) -> Failed:
        return cls(str(error), error.code, mode, usage, where=error.where)


Outcome = Completed | Failed
