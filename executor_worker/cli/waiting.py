"""Waiting for results: each is shown when it comes, and told apart from all others."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from executor_worker.broker.connection.link import Link
from executor_worker.broker.names import STATE_PREFIX
from executor_worker.broker.queue.submit import Results
from executor_worker.cli.display import on_terminal
from executor_worker.cli.exits import DONE, FAILED, Quit
from executor_worker.envelopes.work_item import Item
from executor_worker.errors import StateInvalid, StreamUnavailable
from executor_worker.graph.state import GraphState
from executor_worker.program.wiring import PATIENCE_S

LOOK_S = 1.0
_Key = tuple[str, str, str]
Show = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Expected:
    """An item that was submitted: its result is waited for."""

    item: Item
    stream: str
    entry: str

    @property
    def key(self) -> _Key:
        return self.item.graph_id, self.item.execution_id, self.item.node_id


def wait_for_results(
    link: Link, results: Results, expected: Sequence[Expected], timeout_s: float | None, show: Show
) -> int:
    """
    Show each result when it comes.

    Returns:
        The exit status: failed if one of them did.

    Raises:
        Quit: Time is up.
        StreamUnavailable: Redis is gone for longer than a person waits.
    """
    waiting = _Waiting(link, results, expected)
    deadline = time.monotonic() + timeout_s if timeout_s is not None else float("inf")
    ticker = _Ticker(len(expected))
    try:
        while waiting.open:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Quit(FAILED, f"no result of {waiting.names()} within {timeout_s:g} s.")
            ticker.show(waiting.open)
            events = waiting.next(min(left, LOOK_S))
            ticker.clear()
            for event in events:
                show(event)
    finally:
        ticker.clear()
    return FAILED if waiting.failed else DONE


class _Waiting:
    """The results still awaited; `failed` tells whether a node has failed."""

    def __init__(self, link: Link, results: Results, expected: Sequence[Expected]) -> None:
        self._link = link
        self._results = results
        self._out: dict[_Key, list[Expected]] = defaultdict(list)
        self._lost_since: float | None = None
        self.failed = False
        for one in expected:
            self._out[one.key].append(one)

    @property
    def open(self) -> int:
        return sum(map(len, self._out.values()))

    def names(self) -> str:
        names = [f"{key[0]}/{key[2]}" for key, out in self._out.items() if out]
        return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

    def next(self, timeout_s: float) -> list[dict[str, Any]]:
        try:
            ours = [event for event in self._results.next(timeout_s) if self._take(event)]
            found = ours or self._run_before()
            self._lost_since = None
        except StreamUnavailable:
            self._lost_since = self._lost_since or time.monotonic()
            if time.monotonic() - self._lost_since > PATIENCE_S:
                raise
            time.sleep(0.1)
            return []
        self.failed = self.failed or any(event.get("type") != "node.completed" for event in found)
        return found

    def _take(self, event: dict[str, Any]) -> bool:
        """Tell whether *event* is the result of one of ours."""
        key = (str(event.get("graph_id")), str(event.get("execution_id")), str(event.get("node_id")))
        out = self._out.get(key)
        if not out:
            return False
        out.pop(0)
        return True

    def _run_before(self) -> list[dict[str, Any]]:
        """
        Tell the results of items that had been run before: the pool acknowledges them and says nothing.

        Only looked for when no result has come for a while: one on its way is told from its event.
        """
        found = []
        for out in self._out.values():
            for one in [one for one in out if one.item.work_id and self._is_gone(one)]:
                if event := self._from_state(one):
                    out.remove(one)
                    found.append(event)
        return found

    def _is_gone(self, one: Expected) -> bool:
        return not self._link.call("XRANGE", one.stream, one.entry, one.entry)

    def _from_state(self, one: Expected) -> dict[str, Any] | None:
        item, raw = one.item, self._link.call("GET", f"{STATE_PREFIX}{one.item.graph_id}")
        try:
            state = GraphState.parse(raw) if raw is not None else GraphState()
        except StateInvalid:
            return None
        if state.finished_work_id(item.node_id) != item.work_id:
            return None
        node = state.nodes[item.node_id]
        data = {"graph_id": item.graph_id, "node_id": item.node_id, "output": node.get("output"), "run_before": True}
        if node.get("status") == "failed":
            data |= {"error": node.get("error"), "error_code": (state.metadata(item.node_id) or {}).get("error_code")}
        names = {"graph_id": item.graph_id, "execution_id": item.execution_id, "node_id": item.node_id}
        return {"type": f"node.{node['status']}", "timestamp": node.get("completed_at"), **names, "data": data}


class _Ticker:
    """One line on the terminal that says how far it is; nothing in a pipe."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._started = time.monotonic()
        self._wanted = on_terminal(sys.stderr)

    def show(self, still_open: int) -> None:
        if self._wanted:
            seconds = time.monotonic() - self._started
            text = (
                f"{self._total - still_open} of {self._total} results, {seconds:.0f} s; Ctrl-C leaves them to the pool"
            )
            print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._wanted:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
