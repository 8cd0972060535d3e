"""The API's units under a real systemd, as `unit --api` prints them: runs and streams outlive what happens."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.kit import RedisServer, Stopwatch, alive, free_port, wait_until
from tests.system.orchestrator.sse import Block, read
from tests.system.systemd.conftest import DROP_IN, PASSWORD
from tests.system.systemd.machine import Machine
from tests.system.systemd.unit import FOLDER, Unit, kill

pytestmark = [pytest.mark.xdist_group("systemd"), pytest.mark.timeout(300)]
Took = Callable[[str, float], None]

TOKEN = "a-token-from-a-credential"
CREDENTIAL = "LoadCredential=API_TOKENS:/etc/executor-worker/api_tokens\nWatchdogSec=2\n"
# Nobody takes its node: the run, and whoever follows it, last until it is cancelled.
GRAPH = {"nodes": {"a": {"type": "tool", "config": {"tool_name": "calculate", "tool_params": {"expression": "1"}}}}}


class Api(Unit):
    """The unit, its API, and those who follow a run there."""

    def __init__(self, machine: Machine, name: str = "dago", settings: str = "/etc/executor-worker/dago.env") -> None:
        super().__init__(machine, name, settings, free_port())
        self.api_port = free_port()
        self.readers = ThreadPoolExecutor(8)

    def http(self) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return httpx2.Client(base_url=f"http://127.0.0.1:{self.api_port}", headers=headers, timeout=60)

    def submit(self, key: str) -> str:
        """Submit on a connection of its own, as a client with patience does: again where that was lost."""
        while True:
            try:
                with self.http() as http:
                    answer = http.post("/api/v1/graphs", json={"graph": GRAPH}, headers={"Idempotency-Key": key})
            except httpx2.TransportError:
                time.sleep(0.01)
                continue
            assert answer.status_code in (200, 201), answer.text
            return str(answer.json()["graph_id"])

    def follow(self, graph_id: str, after: str = "") -> Future[list[Block]]:
        """Read a run's events until the stream ends; returns when it has begun."""
        begun = threading.Event()

        def work() -> list[Block]:
            with self.http() as http:
                http.event_hooks = {"response": [lambda _: begun.set()]}
                return read(http, graph_id, last_id=after)

        future = self.readers.submit(work)
        assert begun.wait(60), "the stream begins"
        return future


@pytest.fixture
def both(machine: Machine, server: RedisServer) -> Iterator[Api]:
    """A pool's unit with the API in it, as `unit --pool both --api` prints it, up."""
    made = Api(machine, "executor-worker@both", "/etc/executor-worker/both.env")
    printed = machine.run("/opt/executor-worker/bin/executor-worker", "unit", "--pool", "both", "--api").stdout
    machine.write(f"{FOLDER}/executor-worker@both.service", printed)
    machine.write("/etc/executor-worker/api_tokens", f"ops:operate:{TOKEN}\n", mode=0o600)
    made.drop_in(DROP_IN.replace("/var/lib/executor-worker", "/var/lib/executor-worker-both") + CREDENTIAL)
    # A database of its own, too: what else is left there has no worker.
    made.configure({**settings(made, server), "REDIS_DB": 2, "WORKERS": 1, "LLM_PROVIDER": "scripted"})
    made.systemctl("start")
    yield made
    machine.run("systemctl", "stop", "executor-worker@both.service")
    made.readers.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def api(machine: Machine, server: RedisServer) -> Iterator[Api]:
    """The unit for the API alone, up, with its token and its Redis' password from credentials."""
    made = Api(machine)
    machine.write("/etc/executor-worker/api_tokens", f"ops:operate:{TOKEN}\n", mode=0o600)
    made.drop_in(DROP_IN + CREDENTIAL)
    made.configure(settings(made, server))
    yield made
    machine.run("systemctl", "stop", "dago.service")  # whoever still reads is let go by that
    made.readers.shutdown(cancel_futures=True)


def settings(api: Api, server: RedisServer, **more: object) -> dict[str, object]:
    # A database of its own: the pool of other tests here would run what is left.
    ports = {"DAGO_HTTP_PORT": api.api_port, "DAGO_GRPC_PORT": "", "HEALTH_PORT": ""}
    return {"REDIS_ADDR": server.addr, "REDIS_DB": 1, "DAGO_HTTP_HOST": "0.0.0.0", "API_PROCESSES": 2, **ports, **more}


def test_start_ends_when_the_api_answers(api: Api, took: Took) -> None:
    """READY means that graphs are accepted, from who has the token; it runs as nobody, the secrets show nowhere."""
    seconds, _ = api.systemctl("start")
    took("systemctl start of the API to READY", seconds)
    assert httpx2.get(f"http://127.0.0.1:{api.api_port}/api/v1/graphs", timeout=60).status_code == 401
    with api.http() as http:
        assert http.get("/ready").status_code == 200
        assert http.post("/api/v1/graphs", json={"graph": GRAPH}).status_code == 201
    assert api.show("ActiveState", "NRestarts", "NotifyAccess") == {
        "ActiveState": "active",
        "NRestarts": "0",
        "NotifyAccess": "main",
    }
    users = {Path(f"/proc/{pid}").stat().st_uid for pid in api.pids()}
    assert len(users) == 1 and 61184 <= users.pop() <= 65519, "a dynamic user"
    shown = api.machine.run("systemctl", "show", "dago").stdout + api.said(1000)
    environments = b"".join(Path(f"/proc/{pid}/environ").read_bytes() for pid in api.pids())
    assert not [secret for secret in (TOKEN, PASSWORD) if secret in shown or secret.encode() in environments]


