"""
Cost and latency of the API: submissions at a rate, events until they are shown, many readers, memory,
what it asks of Redis, and how soon it is back.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Coroutine, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import httpx2
import uvloop

from benchmarks.figures import Figure, percentile, tails
from benchmarks.idle import SETTLE_S, run_context
from benchmarks.load import OpenLoop, Reader, readers
from benchmarks.plan import Plan
from benchmarks.stage import Stage, cpu_s, pss_mib, stage, started
from tests.kit import kill_all, wait_until
from tests.kit.processes import read_proc

WORKERS = 4
RATE = 500.0
SUBMITTED = 2500
WATCHERS, RUNS = 1000, 100
LEASE_S = 5.0
API = ("run", "--api")
T = TypeVar("T")
Document = dict[str, Any]


def measure(plan: Plan) -> list[Figure]:
    with stage(WORKERS, API) as on:
        figures = [*_weight(on), *_submits(on, plan), *_watched(on), *_back(on, plan)]
    return [*figures, *_quiet(plan), *_all_killed(plan)]


def three_nodes() -> Document:
    """Two nodes that take no worker around one that does."""
    noop = {"type": "tool", "config": {"tool_name": "noop", "tool_params": {"text": "{{text}}"}}}
    edges = [{"from": "first", "to": "work"}, {"from": "work", "to": "last"}]
    nodes = {"first": {"type": "start"}, "work": noop, "last": {"type": "end"}}
    return {"nodes": nodes, "edges": edges, "output": "{{work}}"}


def staying(mark: str, seconds: float, then: int) -> Document:
    """A node that takes its worker for a while, and others behind it, one after the other."""
    stay = {"tool_name": "stay", "tool_params": {"mark": mark, "seconds": seconds}}
    names = ["n0", *(f"n{number + 1}" for number in range(then))]
    noop = {"type": "tool", "config": {"tool_name": "noop", "tool_params": {"text": ""}}}
    nodes = {"n0": {"type": "tool", "config": stay}, **dict.fromkeys(names[1:], noop)}
    return {"nodes": nodes, "edges": [{"from": one, "to": other} for one, other in pairwise(names)]}


def processes(on: Stage) -> list[int]:
    """The API's."""
    return [pid for pid in on.tree() if b": service" in read_proc(pid, "cmdline")]


def _weight(on: Stage) -> list[Figure]:
    return [Figure.of("api: memory when idle, PSS", [pss_mib(processes(on))], "MiB", at_most=60.0)]


def _submits(on: Stage, plan: Plan) -> list[Figure]:
    """Small graphs at a rate, of which one process accepts all while four workers run them."""
    bodies = [json.dumps({"graph": three_nodes(), "inputs": {"text": str(at)}}).encode() for at in range(100)]
    _run(OpenLoop(on.pool.api_port, bodies).run(RATE / 5, 200))  # warm
    waits: list[list[float]] = []
    spent: list[float] = []
    for _ in range(plan.rounds):
        load, before = OpenLoop(on.pool.api_port, bodies), cpu_s(processes(on))
        _run(load.run(RATE, SUBMITTED))
        waits.append(load.waits_ms)
        spent.append((cpu_s(processes(on)) - before) * 1000 / SUBMITTED)
    halves, tail = [[percentile(one, share) for one in waits] for share in (0.5, 0.99)]
    name = f"api: submit at {RATE:g} a second"
    return [
        Figure.of(f"{name}, p50", halves, "ms", scale="speed"),
        Figure.of(f"{name}, p99", tail, "ms", at_most=25.0, scale="speed"),
        Figure.of("api: CPU of its process for a submit", spent, "ms", scale="speed"),
    ]


def _watched(on: Stage) -> list[Figure]:
    """Readers of runs that go on while they read."""
    bare = pss_mib(processes(on))
    with on.paused():
        ids = [_submit(on.pool.api_url, staying("watched", 0.0, 20)) for _ in range(RUNS)]
        found, connected, full = _run(_read(on, [ids[at % RUNS] for at in range(WATCHERS)]))
    lost = sum(one.seqs != list(range(1, len(one.seqs) + 1)) or not one.ended.is_set() for one in found)
    late = [ms for one in found for ms in one.late_ms]
    each = [(weight - bare) * 1024 / WATCHERS for weight in (connected, full)]
    return [
        Figure.of("api: 1000 readers of 100 runs that lost an event", [float(lost)], at_most=0.0),
        Figure.of("api: memory for a reader", each, "KiB", at_most=40.0),
        Figure.of("api: memory with 1000 readers, PSS", [connected, full], "MiB", at_most=60.0),
        *tails("api: event written to shown, 1000 readers", late, "ms", None, None),
        *tails("api: event written to shown", _shown(on), "ms", 5.0, 25.0),
    ]


