"""Pools that are forked from the program already imported are like those that are executed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.kit import Pool, RedisServer, alive, command_line, wait_until
from tests.kit.commands import run_program
from tests.kit.processes import read_proc
from tests.kit.warm_pool import Forked

SIGNALS = re.compile(rb"^(Sig(?:Blk|Ign|Cgt)):\s+(\w+)$", re.MULTILINE)
START_A_POOL = """
import os, sys
from pathlib import Path
from tests.kit import Pool
folder, redis = sys.argv[1:]
pool = Pool(Path(folder), ("run",), {"WORKERS": "1", "REDIS_ADDR": redis}).wait_ready()
print(*pool.process.relatives(), flush=True)
os.abort()
"""

pytestmark = pytest.mark.skipif(any(name.startswith("COVERAGE_") for name in os.environ), reason="all are executed")


def seen_of(pool: Pool) -> list[dict[str, Any]]:
    """Look at its processes as others can see them."""
    seen = (_seen_of_process(pool, pid) for pid in pool.process.relatives())
    return sorted(seen, key=lambda one: str(one["title"]))


def _seen_of_process(pool: Pool, pid: int) -> dict[str, Any]:
    links: list[str] = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it has closed that one since: it differs until the next look
            links.append(str(entry.readlink()))
    return {
        "title": command_line(pid).replace(pool.env["WORKER_ID"], "pool"),
        "descriptors": sorted(re.sub(r":\[\d+\]|\d+", "", link.replace(str(pool.folder), ".")) for link in links),
        "signals": dict(SIGNALS.findall(read_proc(pid, "status"))),
        "folder": str(Path(f"/proc/{pid}/cwd").readlink()).replace(str(pool.folder), "."),
        "limits": read_proc(pid, "limits"),
        "leader": os.getsid(pid) == pid,
    }


def test_forked_pool_is_like_an_executed_one(
    start_server: Callable[..., RedisServer], executor: Callable[..., Pool]
) -> None:
    """In all that can be seen of its processes, in what it says, and in how it ends."""
    forked = executor(start_server(), workers=1)
    Pool.warm = False
    executed = executor(start_server(), workers=1)
    assert isinstance(forked.process.popen, Forked) and not isinstance(executed.process.popen, Forked)
    differ = lambda: f"they are alike:\n{seen_of(forked)}\n{seen_of(executed)}"  # noqa: E731
    wait_until(lambda: seen_of(forked) == seen_of(executed), 10, differ)
    assert [one["title"].partition(" (")[0] for one in seen_of(forked)] == [
        f"pool: {role}" for role in ("keeper", "supervisor", "worker 1")
    ]
    said = []
    for pool in (forked, executed):
        assert pool.drain() == pool.process.popen.returncode == pool.process.popen.poll() == 0
        said.append([event["event"] for event in pool.events if event["event"].startswith("pool.")])
    assert said[0] == said[1] and said[0][-1] == "pool.stopped"
    assert forked.stdout == executed.stdout


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_end_of_a_forked_pool_is_heard_of(
    redis_server: RedisServer, executor: Callable[..., Pool], number: signal.Signals
) -> None:
    """By a signal or by itself; a wait that ends before says so."""
    pool = executor(redis_server, workers=1)
    assert pool.process.running()
    with pytest.raises(subprocess.TimeoutExpired):
        pool.process.popen.wait(0.01)
    pool.send(number)
    assert pool.process.wait(30) == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    pool.send(number)  # nobody gets that any more
    pool.process.assert_nobody_left()


def test_forked_pool_dies_with_the_tests(redis_server: RedisServer, tmp_path: Path) -> None:
    """Whatever way these end."""
    command = [sys.executable, "-c", START_A_POOL, str(tmp_path), redis_server.addr]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGABRT
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 3
    wait_until(lambda: not any(alive(pid) for pid in pids), 10, "all are gone")


@pytest.mark.parametrize("warm", [True, False])
def test_commands_read_say_and_end(redis_server: RedisServer, folder: Path, warm: bool) -> None:
    """Input, both outputs and status are as with any other; one that does not end is killed."""
    Pool.warm = warm
    graph = '{"nodes": {"a": {"type": "tool", "config": {"tool_name": "calculate", "tool_params": {}}}}}'
    done = run_program("graph", "validate", "-", env={}, cwd=folder, given=graph)
    assert (done.returncode, json.loads(done.stdout)["order"], done.stderr) == (0, [["a"]], "")
    done = run_program("graph", "validate", "absent.json", env={}, cwd=folder)
    assert done.returncode == 2 and done.stdout == "" and "absent.json" in done.stderr
    with pytest.raises(subprocess.TimeoutExpired):
        run_program("run", env={**redis_server.env, "LLM_PROVIDER": "scripted"}, cwd=folder, seconds=0.2)
