"""The stage of a demo: a private Redis, a pool around it, and a voice that says what happens."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any
from urllib.parse import urlsplit

from executor_worker.broker.connection.embedded import Embedded
from executor_worker.broker.connection.endpoint import Endpoint
from executor_worker.broker.connection.link import Link
from executor_worker.broker.names import WORK_STREAMS
from executor_worker.cli.child_pool import ChildPool
from executor_worker.cli.display import console
from executor_worker.cli.exits import DONE, FAILED, Quit
from executor_worker.cli.status.pool_http import PoolView, look_at_pool
from executor_worker.settings import Settings

READY_S = 60.0
LOOK_EVERY_S = 0.05


class Stage:
    """
    Use it in a `with` block: what was started is ended with it, whatever happens.

    Args:
        script: What the scripted model says.
        more: More settings of the pool, made from the folder it runs in.
        api: The pool serves the API too.
    """

    def __init__(
        self,
        workers: int,
        script: list[dict[str, Any]],
        more: Callable[[Path], Mapping[str, str]],
        about: str,
        *,
        api: bool = False,
    ) -> None:
        self._api = api
        self.api_url = ""
        self._workers = workers
        self._script = script
        self._more = more
        self._about = about
        self._ready: set[str] = set()
        self._stack = ExitStack()
        self.say = Narrator()

    def __enter__(self) -> Stage:
        stack, say = self._stack, self.say
        stack.enter_context(_terminating_quietly())
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="executor-demo-")))
        say.step("Demo", self._about)
        server = stack.enter_context(Embedded())
        say.step("Redis", f"a private server of its own, process {server.pid}")
        settings = {**_settings(self.folder, server, self._script), **self._more(self.folder)}
        self._settings = Settings.load(settings)
        arguments = ["--workers", str(self._workers)]
        if self._api:
            port = str(_free_port())
            settings |= {"DAGO_HTTP_PORT": port, "DAGO_GRPC_PORT": ""}
            arguments.append("--api")
            self.api_url = f"http://127.0.0.1:{port}"
        self._pool = ChildPool(arguments, settings, self.folder)
        stack.callback(self._pool.close)
        say.step("Pool", f"`executor-worker run {' '.join(arguments)}` is coming up, process {self._pool.pid}")
        self.link = Link(Endpoint.parse(server.address), name="demo")
        stack.callback(self.link.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def await_workers(self) -> None:
        """Wait until all workers are ready, and say so of each."""

        def ready() -> bool:
            for row in self.look().workers:
                name = f"worker {row['slot']}"
                if row["state"] in ("idle", "busy") and name not in self._ready:
                    self._ready.add(name)
                    self.say.step("", f"{name} is ready, process {row['pid']}")
            return len(self._ready) == self._workers

        self.wait(ready, READY_S, "the workers are not ready")
        if self.api_url:
            self.wait(self._api_answers, READY_S, "the API does not answer")

    def _api_answers(self) -> bool:
        address = urlsplit(self.api_url)
        with suppress(OSError), socket.create_connection((address.hostname, address.port), 1.0):
            return True
        return False

    def submit(self, item: Mapping[str, Any]) -> None:
        self.link.call("XADD", WORK_STREAMS[0], "*", "data", json.dumps(item))

    def look(self) -> PoolView:
        return look_at_pool(self._settings)

    def wait(self, happened: Callable[[], bool], seconds: float, otherwise: str) -> None:
        """
        Raises:
            Quit: It did not happen in time, or the pool has ended.
        """
        give_up = time.monotonic() + seconds
        while not happened():
            if self._pool.status is not None:
                raise Quit(FAILED, f"the pool ended with status {self._pool.status}:", self._pool.last_words())
            if time.monotonic() > give_up:
                raise Quit(FAILED, f"{otherwise} after {seconds:g} s. The pool's last words:", self._pool.last_words())
            time.sleep(LOOK_EVERY_S)

    def finish(self, *, failed: bool, next_step: str) -> int:
        """Drain the pool; returns the exit status."""
        self.say.step("Drain", "SIGTERM to the supervisor: nobody is left behind")
        status = self._pool.drain()
        if status != 0:
            raise Quit(FAILED, f"the pool ended with status {status}. Its last words:", self._pool.last_words())
        self.say.step("Done", f"the pool has drained and left with exit status 0; next: {next_step}")
        return FAILED if failed else DONE


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


def _settings(folder: Path, server: Embedded, script: list[dict[str, Any]]) -> dict[str, str]:
    (folder / "script.json").write_text(json.dumps(script))
    return {
        "ENV_FILE": os.devnull,
        "WORKER_ID": "demo",
        "REDIS_ADDR": server.address,
        "LLM_PROVIDER": "scripted",
        "LLM_SCRIPT": str(folder / "script.json"),
        "HEALTH_HOST": "127.0.0.1",
        "HEALTH_PORT": str(_free_port()),
        "DRAIN_TIMEOUT": "10s",
        "LOG_FORMAT": "json",
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


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
