"""Limits of every item, whatever its kind: time, size, and how often it may be run (`poisoned.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of every item; seconds and bytes."""

    node_timeout_s: float
    max_deliveries: int
    max_item_bytes: int


LONGEST_S = 1e9


def own_timeout(config: dict[str, Any]) -> float:
    """The node's own limit in seconds, infinite if it names none; a wrong one is the spec's to refuse."""
    value = config.get("timeout")
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < LONGEST_S:
        return float("inf")
    return float(value)
