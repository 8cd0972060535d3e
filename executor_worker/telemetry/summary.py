"""
Summary of all that is counted, for an operator: how much was done, what failed, what it cost, what was replaced.

A `Tally` holds it by what is counted and its label, so that tallies can be added and taken from each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from executor_worker.telemetry.metrics import SEPARATOR, Totals

Tally = dict[tuple[str, str], float]
SUM = "sum"  # of a histogram: its buckets are not told

# Which counter goes where, and which of its labels is told; None: all of them together.
_TOLD: Mapping[str, tuple[str, int | None]] = {
    "dago_nodes_executed_total": ("nodes", 1),
    "dago_node_errors_total": ("errors", 0),
    "dago_llm_calls_total": ("llm_calls", None),
    "dago_llm_failures_total": ("llm_failures", None),
    "dago_llm_tokens_total": ("tokens", 1),
    "dago_llm_cost_usd_total": ("cost_usd", None),
    "dago_items_postponed_total": ("postponed", None),
    "dago_worker_restarts_total": ("restarts", 0),
    "dago_node_duration_seconds": ("node_seconds", 1),
}
_BY_LABEL = frozenset({"errors", "tokens", "restarts"})


class Reader:
    """Reads areas; what their keys mean is found out once."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[str, str] | None] = {}

    def tally(self, area: Totals) -> Tally:
        return _sum((self._place(key), value) for key, value in area.items().items())

    def _place(self, key: bytes) -> tuple[str, str] | None:
        if key not in self._known:
            self._known[key] = _place_of(key)
        return self._known[key]


def figures(tally: Tally) -> dict[str, Any]:
    """
    Say *tally* as JSON values.

    Returns:
        `completed`, `failed`, `llm_calls`, `llm_failures`, `postponed`: counts; `node_seconds`: how long the nodes took
        together; `errors`, `restarts`: counts by code or reason; `tokens`: by type; `cost_usd`: None if no model
        that was called has a price.
    """
    cost = tally.get(("cost_usd", ""))
    return {
        "completed": _whole(tally, "nodes", "completed"),
        "failed": _whole(tally, "nodes", "failed"),
        "node_seconds": round(tally.get(("node_seconds", SUM), 0.0), 3),
        "errors": _by_label(tally, "errors"),
        "llm_calls": _whole(tally, "llm_calls"),
        "llm_failures": _whole(tally, "llm_failures"),
        "tokens": _by_label(tally, "tokens"),
        "cost_usd": None if cost is None else round(cost, 6),
        "postponed": _whole(tally, "postponed"),
        "restarts": _by_label(tally, "restarts"),
    }


def since(now: Tally, before: Tally) -> Tally:
    """Return what was added between two readings; what was counted before and not added to is there as 0."""
    return {place: value - before.get(place, 0.0) for place, value in now.items()}


def summed(tallies: Iterable[Tally]) -> Tally:
    return _sum(pair for tally in tallies for pair in tally.items())


def added(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Add `figures` of several up; what can't be understood is left out: they may be another version's."""
    return figures(_sum(pair for part in parts for name, value in part.items() for pair in _flat(name, value)))


def _flat(name: str, value: Any) -> list[tuple[tuple[str, str], float]]:
    if (name in _BY_LABEL) != isinstance(value, Mapping):
        return []
    if isinstance(value, Mapping):
        return [((name, str(label)), number) for label, number in value.items() if isinstance(number, int | float)]
    if not isinstance(value, int | float):
        return []
    if name == "node_seconds":
        return [((name, SUM), value)]
    return [(("nodes", name) if name in ("completed", "failed") else (name, ""), value)]


def _sum(pairs: Iterable[tuple[tuple[str, str] | None, float]]) -> Tally:
    found: Tally = {}
    for place, value in pairs:
        if place is not None:
            found[place] = found.get(place, 0.0) + value
    return found


def _place_of(key: bytes) -> tuple[str, str] | None:
    name, *labels = key.decode("utf-8", "replace").split(SEPARATOR)
    told = _TOLD.get(name)
    if told is None or (told[0] == "node_seconds" and labels[1:] != [SUM]):
        return None
    if told[1] is None:
        return told[0], ""
    return (told[0], labels[told[1]]) if told[1] < len(labels) else None


def _whole(tally: Tally, name: str, label: str = "") -> int:
    return int(tally.get((name, label), 0))


def _by_label(tally: Tally, name: str) -> dict[str, int]:
    found = {label: int(value) for (one, label), value in tally.items() if one == name and value}
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))
