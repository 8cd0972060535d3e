"""A Redis, a journal and pools around them: what a test of faults plays on."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import redis

from tests.faults.journal import VARIABLE, Fact, Journal
from tests.kit import Pool, RedisServer, wait_until
from tests.kit.paths import ROOT as ROOT

WORK, ENVELOPED = "executor.work", "dago:events:executor.work"
GROUP = "executor-workers"
COMPLETED, FAILED = "dago:events:node.completed", "dago:events:node.failed"
DEAD = f"{WORK}:dead"
FULL_SIZE = os.environ.get("FULL_SIZE") == "1"  # as many restarts and processes as promised, which takes longer
GIVEN_BACK_MS = 1e9  # an entry idle for longer was given back
Event = dict[str, Any]


class Stage:
    """
    Attributes:
        lease_s: LEASE of the pools, unless told otherwise.
    """

    def __init__(self, server: RedisServer, start: Callable[..., Pool], folder: Path) -> None:
        self.server = server
        self.db: Any = server.client()  # its own types leave open whether it answers with bytes
        self.journal = Journal(folder)
        self.lease_s = 2.0
        self._start = start

    def pool(self, **settings: Any) -> Pool:
        """Start a pool with the tools of `tools.py`; settings in capitals, the rest is for the `executor` fixture."""
        given = {
            "TOOL_MODULES": "tests.faults.tools",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LEASE": f"{self.lease_s:g}",
            VARIABLE: str(self.journal.folder),
            **settings,
        }
        return self._start(self.server, **given)

    # Items

    def push(self, tool: str, graph: str = "g", node: str = "n", *, stream: str = WORK, **params: Any) -> str:
        """Add an item that calls *tool* of `tools.py`, marked by the graph; returns the entry's id."""
        config = {"tool_name": tool, "tool_params": {"mark": graph, **params}}
        item = {"graph_id": graph, "node_id": node, "node_type": "tool", "config": config, "inputs": {}}
        return self.push_raw(json.dumps(item).encode(), stream)

    def push_raw(self, data: bytes, stream: str = WORK) -> str:
        """Add an entry as it is."""
        entry = self.db.xadd(stream, {"data": data})
        assert isinstance(entry, bytes)
        return entry.decode()

    def pending(self) -> dict[str, tuple[str, int, int]]:
        """Entry → consumer, idle milliseconds, delivery count."""
        try:
            rows = self.db.xpending_range(WORK, GROUP, "-", "+", 1000)
        except redis.ResponseError:
            return {}
        return {
            row["message_id"].decode(): (row["consumer"].decode(), row["time_since_delivered"], row["times_delivered"])
            for row in rows
        }

    # What came of them

    def results(self, graph: str = "") -> list[Event]:
        """All result events so far, or those of one graph."""
        events = [json.loads(fields[b"data"]) for stream in (COMPLETED, FAILED) for _, fields in self.db.xrange(stream)]
        return [event for event in events if graph in ("", event["graph_id"])]

    def result(self, graph: str = "g", seconds: float = 45.0) -> Event:
        """Wait for a graph's result; there must be one only."""
        found = wait_until(lambda: self.results(graph), seconds, lambda: f"a result of {graph}; {self.where()}")
        assert len(found) == 1, found
        return found[0]

    def started(self, graph: str = "g", count: int = 1, seconds: float = 45.0) -> Fact:
        """Wait until a graph's tool was begun for the *count*-th time."""
        journal = self.journal
        wait_until(
            lambda: len(journal.starts(graph)) >= count, seconds, lambda: f"run {count} of {graph}; {self.where()}"
        )
        return journal.starts(graph)[count - 1]

    def wait_running(self, count: int, seconds: float = 45.0) -> None:
        """Wait until so many items are in hand, none of them given back."""
        wait_until(
            lambda: sum(idle < GIVEN_BACK_MS for _, idle, _ in self.pending().values()) == count,
            seconds,
            lambda: f"{count} items are in hand; {self.where()}",
        )

    def assert_settled_once(self, graphs: Iterable[str], seconds: float = 60.0) -> None:
        """Wait until nothing is left to do; then each graph has exactly one result, its state and no more."""
        wanted = list(graphs)
        self.wait_nothing_left(seconds)
        counts = Counter(event["graph_id"] for event in self.results())
        assert counts == Counter(wanted), {graph: counts[graph] for graph in {*wanted, *counts} if counts[graph] != 1}
        for graph in wanted:
            assert self.node(graph)["status"] in ("completed", "failed"), graph
        assert not self.pending()

    def wait_results(self, count: int, seconds: float = 45.0) -> None:
        """Wait until there are so many results or more."""
        wait_until(lambda: len(self.results()) >= count, seconds, lambda: f"{count} results; {self.where()}")

    def wait_nothing_left(self, seconds: float = 45.0) -> None:
        """Wait until the work streams are empty."""
        wait_until(self.nothing_left, seconds, lambda: f"all is settled; {self.where()}", every=0.03)

    def nothing_left(self) -> bool:
        """Say whether the work streams are empty, pending rows included."""
        return not self.db.xlen(WORK) and not self.db.xlen(ENVELOPED) and not self.pending()

    def node(self, graph: str = "g", node: str = "n") -> dict[str, Any]:
        """A node's entry in the graph's state."""
        entry: dict[str, Any] = self.state(graph)["node_states"][node]
        return entry

    def state(self, graph: str = "g") -> dict[str, Any]:
        """A graph's document; empty if there is none."""
        raw = self.db.get(f"dago:state:{graph}")
        document: dict[str, Any] = json.loads(raw) if isinstance(raw, bytes) else {}
        return document

    def server_snapshot(self) -> dict[str, Any]:
        """What a foreign result would change: states, results, dead letters, what is left to do."""
        states = {key: self.db.get(key) for key in sorted(self.db.keys("dago:state:*"))}
        return {"states": states, "results": self.results(), "dead": self.db.xrange(DEAD), "left": self.db.xrange(WORK)}

    def where(self) -> str:
        """What there is to see when a wait was in vain."""
        return f"pending {self.pending()}, {self.db.xlen(WORK)} in the stream, facts {self.journal.facts()[-10:]}"

    def consumers(self) -> set[str]:
        """Names of the group's consumers on either stream."""
        return {row["name"].decode() for stream in (WORK, ENVELOPED) for row in self.db.xinfo_consumers(stream, GROUP)}


def unharmed(pool: Pool, pids: list[int]) -> bool:
    """Say whether the same workers are in the same slots as before."""
    return pids_of(pool) == pids


def pids_of(pool: Pool) -> list[int]:
    """The workers' processes, by slot."""
    return [int(row["pid"] or 0) for row in pool.workers()]


def cpu_seconds(pids: Iterable[int]) -> float:
    """What these processes have used of the processor so far."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")
