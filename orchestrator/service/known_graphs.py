"""Graphs that were found to be right: who sends one again, with other inputs of the same names, is not made to wait."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

from executor_worker.broker.graphs.runs import StoredPlan
from executor_worker.graph.validation import Report
from executor_worker.json_text import dumps

MOST_BYTES = 16 * 1024  # of a graph that is kept, as JSON
ALL_BYTES = 256 * 1024  # of all of them; what is kept of each takes about ten times as much
MOST_NAMES = 64  # inputs


@dataclass(frozen=True)
class Checked:
    """A graph that was checked."""

    report: Report
    weight: int = 0

    @cached_property
    def stored(self) -> StoredPlan:
        """The plan as it is stored; the graph has to be right."""
        assert self.report.located is not None, "it was not read"
        return StoredPlan.of(self.report.located.graph)


class KnownGraphs:
    """The graphs that were used last, by all that a check depends on."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[bytes, tuple[str, ...], bool], Checked] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()  # large bodies are read in threads

    def checked(self, graph: Any, names: tuple[str, ...], bounded: bool, check: Callable[[], Report]) -> Checked:
        """
        Answer what *check* says of *graph*.

        Args:
            names: Of the inputs.
            bounded: See `check`.
        """
        text = _text(graph) if len(names) <= MOST_NAMES else b""
        key = text, names, bounded
        with self._lock:
            known = self._known.get(key) if text else None
            if known is not None:
                self._known.move_to_end(key)
                return known
        found = Checked(check(), len(text) + sum(map(len, names)))
        if text and found.report.valid:
            with self._lock:
                self._keep(key, found)
        return found

    def _keep(self, key: tuple[bytes, tuple[str, ...], bool], found: Checked) -> None:
        if key in self._known:  # checked at the same time
            return
        self._known[key] = found
        self._bytes += found.weight
        while self._bytes > ALL_BYTES:
            _, oldest = self._known.popitem(last=False)
            self._bytes -= oldest.weight


def _text(graph: Any) -> bytes:
    """Write a graph; empty if it is none that is kept."""
    try:
        text = dumps(graph)
    except ValueError:
        return b""
    return text if len(text) <= MOST_BYTES else b""