async def _read(on: Stage, graph_ids: Sequence[str]) -> tuple[list[Reader], float, float]:
    """Let runs go on once all are read; returns the readers, and what the API weighs before and then."""
    found = await readers(on.pool.api_port, graph_ids)
    connected = pss_mib(processes(on))
    on.pool.send(signal.SIGCONT)
    await asyncio.wait_for(asyncio.gather(*(one.ended.wait() for one in found)), 120)
    return found, connected, pss_mib(processes(on))


def _shown(on: Stage) -> list[float]:
    """Measure how late the events of runs are, each of which has one reader, two at the same time."""

    async def follow() -> list[float]:
        late: list[float] = []
        for number in range(20):
            ids = [_submit(on.pool.api_url, staying(f"shown{number}", 0.2, 20)) for _ in range(2)]
            found = await readers(on.pool.api_port, ids)
            await asyncio.wait_for(asyncio.gather(*(one.ended.wait() for one in found)), 60)
            late += [ms for one in found for ms in one.late_ms]
        return late

    return _run(follow())


def _back(on: Stage, plan: Plan) -> list[Figure]:
    """Measure how soon another process answers when the only one was killed."""
    waits = []
    for _ in range(plan.rounds):
        (victim,) = processes(on)
        killed = time.perf_counter()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: _answers(on.pool.api_url), 20, "the API answers", every=0.01)
        waits.append(time.perf_counter() - killed)
        (_,) = wait_until(lambda: processes(on), 20, "it is there")
    return [Figure.of("api: killed to answering again", waits, "s", at_most=1.0)]


def _quiet(plan: Plan) -> list[Figure]:
    """Commands a second that an idle program sends with the API, beyond those without."""
    rates = []
    for command in (("run",), API):
        with stage(WORKERS, command) as on:
            time.sleep(SETTLE_S)
            rates.append(run_context(on, plan.quiet_s)[0])
    return [Figure.of("api: commands a second when idle, beyond a pool's own", [rates[1] - rates[0]], at_most=2.0)]


def _all_killed(plan: Plan) -> list[Figure]:
    """Measure how soon runs go on when all processes were killed, Redis too, and all are started again."""
    waits = []
    settings = {"LEASE": f"{LEASE_S:g}s"}
    for _ in range(min(plan.trees, 2)):
        with stage(WORKERS, API, {"aof": True}, **settings) as on:
            ids = [_submit(on.pool.api_url, staying("all", 1.0, 5)) for _ in range(8)]
            wait_until(lambda: _running(on) == WORKERS, 20, "they run")
            kill_all(on.tree())
            on.server.restart(crash=True)
            began = time.monotonic()
            with started(on.folder / "pool2", on.server, WORKERS, API, WORKER_ID="pool", **settings) as pool:
                for one in ids:
                    wait_until(partial(_moved, pool.api_url, one), 60, "it goes on")
                waits.append(time.monotonic() - began)
    name = f"api: all killed, to all runs going on, LEASE={LEASE_S:g}s"
    return [Figure.of(name, waits, "s", at_most=LEASE_S + 2)]


def _moved(url: str, graph_id: str) -> bool:
    states = httpx2.get(f"{url}/api/v1/graphs/{graph_id}").json()["node_states"]
    return bool(states.get("n0", {}).get("status") == "completed")


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/ready", timeout=5).status_code == 200
    except httpx2.TransportError:
        return False


def _submit(url: str, graph: Document) -> str:
    answer = httpx2.post(f"{url}/api/v1/graphs", json={"graph": graph, "inputs": {"text": ""}}, timeout=20)
    return str(answer.json()["graph_id"])


def _running(on: Stage) -> int:
    return sum(row["state"] == "busy" for row in on.pool.workers())


def _run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
