"""A pool on a Redis of its own, and what can be seen of both from outside."""

from __future__ import annotations

import json
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import redis

from tests.kit import Pool, RedisServer, descendants, wait_until
from tests.kit.processes import read_proc

ROOT = Path(__file__).parent.parent
WORK = "executor.work"
COMPLETED, FAILED = "dago:events:node.completed", "dago:events:node.failed"
PROGRESS = "dago:events:node.progress"
ITEM_BYTES, STATE_BYTES = 1024, 2048
PUT_AT_ONCE = 1000
NO_OP = {"tool_name": "noop", "tool_params": {"text": "{{text}}"}}


class Stage:
    """
    A ready pool.

    Attributes:
        pool: See `tests.kit.Pool`.
        db: A plain client of its Redis.
    """

    def __init__(self, folder: Path, server: RedisServer, pool: Pool, db: redis.Redis) -> None:
        self.folder, self.server, self.pool, self.db = folder, server, pool, db

    @property
    def supervisor(self) -> int:
        return self.pool.process.pid

    def workers(self) -> list[int]:
        """Their process ids."""
        return [int(row["pid"]) for row in self.pool.workers()]

    def tree(self) -> list[int]:
        """The supervisor and all below it."""
        return [self.supervisor, *descendants(self.supervisor)]

    def keepers(self) -> list[int]:
        """The supervisor and the keeper."""
        return [pid for pid in self.tree() if pid not in set(self.workers())]

    def settled(self) -> int:
        """Results so far, while they are not trimmed."""
        return int(self.db.xlen(COMPLETED)) + int(self.db.xlen(FAILED))

    def forget_results(self) -> None:
        """Empty the streams of events, before they are trimmed."""
        self.db.delete(COMPLETED, FAILED, PROGRESS)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is taken meanwhile, so that items can be laid ready."""
        self.pool.send(signal.SIGTSTP)
        message = "no worker waits for items any more"
        wait_until(lambda: self.db.info("clients")["blocked_clients"] == 0, 20, message)
        yield
        self.pool.send(signal.SIGCONT)

    def work_off(self, count: int, seconds: float = 600.0) -> float:
        """Wait until *count* results are there, none of them a failure; returns the seconds it took."""
        began = time.monotonic()
        wait_until(lambda: self.settled() >= count, seconds, lambda: f"{count} items\n{self.pool.said()}", every=0.02)
        took = time.monotonic() - began
        assert not self.db.xlen(FAILED), self.db.xrange(FAILED, count=1)
        return took


@contextmanager
def stage(
    workers: int, command: Sequence[str] = ("run",), redis: Mapping[str, Any] = MappingProxyType({}), /, **settings: str
) -> Iterator[Stage]:
    """Start a Redis and a pool of *workers*, both ended at the end; *redis*: options of its server."""
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="ex-")))
        server = ending.enter_context(closing(RedisServer(_made(folder / "redis"), **redis)))
        db = ending.enter_context(closing(server.client()))
        pool = ending.enter_context(started(folder / "pool", server, workers, command, **settings))
        yield Stage(folder, server, pool, db)


@contextmanager
def started(
    folder: Path, server: RedisServer, workers: int, command: Sequence[str] = ("run",), /, **settings: str
) -> Iterator[Pool]:
    """Start one more pool on *server*, and wait until it is ready."""
    with closing(Pool(_made(folder), command, pool_settings(folder, server, workers, **settings))) as pool:
        yield pool.wait_ready()


def pool_settings(folder: Path, server: RedisServer, workers: int, **settings: str) -> dict[str, str]:
    """All that a pool of the benchmarks is told; its tools are those of `benchmarks/tools.py`."""
    return {
        "REDIS_ADDR": server.unix_url,
        "WORKERS": str(workers),
        "WORKER_ID": folder.name,
        "MAX_DELIVERIES": "1000",
        "TOOL_MODULES": "benchmarks.tools",
        "PYTHONPATH": str(ROOT),
        "BENCH_FOLDER": str(folder),
        **settings,
    }


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def item(graph: str, config: Mapping[str, Any] = NO_OP, *, node: str = "n", size: int = 0) -> bytes:
    """Write a work item, of at least *size* bytes; `text` is an input."""
    body = {"graph_id": graph, "node_id": node, "node_type": "tool", "config": config, "dependencies": []}
    short = json.dumps({**body, "inputs": {"text": ""}})
    return json.dumps({**body, "inputs": {"text": "x" * max(size - len(short), 0)}}).encode()


def state(graph: str, size: int = STATE_BYTES) -> bytes:
    """Write a graph's document of *size* bytes, in which another node is done."""
    done = {"node_id": "before", "status": "completed", "output": {"text": ""}, "error": None, "metadata": {}}
    body: dict[str, Any] = {"graph_id": graph, "graph": {"nodes": {}}, "status": "running", "inputs": {}}
    body |= {"node_states": {"before": done}, "submitted_at": "2026-01-01T00:00:00Z"}
    done["output"] = {"text": "y" * max(size - len(json.dumps(body)), 0)}
    return json.dumps(body).encode()


def put(db: redis.Redis, items: Iterable[bytes], states: Mapping[str, bytes] | None = None) -> None:
    """Put *items* on the work stream, and the documents of their graphs."""
    pipe = db.pipeline(transaction=False)
    for graph, document in (states or {}).items():
        pipe.set(f"dago:state:{graph}", document, ex=3600)
    for number, one in enumerate(items):
        pipe.xadd(WORK, {"data": one})
        if number % PUT_AT_ONCE == PUT_AT_ONCE - 1:
            pipe.execute()
    pipe.execute()


def cpu_s(pids: Iterable[int]) -> float:
    """Add up the CPU time of these processes so far, in seconds; the scheduler counts in nanoseconds."""
    return sum(int(read_proc(pid, "schedstat").split()[0] or 0) for pid in pids) / 1e9


def pss_mib(pids: Iterable[int]) -> float:
    """Add up what these processes weigh, what they share divided among those who share it."""
    found = 0
    for pid in pids:
        lines = read_proc(pid, "smaps_rollup").splitlines()
        found += sum(int(line.split()[1]) for line in lines if line.startswith(b"Pss:"))
    return found / 1024
