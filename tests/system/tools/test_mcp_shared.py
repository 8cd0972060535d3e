"""One stdio server for a whole pool: its workers' calls side by side, each with its own answer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from executor_worker.errors import NodeTimeout, ToolFailed, ToolTimeout, ToolUnavailable, ToolUncertain
from executor_worker.run_context import RunContext
from executor_worker.tools import ToolRegistry, ToolSettings
from executor_worker.tools.mcp_config import load_servers
from executor_worker.tools.sharing.host import ENDED, Command, serve
from executor_worker.tools.sharing.host_process import HostProcess, listen, shared
from tests.kit import Stopwatch, alive, wait_until

Odd = Callable[..., dict[str, Any]]


class Pool:
    """A host, and registries as its workers have them."""

    def __init__(self, servers: dict[str, Any], folder: Path, log: Any) -> None:
        path = folder / "shared.json"
        path.write_text(json.dumps({"mcpServers": {name: entry | {"shared": True} for name, entry in servers.items()}}))
        self._settings = ToolSettings(mcp_config=str(path), tool_timeout_s=60.0)
        self._log = log
        self.listener = listen()
        self.host = HostProcess(shared(load_servers((), str(path), os.environ)), self.listener, os.environ, log)
        self.host.tend()
        self.registries: list[ToolRegistry] = []

    def worker(self) -> ToolRegistry:
        registry = ToolRegistry(self._settings, (), self._log, host=self.listener.getsockname())
        self.registries.append(registry)
        return registry

    def close(self) -> None:
        for registry in self.registries:
            registry.close()
        self.host.close()
        self.listener.close()


@pytest.fixture
def pool(tmp_path: Path, log: Any) -> Iterator[Callable[..., Pool]]:
    """Make a pool that shares servers: `pool(odd=odd())`."""
    with ExitStack() as made:

        def make(**servers: Any) -> Pool:
            pool = Pool(servers, tmp_path, log)
            made.callback(pool.close)
            return pool

        yield make


def pid_of(registry: ToolRegistry, run_context: RunContext) -> int:
    return int(registry.find("pid").call({}, run_context, "k").value)


def test_all_workers_call_the_same_server(pool: Callable[..., Pool], odd: Odd, run_context: RunContext) -> None:
    """One process; what is called and what is answered is the same as with a server of one's own."""
    here = pool(odd=odd(GIVEN="x"))
    workers = [here.worker() for _ in range(4)]
    assert len({pid_of(worker, run_context) for worker in workers}) == 1
    assert "stdio, shared, protocol" in workers[0].probe()[0][2]
    answer = workers[1].find("structured").call({}, run_context, "k")
    assert answer.value == {"deep": [1, 2.5, None, {"big": 2**70}]}
    assert workers[2].find("key").call({}, run_context, "item-7/call-1").value == "item-7/call-1"
    assert len(workers[3].find("big").call({"mib": 3}, run_context, "k").value) == 3 << 20
    env = workers[0].find("env").call({}, run_context, "k").value
    assert env["GIVEN"] == "x"
    assert "PATH" in env
    assert "LLM_API_KEY" not in env
    with pytest.raises(ToolFailed, match="the database is closed"):
        workers[0].find("rpc_error").call({}, run_context, "k")


def test_calls_go_side_by_side_and_each_finds_its_own_answer(
    pool: Callable[..., Pool], own_stdio: dict[str, Any], tmp_path: Path, run_context: RunContext
) -> None:
    """A slow call holds nobody up; hundreds at a time are told apart, and so is their progress."""
    here = pool(own=own_stdio)
    workers = [here.worker() for _ in range(4)]
    slow = workers[0].find("slow")
    with ThreadPoolExecutor(5) as threads:
        started = tmp_path / "started"
        waiting = threads.submit(
            slow.call, {"path": str(started), "seconds": 30}, RunContext(time.monotonic() + 60), "k"
        )
        wait_until(started.exists, 10)

        def many(number: int) -> bool:
            echo = workers[number].find("echo")
            return all(
                echo.call({"value": f"{number}/{turn}"}, run_context, "k").value == {"result": f"{number}/{turn}"}
                for turn in range(50)
            )

        assert all(threads.map(many, range(4)))
        assert not waiting.done()
        workers[0].close()
        with pytest.raises(ToolUncertain):
            waiting.result(10)
    wait_until(lambda: started.read_text() == "cancelled", 5)


def test_progress_goes_to_whom_it_concerns(pool: Callable[..., Pool], odd: Odd) -> None:
    """And to nobody else."""
    here = pool(odd=odd())
    seen: dict[int, list[float]] = {0: [], 1: []}
    for number in seen:
        context = RunContext(time.monotonic() + 20)
        on_progress = lambda done, _total, number=number: seen[number].append(done)  # noqa: E731
        tool = here.worker().find("steps")
        assert tool.call({"steps": [number + 1], "total": 9}, context, "k", on_progress).value == "done"
    assert seen == {0: [1], 1: [2]}


def test_a_call_that_is_given_up_is_cancelled_and_the_others_go_on(
    pool: Callable[..., Pool], odd: Odd, tmp_path: Path, run_context: RunContext
) -> None:
    """By its time, and by the end of its worker."""
    told = tmp_path / "cancelled"
    here = pool(odd=odd(ODD_CANCELLED=str(told)) | {"tools": {"hang": {"timeout": 0.5}}})
    one, other = here.worker(), here.worker()
    before = pid_of(other, run_context)
    with pytest.raises(ToolTimeout):
        one.find("hang").call({}, run_context, "k")
    wait_until(told.exists, 5)
    told.unlink()
    with pytest.raises(NodeTimeout):
        one.find("hang").call({}, RunContext(time.monotonic() + 0.2), "k")
    one.close()
    wait_until(told.exists, 5)
    assert pid_of(other, run_context) == before