def test_reload_under_load_loses_no_submit_and_no_event(api: Api, server: RedisServer, took: Took) -> None:
    """Two processes are replaced while graphs come in and a run is followed; bad settings fail, and change nothing."""
    api.configure(settings(api, server, API_RATE="lots"))
    assert api.systemctl("reload", check=False)[1].returncode == 1
    assert "API_RATE: 'lots'" in api.wait_event("pool.reload_refused")["reason"]
    followed = api.submit("followed")
    before = {pid for pid in api.pids() if pid != api.main_pid()}
    stream = api.follow(followed)
    stop, ids = threading.Event(), []

    def load() -> None:
        for number in count():
            ids.append(api.submit(f"load-{number}"))
            if stop.is_set():
                return

    loading = api.readers.submit(load)
    api.configure(settings(api, server, API_RATE=0))
    seconds, _ = api.systemctl("reload")
    took("systemctl reload of the API", seconds)
    wait_until(lambda: not before & set(api.pids()), 30, lambda: f"all processes are new\n{api.said()}")
    stop.set()
    loading.result(60)
    seen = stream.result(60)
    with api.http() as http:
        assert {http.get(f"/api/v1/graphs/{graph_id}").status_code for graph_id in ids} == {200}
        assert http.post(f"/api/v1/graphs/{followed}/cancel").status_code == 200
        rest = read(http, followed, last_id=seen[-1].id)
    assert len(ids) == len(set(ids)) > 1
    assert [block.data["seq"] for block in (*seen, *rest)] == list(range(1, len(seen) + len(rest) + 1))
    assert rest[-1].name == "graph.cancelled"
    assert api.restarts() == 0


@pytest.mark.parametrize("how", ["an API process killed", "the supervisor killed", "the main loop stuck"])
def test_whatever_dies_comes_back_and_runs_are_there(api: Api, how: str, took: Took) -> None:
    """An API process is the supervisor's business; the supervisor is systemd's, by its watchdog where it only hangs."""
    run = api.submit(how)
    stream = api.follow(run)
    before, restarts, main = api.pids(), api.restarts(), api.main_pid()
    began = time.monotonic()
    if how == "an API process killed":
        for pid in before:
            if Path(f"/proc/{pid}/cmdline").read_text().partition(": ")[2].startswith("service"):
                kill(pid)
    else:
        kill(main, signal.SIGSTOP if how == "the main loop stuck" else signal.SIGKILL)
        api.wait_restarted(restarts)
        wait_until(lambda: not [pid for pid in before if alive(pid)], 5, "nobody is left")
    with pytest.raises(httpx2.TransportError):
        stream.result(60)
    assert api.submit(how) == run, "the same key is the same run"
    took(f"{how}, to an answered submit", time.monotonic() - began)
    with api.http() as http:
        assert http.post(f"/api/v1/graphs/{run}/cancel").status_code == 200
        seen = read(http, run)
    assert [block.data["seq"] for block in seen] == list(range(1, len(seen) + 1))
    assert (api.main_pid() == main) == (how == "an API process killed")


def test_stop_ends_open_streams_and_leaves_clean(api: Api, took: Took) -> None:
    """A stream is no reason to wait: it ends in order, its reader goes on from there elsewhere, or after the start."""
    run = api.submit("last")
    stream = api.follow(run)
    before = api.pids()
    taken = Stopwatch()
    seconds, _ = api.systemctl("stop")
    others_s = taken.others_s()
    took("systemctl stop of the API with a stream open", seconds)
    seen: list[Any] = stream.result(60)
    assert seconds < 5 + others_s
    assert api.show("ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    wait_until(lambda: not [pid for pid in before if alive(pid)], 5, "nobody is left")
    api.systemctl("start")
    with api.http() as http:
        http.post(f"/api/v1/graphs/{run}/cancel")
        rest = read(http, run, last_id=seen[-1].id)
    assert [block.data["seq"] for block in (*seen, *rest)] == list(range(1, len(seen) + len(rest) + 1))


def test_a_pool_with_the_api_runs_what_it_accepts(both: Api) -> None:
    """One unit is enough: a graph that is submitted there ends, and it is there after a reload."""
    seen = both.follow(both.submit("both")).result(60)
    assert seen[-1].name == "graph.completed"
    both.systemctl("reload")
    assert both.submit("both") == seen[0].data["graph_id"], "the same key is the same run"
    assert both.show("ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "0"}
    with both.http() as http:
        wait_until(lambda: http.get("/health").json()["checks"]["workers"] == "ok")
