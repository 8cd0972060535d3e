"""Each alert about runs of graphs: the state it fires in, the commands its section names, what is over then."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from executor_worker.broker.names import looks_key, timers_key
from executor_worker.client import DagoClient
from tests.contract.conftest import WITH_TOOLS
from tests.kit import Pool, RedisServer, wait_until
from tests.kit.paths import ROOT
from tests.kit.pool import PROGRAM
from tests.system.deploy.test_runbook import section
from tests.system.orchestrator.graphs import chain, waiting

COMMAND = re.compile(r"`((?:executor-worker|graph|ctl|curl|redis-cli) [^`]+|status(?: --all)?)`")
pytestmark = pytest.mark.xdist_group("graph-alerts")  # one pool for all
TOKENS = {"API_TOKENS": "prometheus:read:rrr,ops:operate:ooo"}


def commands(title: str) -> list[str]:
    """What a section of the runbook has one type, in its order."""
    return [" ".join(line.split()) for line in COMMAND.findall(section(title))]


def is_keeper(pid: int) -> bool:
    return b"keeper" in Path(f"/proc/{pid}/cmdline").read_bytes()


class Drill:
    """One Redis, one pool with an API, one shell."""

    def __init__(self, folder: Path, started: ExitStack) -> None:
        self.folder = folder
        self._started, self._frozen = started, False
        self.server = RedisServer(self.place("redis"))
        started.callback(self.server.close)
        self.pool = self.start("run", "--api", WORKERS="1")
        self.dago = started.enter_context(DagoClient(self.pool.api_url))

    def place(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir()
        return path

    def start(self, *command: str, name: str = "pool", **settings: str) -> Pool:
        """One more of the program's processes on this Redis."""
        env = {"WORKER_ID": f"drill-{name}", **self.server.env, **WITH_TOOLS, **settings}
        pool = Pool(self.place(name), command, env)
        self._started.callback(pool.close)
        return pool.wait_ready() if command[0] == "run" else pool

    def type(self, line: str, api: Pool | None = None, status: int = 0, **given: str) -> str:
        """Type a command of the text, with what stands for something replaced; return what it prints."""
        words = [given.get(word, word) for word in shlex.split(line)]
        if words[0] == "redis-cli":
            client: Any = self.server.client()
            return str(client.execute_command(*words[1:]))
        if words[0] == "curl":
            words = [word.replace("8080", str((api or self.pool).api_port)) for word in words]
        else:
            words = [str(PROGRAM), *(words[1:] if words[0] == "executor-worker" else words)]
        env = {**self.pool.env, "PATH": "/usr/bin:/bin"}
        done = subprocess.run(words, env=env, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == status, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def metric(self, name: str, **labels: str) -> float:
        """What the pages of API and pool say of what the alert asks for; all with these labels together."""
        pages = [httpx2.get(f"{self.pool.api_url}/metrics", timeout=60).text]
        pages += [] if self._frozen else [self.pool.get("/metrics").text]
        families = [family for page in pages for family in text_string_to_metric_families(page)]
        samples = [one for family in families for one in family.samples if one.name == name]
        return sum(one.value for one in samples if labels.items() <= one.labels.items())

    def write(self, graph: dict[str, Any]) -> str:
        """A graph's file, for commands."""
        path = self.folder / "graph.json"
        path.write_text(json.dumps(graph))
        return str(path)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """As a paused host does, but for the API: the supervisor and its keeper stand still."""
        pids = [self.pool.process.pid, *filter(is_keeper, self.pool.process.relatives())]
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            self._frozen = True
            yield
        finally:
            self._frozen = False
            for pid in reversed(pids):
                os.kill(pid, signal.SIGCONT)

    def keep_busy(self) -> tuple[str, Path]:
        """A run that has the only worker, until its file is there."""
        gate = self.folder / f"gate-{time.monotonic_ns()}"
        run = self.dago.submit_graph(waiting(str(gate)))
        wait_until(lambda: self.dago.get_status(run)["status"] == "running", 20, "a worker has it")
        return run, gate


@pytest.fixture(scope="module")
def drill() -> Iterator[Drill]:
    """For all alerts of this file."""
    with tempfile.TemporaryDirectory(prefix="ex-") as folder, ExitStack() as started:
        yield Drill(Path(folder), started)


def tool(name: str, **params: Any) -> dict[str, Any]:
    return {"type": "tool", "config": {"tool_name": name, "tool_params": params}}


def make_due(drill: Drill, key: str, of: bytes) -> None:
    """As if time had gone by: what there is *of* a kind or a run has been due for a minute."""
    db: Any = drill.server.client()
    due = wait_until(lambda: [one for one in db.zrange(key, 0, -1) if of in one], 20, "there is such a thing")
    for member in due:
        db.zadd(key, {member: int((time.time() - 60) * 1000)})


def test_api_down(drill: Drill) -> None:
    """Runs go on, commands work beside Redis; a new one serves. Without its token it seems to be down."""
    (ready,) = commands("GraphApiDown")
    api = drill.start("serve", name="serve", **TOKENS)
    assert "401" in drill.type("curl -s localhost:8080/metrics", api)
    page = httpx2.get(f"{api.api_url}/metrics", headers={"Authorization": "Bearer rrr"}, timeout=60)
    assert page.status_code == 200
    api.process.kill()
    drill.type(ready, api, status=7)
    run = json.loads(drill.type("graph submit FILE", FILE=drill.write(chain(2))))["graph_id"]
    assert drill.dago.wait(run, 20)["status"] == "completed"
    assert "completed" in drill.type("graph show ID", ID=run)
    (line,) = [one for one in commands("The API is gone") if one == "executor-worker serve"]
    again = drill.start(*line.split()[1:], name="serve2")
    assert drill.type(ready, again) == "ready"
    assert again.drain() == 0


def test_runs_stuck(drill: Drill) -> None:
    """The pool's keeper is frozen; any other does what is due, once."""
    health, pools = commands("GraphRunsStuck")
    count = drill.folder / "count"
    node = {**tool("fail_times", path=str(count), times=1), "retry": {"max_attempts": 2, "delay": 600}}
    run = drill.dago.submit_graph({"nodes": {"a": node}})
    wait_until(count.exists, 20, "the first attempt")
    with drill.frozen():
        make_due(drill, timers_key(), b"retry")
        assert "left lying" in json.loads(drill.type(health))["checks"]["scheduler"]
        assert drill.metric("dago_runs_overdue_seconds") > 30
        assert "drill-pool" in drill.type(pools)
        other = drill.start("serve", name="keeper")
        assert wait_until(lambda: drill.dago.wait(run, 20), 20)["status"] == "completed"
        wait_until(lambda: json.loads(drill.type(health))["checks"]["scheduler"] == "ok", 20, "nothing is left lying")
    assert count.read_text() == "xx"
    other.drain()


def test_runs_wait_for_workers(drill: Drill) -> None:
    """The pool is paused, the screens say so, and it goes on when it is told to."""
    everywhere, resume, here = commands("GraphRunsWaitForWorkers")
    drill.type("ctl pause")
    run = drill.dago.submit_graph(waiting(str(gate := drill.folder / "resumed")))
    wait_until(lambda: drill.metric("dago_run_nodes_ready") > 0, 20, "a node is ready")
    assert drill.metric("dago_run_nodes_running") == 0
    wait_until(lambda: "paused" in drill.type(everywhere), 20, "the registry says it")
    drill.type(resume)
    wait_until(lambda: "0 nodes ready, 1 running" in drill.type(here), 20, "it runs")
    gate.touch()
    assert drill.dago.wait(run, 20)["status"] == "completed"


def test_runs_mended(drill: Drill) -> None:
    """Somebody has deleted an item: it is queued again, and `check` says what Redis keeps."""
    (check,) = commands("GraphRunsMended")
    busy, gate = drill.keep_busy()
    run = drill.dago.submit_graph(chain(1))
    db = drill.server.client()
    newest: Any = wait_until(lambda: db.xrevrange("executor.work", count=1), 20, "it is queued")
    assert db.xdel("executor.work", newest[0][0]) == 1
    make_due(drill, looks_key(), run.encode())
    gate.touch()
    drill.dago.wait(busy, 20)
    assert drill.dago.wait(run, 30)["status"] == "completed"
    drill.pool.wait_event("run.mended", items=1)
    said = drill.type(check)
    assert "noeviction" in said and "appendonly no" in said
    wait_until(lambda: drill.pool.metrics().get("dago_runs_mended_total", 0) == 1, 20, "it is counted")


def test_runs_fail(drill: Drill) -> None:
    """The list, the reason, a look at what a retry takes; mended and retried it completes."""
    failed, show, retry, over = commands("GraphRunsFail")
    mended = drill.folder / "mended"
    run = drill.dago.submit_graph({"nodes": {"a": tool("fail_unless", path=str(mended))}})
    assert drill.dago.wait(run, 20)["status"] == "failed"
    wait_until(lambda: drill.metric("dago_graphs_failed_total") >= 1, 20, "it is counted")
    assert run in drill.type(failed)
    assert "it is not there" in drill.type(show, ID=run)
    assert [json.loads(line)["graph_id"] for line in drill.type(retry).splitlines()] == [run]
    assert drill.dago.get_status(run)["status"] == "failed"
    mended.touch()
    drill.type(retry.removesuffix(" --dry-run"))
    assert drill.dago.wait(run, 20)["status"] == "completed"
    assert run not in drill.type(over)


def test_nodes_fail_by_code(drill: Drill) -> None:
    """The alert's code finds its runs, and stands in the table of codes; so does each code that the text names."""
    by_code, listed = commands("GraphNodesFailByCode")
    graph = {"name": "of one author", "nodes": {"a": tool("too_slow")}}
    run = drill.dago.submit_graph(graph)
    assert drill.dago.wait(run, 20)["status"] == "failed"
    wait_until(lambda: drill.metric("dago_node_errors_total", code="tool_timeout") == 1, 20, "it is counted")
    assert json.loads(drill.type(by_code, CODE="tool_timeout"))["graph_id"] == run
    assert "of one author" in drill.type(listed)
    modes = (ROOT / "docs" / "MODES.md").read_text()
    codes = {"tool_timeout", *re.findall(r"`([a-z]+_[a-z]+|poisoned)`", section("GraphNodesFailByCode"))}
    assert len(codes) > 5 and {code for code in codes if f"`{code}`" not in modes} == set()


def test_nodes_wait_long(drill: Drill) -> None:
    """The only slot is busy: one more takes what waits; a run that is held lets others go first."""
    everywhere, scale, hold, resume = commands("GraphNodesWaitLong")
    busy, gate = drill.keep_busy()
    greedy = drill.dago.submit_graph(chain(2))
    drill.type(hold, ID=greedy)
    other = drill.dago.submit_graph(chain(1))
    wait_until(lambda: "1 busy" in drill.type(everywhere), 20, "it is seen")
    drill.type(scale, N="2")
    assert drill.dago.wait(other, 20)["status"] == "completed"
    assert "the run is held" in drill.type("graph show ID", ID=greedy)
    drill.type(resume, ID=greedy)
    gate.touch()
    assert [drill.dago.wait(one, 20)["status"] for one in (greedy, busy)] == ["completed"] * 2
    assert drill.metric("dago_queue_wait_time_seconds_count") > 0
    drill.type(scale, N="1")


def test_steps_are_slow(drill: Drill) -> None:
    """Redis tells what the text says it does."""
    drill.dago.wait(drill.dago.submit_graph(chain(2)), 20)
    wait_until(lambda: drill.metric("dago_run_step_gap_seconds_count") > 0, 20, "it is counted")
    slow, stats, disk = commands("GraphStepsAreSlow")
    assert drill.type(slow).startswith("[")
    assert "cmdstat_fcall" in drill.type(stats) or "cmdstat_evalsha" in drill.type(stats)
    drill.server.client().config_set("appendonly", "yes")
    assert "aof_delayed_fsync" in drill.type(disk)
    drill.server.client().config_set("appendonly", "no")


def test_submits_fail(drill: Drill) -> None:
    """Redis is nearly full: 503 says so, and the same submit with its key is accepted when there is room."""
    (submit,) = commands("GraphSubmitsFail")
    db = drill.server.client()
    db.config_set("maxmemory", int(db.info("memory")["used_memory"] * 1.06))
    url = f"{drill.pool.api_url}/api/v1/graphs"

    def post(**headers: str) -> httpx2.Response:
        return httpx2.post(url, json={"graph": chain(1)}, headers=headers, timeout=60)

    wait_until(lambda: post().status_code == 503, 20, "no run is accepted")
    order = {"Idempotency-Key": "one order"}
    refused = post(**order)
    assert refused.status_code == 503
    assert "full" in refused.json()["detail"]
    assert drill.metric("dago_api_requests_total", route="/api/v1/graphs", code="503") > 0
    room, *_ = [line for line in commands("Redis is full") if "config set maxmemory" in line]
    drill.type(room)
    wait_until(lambda: post(**order).is_success, 20, "there is room")
    accepted = post(**order)  # the same run
    run = json.loads(drill.type(submit, FILE=drill.write(chain(1))))["graph_id"]
    assert [drill.dago.wait(one, 20)["status"] for one in (run, accepted.json()["graph_id"])] == ["completed"] * 2


def test_watchers_many(drill: Drill) -> None:
    """Who reads is seen on the page that the text names: how many now, and by which route."""
    (page,) = commands("GraphWatchersMany")
    run, gate = drill.keep_busy()
    events = drill.dago.events(run)
    next(events)
    assert drill.metric("dago_event_subscribers") == 1
    said = drill.type(page)
    assert re.search(r"^dago_event_subscribers\b.* 1\.0$", said, re.MULTILINE)
    gate.touch()
    assert list(events)[-1]["type"] == "graph.completed"
    wait_until(lambda: drill.metric("dago_event_subscribers") == 0, 20, "nobody reads any more")
    assert re.search(r'^dago_api_requests_total\{.*route="[^"]*events', drill.type(page), re.MULTILINE)
