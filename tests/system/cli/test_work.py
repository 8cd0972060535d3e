"""`work`: one worker on a terminal, left by Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.kit import PROGRAM, Process, RedisServer, alive, command_line, holds_for, own_name, wait_until
from tests.system.cli.conftest import environment

TOOL = """
import pathlib, threading
from executor_worker.tools import tool

@tool(effects="none")
def linger() -> None:
    pathlib.Path("lingering").touch()
    threading.Event().wait(60)
"""


SLOW_TO_IMPORT = """
import pathlib, time
pathlib.Path("importing").touch()
time.sleep(60)
"""


SLOW_TO_BE_BORN = """
import os, pathlib, time

def wait():
    pathlib.Path("born").write_text(str(os.getpid()))
    while not pathlib.Path("told").exists():
        time.sleep(0.01)

os.register_at_fork(after_in_child=wait)
"""


def called(process: Process, title: str) -> list[int]:
    return [pid for pid in process.relatives() if command_line(pid) == title]


@pytest.mark.parametrize("command", ["work", "run"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_leave_while_tools_are_imported(
    folder: Path, redis_server: RedisServer, command: str, number: signal.Signals
) -> None:
    """That is a clean end, and no fault of the module."""
    (folder / "slow.py").write_text(SLOW_TO_IMPORT)
    settings = {**redis_server.env, "TOOL_MODULES": "slow", "PYTHONPATH": str(folder)}
    worker = Process([PROGRAM, command], env=environment(settings), cwd=folder, stderr=-1)
    try:
        wait_until((folder / "importing").exists, 15, "the module is being imported")
        worker.send(number)
        assert worker.wait() == 0
        worker.assert_nobody_left()
        assert worker.popen.stderr is not None
        assert b"slow" not in worker.popen.stderr.read()
    finally:
        worker.kill()


def test_a_second_ctrl_c_gives_the_item_back(folder: Path, redis_server: RedisServer) -> None:
    """The first one waits for the item; one over a second later does not, and nothing is lost. Its title is its own."""
    (folder / "lingers.py").write_text(TOOL)
    name = own_name("executor-alone")
    names = {"TOOL_MODULES": "lingers", "WORKER_ID": name}
    settings = {**redis_server.env, "PYTHONPATH": str(folder), **names}
    client: Any = redis_server.client()
    item = {"graph_id": "g", "node_id": "n", "config": {"tool_name": "linger"}, "inputs": {}}
    entry = client.xadd("executor.work", {"data": json.dumps(item)})
    worker = Process([PROGRAM, "work"], env=environment(settings), cwd=folder)
    try:
        wait_until((folder / "lingering").exists, 15, "the tool runs")
        assert command_line(worker.pid) == f"{name}: worker"
        worker.send(signal.SIGINT)
        (keeper,) = wait_until(lambda: called(worker, f"{name}: keeper"), 10, "its keeper")
        os.kill(keeper, signal.SIGTERM)  # as it gets it that is sent to the whole group
        # Long enough for the first to be heard, and for a second after that, in which another one means no more.
        holds_for(lambda: worker.running() and alive(keeper), 3, "the lease is kept")
        worker.send(signal.SIGINT)
        assert worker.wait() == 0
        worker.assert_nobody_left()
    finally:
        worker.kill()
    assert [kept for kept, _ in client.xrange("executor.work")] == [entry]
    assert not client.exists("dago:events:node.failed")


def test_a_keeper_that_is_just_being_born_leaves_the_groups_signals_to_its_worker(
    folder: Path, redis_server: RedisServer
) -> None:
    """Else the worker would end for its sake."""
    (folder / "births.py").write_text(SLOW_TO_BE_BORN)
    settings = {**redis_server.env, "TOOL_MODULES": "births", "PYTHONPATH": str(folder)}
    client: Any = redis_server.client()
    worker = Process([PROGRAM, "work"], env=environment(settings), cwd=folder)
    try:
        keeper = int(wait_until(lambda: (folder / "born").exists() and (folder / "born").read_text(), 15, "a fork"))
        os.kill(keeper, signal.SIGTERM)
        (folder / "told").touch()
        wait_until(lambda: client.keys("dago:workers:*"), 15, "the worker is registered")
        assert worker.running() and keeper in worker.relatives()
        worker.send(signal.SIGINT)
        assert worker.wait() == 0
        worker.assert_nobody_left()
    finally:
        worker.kill()
