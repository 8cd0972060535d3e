"""Limits of every item, whatever its kind: time, size, and how often it may be run (`poisoned.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from executor_worker.errors import InvalidNode


@dataclass(frozen=True, slots=True)
class Limits:
    """
    The limits of every item; seconds and bytes.

    Attributes:
        named: The limits over all hosts that LIMITS names.
    """

    node_timeout_s: float
    max_deliveries: int
    max_item_bytes: int
    named: frozenset[str] = frozenset()


LONGEST_S = 1e9


def check_named_limits(config: dict[str, Any], limits: Limits) -> None:
    """
    Check that the limits a node's config names are known: its place was taken by these names.

    Raises:
        InvalidNode: One is not, or is no name.
    """
    given = config.get("limit")
    for name in given if isinstance(given, list) else [] if given is None else [given]:
        if not isinstance(name, str):
            raise InvalidNode(f"limit must be a name or a list of names, found {name!r}")
        if name not in limits.named:
            known = ", ".join(sorted(limits.named)) or "none"
            raise InvalidNode(f"limit {name!r} is not known: LIMITS names {known}")


def own_timeout(config: dict[str, Any]) -> float:
    """The node's own limit in seconds, infinite if it names none; a wrong one is the spec's to refuse."""
    value = config.get("timeout")
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < LONGEST_S:
        return float("inf")
    return float(value)
