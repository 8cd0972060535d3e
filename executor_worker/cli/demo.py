"""`demo`: the whole thing at work for a person to look at, with nothing set up."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from executor_worker.cli.child import ChildPool
from executor_worker.cli.display import console, one_line
from executor_worker.cli.pool_http import PoolView, look_at_pool
from executor_worker.cli.quitting import DONE, FAILED, Quit
from executor_worker.demo import graph
from executor_worker.embedded import Embedded
from executor_worker.settings import Settings
from executor_worker.stream.endpoint import Endpoint
from executor_worker.stream.link import Link
from executor_worker.stream.names import COMPLETED_STREAM, FAILED_STREAM, STATE_PREFIX, WORK_STREAMS

WORKERS = 4
GRAPH = "demo"
READY_S = 60.0
NODE_S = 30.0
LOOK_EVERY_S = 0.05


def demo(args: argparse.Namespace) -> int:
    del args
    with ExitStack() as stack:
        stack.enter_context(_terminating_quietly())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="executor-demo-")))
        say = Narrator()
        say.step(
            "Demo", f"a graph of {len(graph.NODES)} nodes on a pool of {WORKERS} workers; only the model is scripted"
        )
        server = stack.enter_context(Embedded())
        say.step("Redis", f"a private server of its own, process {server.pid}")
        settings = _settings(folder, server)
        pool = ChildPool(["--workers", str(WORKERS)], settings, folder)
        stack.callback(pool.close)
        say.step("Pool", f"`executor-worker run --workers {WORKERS}` is coming up, process {pool.pid}")
        link = Link(Endpoint.parse(server.address), name="demo")
        stack.callback(link.close)
        show = Show(link, pool, Settings.load(settings), say)
        failed = show.run()
        return _finish(pool, say, failed)


def _settings(folder: Path, server: Embedded) -> dict[str, str]:
    (folder / "script.json").write_text(json.dumps(graph.SCRIPT))
    warehouse = {"command": sys.executable, "args": ["-m", "executor_worker.demo.warehouse"]}
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"warehouse": warehouse}}))
    return {
        "ENV_FILE": os.devnull,
        "WORKER_ID": "demo",
        "REDIS_ADDR": server.address,
        "LLM_PROVIDER": "scripted",
        "LLM_SCRIPT": str(folder / "script.json"),
        "MCP_CONFIG": str(folder / "mcp.json"),
        "HEALTH_HOST": "127.0.0.1",
        "HEALTH_PORT": str(_free_port()),
        "DRAIN_TIMEOUT": "10s",
        "LOG_FORMAT": "json",
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _finish(pool: ChildPool, say: Narrator, failed: bool) -> int:
    say.step("Drain", "SIGTERM to the supervisor: nobody is left behind")
    status = pool.drain()
    if status != 0:
        raise Quit(FAILED, f"the pool ended with status {status}. Its last words:", pool.last_words())
    say.step("Done", "the pool has drained and left with exit status 0; next: `executor-worker once --help`")
    return FAILED if failed else DONE


@contextmanager
def _terminating_quietly() -> Iterator[None]:
    """Leave on SIGTERM as on Ctrl-C: everything that was started is ended."""

    def leave(_signum: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Narrator:
    """Says what happens: in colour on a terminal, plainly in a pipe."""

    def __init__(self) -> None:
        self._console = console()
        self._started = time.monotonic()

    def step(self, title: str, text: str) -> None:
        self._line(title, text, "bold cyan")

    def took(self, worker: str, node: str, kind: str) -> None:
        self._line("", f"{worker} takes {node} ({kind})", "")

    def result(self, node: str, text: str, good: bool) -> None:
        self._line("✓" if good else "✗", f"{node:<7} {text}", "bold green" if good else "bold red")

    def _line(self, mark: str, text: str, style: str) -> None:
        from rich.text import Text

        clock = f"{time.monotonic() - self._started:5.1f}s "
        line = Text.assemble((clock, "dim"), (f"{mark:>6} ", style), text)
        self._console.print(line, soft_wrap=True)
        sys.stdout.flush()


class Show:
    """Plays the orchestrator: hands out nodes whose dependencies are done, until all are."""

    def __init__(self, link: Link, pool: ChildPool, settings: Settings, say: Narrator) -> None:
        self._link = link
        self._pool = pool
        self._settings = settings
        self._say = say
        self._seen: set[str] = set()
        self._places = {COMPLETED_STREAM: "0-0", FAILED_STREAM: "0-0"}

    def run(self) -> bool:
        """Return whether a node failed."""
        self._await_workers()
        self._link.call("SET", f"{STATE_PREFIX}{GRAPH}", json.dumps(graph.state(GRAPH)), "EX", "3600")
        waiting, done = dict(graph.NODES), set[str]()
        running: set[str] = set()
        while waiting or running:
            ready = [name for name, node in waiting.items() if done.issuperset(node["dependencies"])]
            self._hand_out(ready)
            running |= {name for name in ready if waiting.pop(name)}
            for name in self._await_results(running):
                if name is None:
                    return True
                running.discard(name)
                done.add(name)
        return False

    def _hand_out(self, names: list[str]) -> None:
        for name in names:
            self._link.call("XADD", WORK_STREAMS[0], "*", "data", json.dumps(graph.item(GRAPH, name)))
        if names:
            self._say.step("Graph", f"on the stream: {', '.join(names)}")

    def _await_workers(self) -> None:
        def ready() -> bool:
            view = self._look()
            for row in view.workers:
                name = f"worker {row['slot']}"
                if row["state"] in ("idle", "busy") and name not in self._seen:
                    self._seen.add(name)
                    self._say.step("", f"{name} is ready, process {row['pid']}")
            return len(self._seen) == WORKERS

        self._wait(ready, READY_S, "the workers are not ready")

    def _await_results(self, running: set[str]) -> list[str | None]:
        """Wait for at least one result; a node's name, or None where it failed."""
        found: list[str | None] = []

        def arrived() -> bool:
            self._tell_who_works()
            found.extend(self._results())
            return bool(found)

        self._wait(arrived, NODE_S, f"no result of {', '.join(sorted(running))}")
        return found

    def _tell_who_works(self) -> None:
        for row in self._look().workers:
            node = str(row.get("item") or "").rpartition("/")[2]
            if node in graph.NODES and node not in self._seen:
                self._seen.add(node)
                self._say.took(f"worker {row['slot']}", node, graph.NODES[node]["type"])

    def _results(self) -> Iterator[str | None]:
        reply = self._link.call("XREAD", "COUNT", "10", "STREAMS", *self._places, *self._places.values())
        for stream, entries in reply or []:
            for entry, fields in entries:
                self._places[stream.decode()] = entry.decode()
                yield self._tell_result(json.loads(fields[1]))

    def _tell_result(self, event: dict[str, Any]) -> str | None:
        data, node = event["data"], str(event["node_id"])
        if event["type"] != "node.completed":
            self._say.result(node, f"failed: {data['error']}", good=False)
            return None
        by = str(data["worker_id"]).rpartition(".")[2]
        text = f"by worker {by} in {data['duration_ms'] / 1000:.1f} s: {_gist(data['output'])}"
        self._say.result(node, text, good=True)
        return node

    def _look(self) -> PoolView:
        return look_at_pool(self._settings)

    def _wait(self, happened: Callable[[], bool], seconds: float, otherwise: str) -> None:
        give_up = time.monotonic() + seconds
        while not happened():
            if self._pool.status is not None:
                raise Quit(FAILED, f"the pool ended with status {self._pool.status}:", self._pool.last_words())
            if time.monotonic() > give_up:
                raise Quit(FAILED, f"{otherwise} after {seconds:g} s. The pool's last words:", self._pool.last_words())
            time.sleep(LOOK_EVERY_S)


def _gist(output: Any) -> str:
    """Show the part of an output that a person wants to read."""
    if isinstance(output, dict):
        if "parsed" in output:
            output = output["parsed"]
        elif "tool_calls" in output:
            calls = ", ".join(call["name"] for call in output["tool_calls"])
            return f"{one_line(str(output['result']), 90)} [called {calls}]"
    return one_line(output if isinstance(output, str) else json.dumps(output, ensure_ascii=False), 120)
