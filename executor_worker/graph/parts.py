"""Parts of graphs: nodes and edges, as everything after reading them sees them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from executor_worker.errors import NOT_RETRIABLE

On = Literal["success", "failure", "always"]
Join = Literal["all", "any"] | int
OnFailure = Literal["fail", "continue"]

WORK_TYPES = ("executor", "agent", "llm", "tool")
"""Types a worker runs; which of its modes is for the config to say."""

INLINE_TYPES = ("start", "end")
"""Types that are completed at once."""

LATER_TYPES = ("map", "graph", "loop", "wait")
"""Types that are read, but can't be run yet."""

TYPES = (*WORK_TYPES, "router", *INLINE_TYPES, *LATER_TYPES)


@dataclass(frozen=True, slots=True)
class Retry:
    """
    The retries of a failed node: how often, and after what wait.

    Attributes:
        max_attempts: In total, the first included.
        delay_s: Before the second attempt; then `backoff` times as long each time, up to `max_delay_s`.
        on: Error codes that are repeated; None: all but `NOT_RETRIABLE`.
    """

    max_attempts: int = 1
    delay_s: float = 1.0
    backoff: float = 2.0
    max_delay_s: float = 60.0
    on: frozenset[str] | None = None

    def repeats(self, code: str, attempt: int) -> bool:
        """Tell whether attempt number *attempt*, which failed with *code*, is followed by another one."""
        return attempt < self.max_attempts and (code in self.on if self.on is not None else code not in NOT_RETRIABLE)

    def wait_s(self, attempt: int, luck: float) -> float:
        """
        Answer the seconds between the failure of attempt number *attempt* and the next one.

        Args:
            luck: Between 0 and 1: spreads the wait by a quarter to both sides.
        """
        try:
            wait = min(self.delay_s * self.backoff ** (attempt - 1), self.max_delay_s)
        except OverflowError:
            wait = self.max_delay_s
        return wait * (0.75 + 0.5 * luck)


@dataclass(frozen=True, slots=True)
class Cache:
    """Keep a node's output for equal keys; `key` is a template, None: the rendered config."""

    ttl_s: float
    key: str | None = None


@dataclass(slots=True)  # not frozen: one is made for every edge, which takes four times as long then
class Edge:
    """
    A way from one node to another, taken once the source has ended.

    Attributes:
        condition: CEL; None: always true.
        implied: No edge of the document: a router's target or a `dependencies` entry stands for it.
    """

    source: str
    target: str
    on: On = "success"
    condition: str | None = None
    id: str | None = None
    label: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    implied: bool = False


@dataclass(slots=True)  # not frozen: one is made for every node, which takes four times as long then
class Node:
    """
    Attributes:
        config: What CONTRACT calls so; fields of it that stood on the node itself are laid in, `timeout` is the
            node's in seconds, `retry` and `cache` are taken out.
        timeout_s: From the start of each attempt; None: the pool's own limit.
    """

    id: str
    type: str = "executor"
    config: dict[str, Any] = field(default_factory=dict)
    join: Join = "all"
    retry: Retry | None = None
    timeout_s: float | None = None
    on_failure: OnFailure = "fail"
    input_mapping: dict[str, str] = field(default_factory=dict)
    output_mapping: dict[str, str] = field(default_factory=dict)
    cache: Cache | None = None
    executor_type: str | None = None
    name: str | None = None
    description: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def works(self) -> bool:
        """Tell whether a worker runs it by its config."""
        return self.type in WORK_TYPES
