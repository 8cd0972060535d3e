"""Scenarios 15 and 16: what goes wrong before the first item."""

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.faults.stage import ROOT, WORK, Stage
from tests.kit import PROGRAM, wait_until

pytestmark = pytest.mark.cold

THREADED = """
import os, threading, time
threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
from executor_worker.tools import tool

@tool
def nothing(mark: str) -> str:
    return mark

if os.environ.get("EXECUTOR_POOL") and os.path.exists(os.environ["FAULTS_JOURNAL"] + "/broken"):
    raise RuntimeError("the tools are broken today")
"""

BREAKING = """
from executor_worker.program import rehearsal

def broken(*_):
    {how}

rehearsal.pack = broken
"""


def test_15_workers_that_raise_in_boot(stage: Stage) -> None:
    """All of them: backed off, then the pool exits and gives the reason."""
    (stage.journal.folder / "threaded.py").write_text(THREADED)
    (stage.journal.folder / "broken").touch()
    pool = stage.pool(workers=2, wait=False, TOOL_MODULES="threaded", PYTHONPATH=f"{ROOT}:{stage.journal.folder}")
    entry = stage.push("nothing")
    assert pool.wait(20) in (1, 78)
    assert "the tools are broken today" in pool.said()
    assert pool.wait_event("pool.given_up")["reason"]
    assert not stage.pending() and stage.db.xrange(WORK)[0][0] == entry.encode()


def test_15_one_worker_raises_in_boot(stage: Stage) -> None:
    """It is backed off while the others work; once it can, it comes up."""
    (stage.journal.folder / "threaded.py").write_text(THREADED)
    modules = {"TOOL_MODULES": "threaded,tests.faults.tools", "PYTHONPATH": f"{ROOT}:{stage.journal.folder}"}
    pool = stage.pool(workers=2, **modules)
    (stage.journal.folder / "broken").touch()
    stage.push("crash", how="SIGKILL")
    pool.wait_event("slot.backing_off")
    assert stage.result()["data"]["attempt"] == 2, "the other slot has it"
    wait_until(lambda: pool.health()["status"] == "degraded", 5, "it says so")
    (stage.journal.folder / "broken").unlink()
    pool.wait_workers(lambda rows: all(row["state"] == "idle" for row in rows))
    wait_until(lambda: pool.health()["status"] == "healthy", 5, "it is well again")


@pytest.mark.parametrize("event", ["health.listening", "pool.starting", "slot.started", "keeper.up", "slot.up"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_16_term_during_boot_and_between_the_forks(stage: Stage, event: str, number: signal.Signals) -> None:
    """No item is taken that is not also finished, and the exit is clean."""
    stage.push("nap")
    pool = stage.pool(workers=4, wait=False, LOG_LEVEL="debug")
    pool.wait_event(event)
    pool.send(number)
    assert pool.wait(8) == 0, pool.said()
    assert not stage.pending() and len(stage.results()) == len(stage.journal.starts()) <= 1


def test_16_term_before_anything_was_said(stage: Stage) -> None:
    """Also while the program is still being loaded: from its first own line on."""
    entry = stage.push("nap")
    pool = stage.pool(workers=1, wait=False, WORKERZ="a misspelt name is said first")
    pool.wait_event("setting.doubtful")
    pool.send(signal.SIGTERM)
    assert pool.wait(8) == 0
    assert not stage.journal.starts() and stage.db.xrange(WORK)[0][0] == entry.encode()


@pytest.mark.parametrize("how", ["raise SystemExit(3)", "while True: pass"])
def test_16_rehearsal_that_fails_does_not_stop_the_start(stage: Stage, how: str) -> None:
    """A module of tools has broken what items are rehearsed with: one warning, and the pool works."""
    (stage.journal.folder / "breaking.py").write_text(BREAKING.format(how=how))
    modules = {"TOOL_MODULES": "breaking,tests.faults.tools", "PYTHONPATH": f"{ROOT}:{stage.journal.folder}"}
    pool = stage.pool(workers=2, **modules)
    stage.push("nap")
    assert stage.result() and stage.node()["status"] == "completed"
    (told,) = pool.seen("rehearsal.failed")
    assert told["level"] == "warn" and "the pool works all the same" in told["advice"]


def test_16_too_few_descriptors_are_said_at_the_start(stage: Stage) -> None:
    """One sentence and 78, instead of workers that are replaced for ever."""
    command = ["sh", "-c", 'ulimit -n 40; exec "$0" run', str(PROGRAM)]
    done = subprocess.run(command, env=stage.server.env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 78 and "may open 40 at most" in done.stderr and "ulimit -n" in done.stderr
