"""
Cost of traces, side by side: three pools of two, one without, one with a collector, one whose collector is mute.

    python -m benchmarks.tracing --items 2000 --rounds 5

Tool items alternate between the pools, so that whatever else the machine does meets all three alike. CPU seconds are
those of the workers, the sending thread's included; memory is the proportional set size of a worker at the end.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from tests.kit import Pool, RedisServer, wait_until
from tests.kit.collector import Collector

WORK, COMPLETED = "executor.work", "dago:events:node.completed"
CONFIG = {"tool_name": "calculate", "tool_params": {"expression": "6*7"}}
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
WORKERS = 2


class Side:
    """One pool on its own Redis, and what it has used."""

    def __init__(self, stack: ExitStack, settings: Mapping[str, str]) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ex-")))
        (folder / "redis").mkdir()
        server = RedisServer(folder / "redis", "redis")
        stack.callback(server.close)
        self._db: Any = server.client()
        self.pool = Pool(folder, ("run",), {"WORKERS": str(WORKERS), **server.env, **settings})
        stack.callback(self.pool.close)
        self.pool.wait_ready()
        self.cpu_ms: list[float] = []
        self._put = 0

    def run(self, items: int) -> None:
        workers = self._workers()
        before = sum(sum(worker.cpu_times()[:2]) for worker in workers)
        pipeline = self._db.pipeline(transaction=False)
        for number in range(self._put, self._put + items):
            item = {"graph_id": f"g{number}", "node_id": "n", "config": CONFIG, "inputs": {}}
            pipeline.xadd(WORK, {"data": json.dumps({**item, "metadata": {"traceparent": TRACEPARENT}})})
        pipeline.execute()
        self._put += items
        wait_until(lambda: self._db.xlen(COMPLETED) >= self._put, 300, "all are settled")
        spent = sum(sum(worker.cpu_times()[:2]) for worker in workers) - before
        self.cpu_ms.append(1000 * spent / items)

    def memory_mib(self) -> tuple[float, float]:
        """Of a worker: proportional set size, and what is its own alone."""
        seen = [worker.memory_full_info() for worker in self._workers()]
        return statistics.mean(each.pss for each in seen) / 2**20, statistics.mean(each.uss for each in seen) / 2**20

    def _workers(self) -> list[psutil.Process]:
        return [psutil.Process(row["pid"]) for row in self.pool.workers()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with ExitStack() as stack:
        collector = Collector()
        stack.callback(collector.close)
        mute = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        places = {"off": "", "on": collector.url, "on, mute": f"http://127.0.0.1:{mute.getsockname()[1]}"}
        sides = {name: Side(stack, {"OTEL_EXPORTER_OTLP_ENDPOINT": url}) for name, url in places.items()}
        for _ in range(options.rounds):
            for side in sides.values():
                side.run(options.items)
        print(f"{'traces':<10}{'CPU ms an item':>16}{'min':>8}{'max':>8}{'PSS MiB':>10}{'own MiB':>10}")
        for name, side in sides.items():
            pss, own = side.memory_mib()
            median, least, most = statistics.median(side.cpu_ms), min(side.cpu_ms), max(side.cpu_ms)
            print(f"{name:<10}{median:>16.3f}{least:>8.3f}{most:>8.3f}{pss:>10.1f}{own:>10.1f}")
        sides["on"].pool.drain()
        print(f"of {2 * options.items * options.rounds} spans the collector has got {len(collector.spans)}")


if __name__ == "__main__":
    main()
