"""The program's outside as another program sees it: Redis, and the JSON in it."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Any

from tests.kit import Pool, RedisServer, wait_until

WORK, WORK_EVENTS = "executor.work", "dago:events:executor.work"
STREAMS = (WORK, WORK_EVENTS)
GROUP = "executor-workers"
COMPLETED, FAILED = "dago:events:node.completed", "dago:events:node.failed"
Json = dict[str, Any]


class Wire:
    """
    A pool and the Redis it works on.

    Several tests share one: each takes graph ids of its own and looks at those alone.
    """

    def __init__(self, server: RedisServer, pool: Pool | None = None) -> None:
        self.server = server
        self.redis = server.client()
        self._pool = pool

    @property
    def pool(self) -> Pool:
        assert self._pool is not None
        return self._pool

    @staticmethod
    def new_graph() -> str:
        return f"g-{uuid.uuid4().hex[:12]}"

    # What goes in

    def add(self, item: Any, stream: str = WORK) -> str:
        """Put an item, JSON or bytes as they are, on a work stream; return the entry's id."""
        data = item if isinstance(item, bytes) else json.dumps(item)
        return bytes(self.redis.xadd(stream, {"data": data})).decode()  # type: ignore[arg-type]

    def put_state(self, graph_id: str, **members: Any) -> bytes:
        """Store a graph's state; return its bytes."""
        state = {"graph_id": graph_id, "graph": {}, "status": "running", "inputs": {}, "node_states": {}} | members
        raw = json.dumps(state).encode()
        self.redis.set(f"dago:state:{graph_id}", raw)
        return raw

    # What comes out

    def state(self, graph_id: str) -> Json:
        raw = self.raw_state(graph_id)
        assert raw is not None, f"no state of {graph_id}"
        return dict(json.loads(raw))

    def raw_state(self, graph_id: str) -> bytes | None:
        raw = self.redis.get(f"dago:state:{graph_id}")
        assert raw is None or isinstance(raw, bytes)
        return raw

    def node_state(self, graph_id: str, node_id: str = "n") -> Json:
        return dict(self.state(graph_id)["node_states"][node_id])

    def events(self, stream: str, graph_id: str | None = None) -> list[Json]:
        """All events so far, or one graph's."""
        entries: Any = self.redis.xrange(stream)
        assert all(list(fields) == [b"data"] for _, fields in entries), "all entries have one field, `data`"
        found = [json.loads(fields[b"data"]) for _, fields in entries]
        return [event for event in found if graph_id in (None, event["graph_id"])]

    def results(self, graph_id: str) -> list[Json]:
        """Completed and failed, without copies of failures among the completed."""
        completed = [event for event in self.events(COMPLETED, graph_id) if event["type"] == "node.completed"]
        return completed + self.events(FAILED, graph_id)

    def wait_result(self, graph_id: str, count: int = 1, seconds: float = 15) -> Json:
        """Wait until a graph has so many results; return the last."""
        found = wait_until(
            lambda: got if len(got := self.results(graph_id)) >= count else [],
            seconds,
            lambda: f"{count} results of {graph_id}\n{self._pool.said(15) if self._pool else ''}",
        )
        assert len(found) == count
        return found[-1]

    def run(self, config: Any, *, inputs: Any = None, stream: str = WORK, **members: Any) -> Json:
        """Run one node of a graph of its own; return its result event's `data`."""
        graph_id = self.new_graph()
        item = {"graph_id": graph_id, "node_id": "n", "node_type": "x", "config": config, "inputs": inputs or {}}
        self.add(item | members, stream)
        event = self.wait_result(graph_id)
        return dict(event["data"])

    def output(self, config: Any, **more: Any) -> Any:
        """Run one node that must complete; return its output."""
        data = self.run(config, **more)
        assert "error" not in data, data
        return data["output"]

    def error(self, config: Any, **more: Any) -> tuple[str, str]:
        """Run one node that must fail; return its code and what it says."""
        data = self.run(config, **more)
        assert data.get("error_code"), data
        return data["error_code"], data["error"]

    def gone(self, entry: str, stream: str = WORK) -> bool:
        """Say whether an entry is neither in the stream nor pending."""
        return not self.redis.xrange(stream, entry, entry) and not self.pending(entry, stream)

    def pending(self, entry: str, stream: str = WORK) -> bool:
        return bool(self.redis.xpending_range(stream, GROUP, entry, entry, 1))

    def wait_gone(self, entry: str, stream: str = WORK) -> None:
        wait_until(lambda: self.gone(entry, stream), 10, f"{entry} is settled")

    def has_group(self, stream: str) -> bool:
        """Say whether a stream is there and read by the workers' group."""
        return bool(self.redis.exists(stream)) and bool(self.redis.xinfo_groups(stream))

    def letters(self, entry: str, stream: str = WORK) -> list[dict[str, bytes]]:
        """The dead letters that an entry became."""
        found: Any = self.redis.xrange(f"{stream}:dead")
        return [
            {name.decode(): value for name, value in fields.items()}
            for _, fields in found
            if fields.get(b"original_id") == entry.encode()
        ]

    def wait_letter(self, entry: str, stream: str = WORK) -> dict[str, bytes]:
        """Wait for an entry's one dead letter."""
        (letter,) = wait_until(lambda: self.letters(entry, stream), 10, f"{entry} is a dead letter")
        return letter

    def worker(self, slot: int = 1) -> Json:
        """A slot's entry in the registry; empty if there is none."""
        raw: Any = self.redis.get(f"dago:workers:{self.pool.env['WORKER_ID']}.{slot}")
        return dict(json.loads(raw)) if raw else {}


def as_time(text: str) -> float:
    """Read a time of the wire, which must be RFC 3339, UTC, ending in Z."""
    assert text.endswith("Z") and "T" in text, text
    return datetime.fromisoformat(text).timestamp()
