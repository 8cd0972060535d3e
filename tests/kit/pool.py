"""The real program in a process of its own, and everything it says."""

from __future__ import annotations

import json
import signal
import ssl
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import httpx2

from tests.kit.processes import Process
from tests.kit.waiting import LONGEST_PAUSE_S, Stopwatch, free_port, wait_until

PROGRAM = Path(sys.executable).with_name("executor-worker")
Event = dict[str, Any]
Row = dict[str, Any]
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nobody asks for it, and to read all certificates takes long
QUIET = {"LOG_FORMAT": "json", "LOG_LEVEL": "info", "HEALTH_HOST": "127.0.0.1", "LLM_PROVIDER": "scripted"}


class Pool:
    """
    `executor-worker run` (or another command) in a folder of its own, with no settings but those given.

    Attributes:
        process: It; see `Process`.
        port: Its health port.
        events: Its log lines so far, in order; a line that is no JSON stands as `{"text": line}`.
        warm: They are forked from the program already imported; not in tests that are marked `cold`.
    """

    warm: ClassVar[bool] = True

    def __init__(self, folder: Path, arguments: Sequence[str], env: Mapping[str, str]) -> None:
        self.folder = folder
        self.port = free_port()
        served = "--api" in arguments or "serve" in arguments
        api = {"DAGO_HTTP_PORT": "0", "DAGO_GRPC_PORT": "0"} if served else {}
        self.env = {**QUIET, **api, "HEALTH_PORT": str(self.port), **env}
        self.events: list[Event] = []
        self._changed = threading.Condition()
        # A connection for each question: one that is kept open is lost when a reload replaces the keeper.
        single = httpx2.Limits(max_keepalive_connections=0)
        url = f"http://127.0.0.1:{self.env['HEALTH_PORT']}"
        self._http = httpx2.Client(base_url=url, timeout=30, limits=single, verify=NO_TLS)
        self._stdout = (folder / "stdout").open("wb")
        self._ended = False
        command = [str(PROGRAM), *arguments]
        self.process = Process(command, env=self.env, cwd=folder, stdout=self._stdout, stderr=-1, warm=self.warm)
        self._reader = threading.Thread(target=self._read, name="log reader", daemon=True)
        self._reader.start()

    # What it says

    def _read(self) -> None:
        assert self.process.popen.stderr is not None
        with suppress(ValueError):  # closed under us, at the end of the test
            for line in self.process.popen.stderr:
                with self._changed:
                    self.events.append(as_event(line))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_event(self, name: str, seconds: float = 60.0, count: int = 1, **fields: Any) -> Event:
        """
        Wait for the *count*-th log event of that name with these fields, whenever it was; return it.

        Raises:
            AssertionError: It did not come, or the program ended before; shows the last lines.
        """
        taken = Stopwatch()
        with self._changed:
            left_s = seconds
            while left_s > 0 and not self._ended and len(self.seen(name, **fields)) < count:
                self._changed.wait(left_s)
                left_s = taken.left_s(seconds)
            found = self.seen(name, **fields)
            assert len(found) >= count, f"no {name} {fields or ''} within {seconds:g} s\n{self.said()}"
            return found[count - 1]

    def seen(self, name: str, **fields: Any) -> list[Event]:
        """All events of that name with these fields so far."""
        wanted = {"event": name, **fields}.items()
        return [event for event in list(self.events) if wanted <= event_items(event)]

    def said(self, lines: int = 40) -> str:
        """Its last log lines, for messages."""
        return "\n".join(json.dumps(event) for event in self.events[-lines:])

    @property
    def stdout(self) -> str:
        return (self.folder / "stdout").read_text()

    # What it answers

    @property
    def api_port(self) -> int:
        """The address of its API over HTTP."""
        return int(self.wait_event("api.listening", protocol="http")["port"])

    @property
    def grpc_port(self) -> int:
        """The address of its API over gRPC."""
        return int(self.wait_event("api.listening", protocol="grpc")["port"])

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    def get(self, path: str) -> httpx2.Response:
        """GET a path of its health port."""
        return self._http.get(path)

    def health(self) -> dict[str, Any]:
        """Its `/health`, whatever the status code."""
        answer: dict[str, Any] = self.get("/health").json()
        return answer

    def workers(self) -> list[Row]:
        """The rows of its `/workers`."""
        rows: list[Row] = self.get("/workers").json()["workers"]
        return rows

    def metrics(self) -> dict[str, float]:
        """Its `/metrics`, by sample as written: `name{label="value"}`."""
        lines = [line for line in self.get("/metrics").text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def ready(self) -> bool:
        """Say whether `/ready` answers 200."""
        try:
            return self.get("/ready").status_code == 200
        except httpx2.TransportError:
            return False

    def wait_ready(self, seconds: float = 60.0) -> Pool:
        """Wait until it is ready to work; return itself."""
        said = lambda: f"the pool is ready\n{self.said()}"  # noqa: E731
        wait_until(lambda: self._still() and self.ready(), seconds, said, every=LONGEST_PAUSE_S)
        return self

    def wait_workers(self, condition: Callable[[list[Row]], bool], seconds: float = 60.0) -> list[Row]:
        """Wait until the rows of `/workers` are as *condition* wants them; return them."""
        return wait_until(lambda: rows if condition(rows := self.workers()) else [], seconds, "the workers are so")

    def worker_pid(self, slot: int = 1) -> int:
        """The process that is now in a slot."""
        return next(int(row["pid"]) for row in self.workers() if row["slot"] == slot)

    def _still(self) -> bool:
        assert self.process.running(), f"ended with {self.process.popen.returncode}\n{self.said()}"
        return True

    # What it is told

    def send(self, number: signal.Signals) -> None:
        """Send the supervisor a signal."""
        self.process.send(number)

    def wait(self, seconds: float = 60.0) -> int:
        """Wait for its end, check that it left nobody behind; return its exit status when its last words are read."""
        status = self.process.wait(seconds)
        self.process.assert_nobody_left()
        with self._changed:
            assert self._changed.wait_for(lambda: self._ended, 60), "nobody is left, but its output is open"
        return status

    def drain(self, seconds: float = 60.0) -> int:
        """SIGTERM, and wait for its end; return its exit status."""
        self.send(signal.SIGTERM)
        return self.wait(seconds)

    def close(self) -> None:
        """End it whatever it does, and check that it left nobody behind."""
        try:
            self.process.kill()
            self.process.assert_nobody_left(seconds=10)
        finally:
            self._reader.join(5)
            self._http.close()
            self._stdout.close()


def as_event(line: bytes) -> Event:
    """Read one log line."""
    try:
        event = json.loads(line)
    except ValueError:
        return {"text": line.decode(errors="replace").rstrip("\n")}
    return event if isinstance(event, dict) else {"text": line.decode().rstrip("\n")}


def event_items(event: Event) -> Any:
    """Items that can be compared as a set; lists and objects by their JSON."""
    plain = (str, int, float, bool, type(None))
    return {key: value if isinstance(value, plain) else json.dumps(value) for key, value in event.items()}.items()