def test_a_server_that_dies_is_started_again_for_all(
    pool: Callable[..., Pool], odd: Odd, tmp_path: Path, run_context: RunContext
) -> None:
    """Calls that it had are uncertain, or repeated where that is allowed; calls that it never got are made again."""
    here = pool(odd=odd())
    workers = [here.worker() for _ in range(3)]
    before = {pid_of(worker, run_context) for worker in workers}
    path = tmp_path / "calls"
    with pytest.raises(ToolUncertain):
        workers[0].find("die_once_undeclared").call({"path": str(path)}, run_context, "k")
    after = {pid_of(worker, run_context) for worker in workers}
    assert len(after) == 1
    assert after != before
    path.unlink()
    assert workers[1].find("die_once_none").call({"path": str(path)}, run_context, "k").value == "alive"
    for _ in range(3):
        pid = pid_of(workers[2], run_context)
        os.kill(pid, signal.SIGKILL)
        wait_until(partial(_dead, pid), 5, every=0.0001)
        assert pid_of(workers[2], run_context) != pid


def test_a_host_that_dies_is_started_again(
    pool: Callable[..., Pool], odd: Odd, run_context: RunContext, log: Any
) -> None:
    """Its server ends with it; the keeper's next look brings both back."""
    here = pool(odd=odd())
    worker = here.worker()
    before = pid_of(worker, run_context)
    process = here.host._process
    assert process is not None
    process.kill()
    process.wait()
    wait_until(partial(_dead, before), 5)
    here.host.tend()
    assert pid_of(worker, run_context) != before
    assert "shared_tools.died" in log.events("error")


def test_a_host_that_is_ending_takes_no_workers(odd: Odd) -> None:
    """Whoever comes then waits for the next host; those who are connected are told what their server never got."""
    entry = odd(ODD_STUBBORN="1")
    command: Command = {"command": entry["command"], "args": entry["args"], "env": entry["env"], "cwd": None}

    async def connected(listener: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(listener.getsockname())
        writer.write(b'{"server": "odd", "command": "odd"}\n')
        return reader, writer

    async def come_and_go(listener: socket.socket) -> None:
        ending, ended = asyncio.Event(), asyncio.Event()
        old = asyncio.create_task(
            serve({"listener": listener.dup().detach(), "servers": {"odd": command}}, ending.wait())
        )
        known, here = await connected(listener)
        assert json.loads(await known.readline())["word"] == "1"
        ending.set()
        for _ in range(3):
            await asyncio.sleep(0)  # now it knows; its server takes its time
        new, there = await connected(listener)
        here.write(b'{"jsonrpc": "2.0", "id": "1:1", "method": "tools/call"}\n')
        told = json.loads(await known.readline())
        assert (told["method"], told["params"]["got"]) == (ENDED, [])
        await old
        young = asyncio.create_task(
            serve({"listener": listener.dup().detach(), "servers": {"odd": command}}, ended.wait())
        )
        assert json.loads(await new.readline())["word"] == "1", "the old host would have called it 2"
        ended.set()
        await young
        for writer in (here, there):
            writer.close()

    with listen() as listener:
        asyncio.run(come_and_go(listener))


def test_a_server_that_can_not_start_is_named_with_its_last_words(pool: Callable[..., Pool], odd: Odd) -> None:
    """As one of one's own is."""
    here = pool(broken=odd(ODD_FAIL="no licence found"), gone={"command": "/no/such/program"})
    said = {name: text for name, ok, text in here.worker().probe() if not ok}
    assert said["broken"] == "it ended with status 1: no licence found"
    assert said["gone"] == "'/no/such/program' can't be started: No such file or directory"
    with pytest.raises(ToolUnavailable):
        here.worker().find("wanted")


def test_lists_that_change_are_heard_of_by_all(pool: Callable[..., Pool], odd: Odd, run_context: RunContext) -> None:
    """The server tells it once; each worker lists anew."""
    here = pool(odd=odd())
    one, other = here.worker(), here.worker()
    assert other.find("echo").call({"value": 1}, run_context, "k").value == "1"
    one.find("grow").call({"name": "fresh"}, run_context, "k")
    assert other.find("fresh").call({}, run_context, "k").value == "fresh called"


def test_closing_ends_all(pool: Callable[..., Pool], odd: Odd, run_context: RunContext) -> None:
    """Stubborn servers too, with what they have started."""
    here = pool(kind=odd(), stubborn=odd(ODD_STUBBORN="1"))
    worker = here.worker()
    pids = [
        int(worker.find(f"{name}.{tool}").call({}, run_context, "k").value)
        for name in ("kind", "stubborn")
        for tool in ("pid", "spawn")
    ]
    worker.close()
    assert alive(pids[0]), "the server is the pool's, not the worker's"
    began = Stopwatch()
    here.host.close()
    assert began.own_s() < 3
    wait_until(lambda: not any(alive(pid) for pid in pids), 3)


def test_a_stranger_is_not_let_in(pool: Callable[..., Pool], odd: Odd) -> None:
    """Who is none of this user's learns nothing: seen here by the host's own rule."""
    from executor_worker.tools.sharing import host

    class Writer:
        uid = os.getuid()

        def get_extra_info(self, _name: str) -> Writer:
            return self

        def getsockopt(self, *_: int) -> bytes:
            return host._PEER.pack(1, self.uid, 1)

    ours, theirs = Writer(), Writer()
    theirs.uid = 12345
    assert host._may_enter(ours)  # type: ignore[arg-type]
    assert not host._may_enter(theirs)  # type: ignore[arg-type]
    assert threading.active_count() >= 1


def _dead(pid: int) -> bool:
    return not alive(pid)
