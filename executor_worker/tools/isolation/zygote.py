"""
The process that isolated calls are forked from, and what a forked call does first.

It is executed, not forked: a worker may have threads (MCP's event loop, whatever a tool has started), and a
fork of such a process inherits locks that no thread will ever release. This one imports TOOL_MODULES once, keeps
one thread, and holds neither the worker's connections nor its memory. If a module starts threads when it is
imported, it is left to each call to import it.

It ends what a call leaves behind: whatever session that is in, it is an orphan of ours when its parent is gone.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import psutil

from executor_worker import json_text
from executor_worker.errors import ConfigError, NodeError, ToolFailed
from executor_worker.run_context import RunContext
from executor_worker.tools.functions.functions import FunctionTool
from executor_worker.tools.functions.loading import load_functions
from executor_worker.tools.functions.source_line import trace_of
from executor_worker.tools.isolation.handshake import READY
from executor_worker.tools.logger import log as tool_log

NO_REQUEST = b""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_MIB = 1024 * 1024
# Sent to a whole control group at times, for our supervisor to heed.
_NOT_FOR_US = (signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2)
_LATE = "late"

Tools = dict[str, FunctionTool]


def main() -> None:
    """
    Serve until our worker closes its end of the socket, or dies.

    Arguments: the socket's number, the worker's pid, TOOL_MODULES as JSON, `late` where each call imports them
    itself. A request is a message with two descriptors: a file with the call as JSON, and the pipe for what it says.
    The reply is the call's exit status, once nothing of it is left.
    """
    control = socket.socket(fileno=int(sys.argv[1]))
    worker, modules, late = int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4] == _LATE
    _die_with(worker)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _call_itself(f"executor-worker: isolated tools of {worker}")
    for number in _NOT_FOR_US:
        signal.signal(number, _harmless)  # a handler, as a program the tool executes would inherit "ignore"
    try:
        tools = None if late else _load(modules)
    except ConfigError as error:
        control.send(str(error).encode()[:4096])
        return
    if tools is not None and psutil.Process().num_threads() > 1:
        os.set_inheritable(control.fileno(), True)
        os.execv(sys.executable, [*sys.orig_argv[:3], *sys.argv[1:4], _LATE, *sys.argv[5:]])
    gc.collect()
    gc.freeze()
    control.send(READY)
    while _serve_one(control, tools, modules):
        pass


def _serve_one(control: socket.socket, tools: Tools | None, modules: Sequence[str]) -> bool:
    said, descriptors, _, _ = socket.recv_fds(control, 16, 2)
    if said == NO_REQUEST:
        return False
    request, pipe = descriptors
    zygote = os.getpid()
    pid = os.fork()
    if pid == 0:
        control.close()
        _live(zygote, request, pipe, tools, modules)
    os.close(request)
    os.close(pipe)
    _, status = os.waitpid(pid, 0)
    _end_what_is_left()
    control.send(str(os.waitstatus_to_exitcode(status)).encode())
    return True


def _end_what_is_left() -> None:
    """Kill and reap until we have no child: what has lost its parent is ours."""
    while True:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if ended:
            continue
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                process.kill()
        with suppress(ChildProcessError):
            os.waitpid(-1, 0)


# -- in the call's own process --------------------------------------------------------------------


def _live(zygote: int, request: int, pipe: int, tools: Tools | None, modules: Sequence[str]) -> NoReturn:
    """Make the one call, say what came of it, and end."""
    status = 1
    try:
        os.setsid()
        _die_with(zygote)
        faulthandler.enable()
        with open(request, "rb") as file:
            call = json_text.loads(file.read())
        outcome = _outcome(call, pipe, tools or _load(modules))
        _write(pipe, outcome)
        status = 0
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(status)  # nothing of the zygote's is unwound or run at exit


def _outcome(call: dict[str, Any], pipe: int, tools: Tools) -> bytes:
    """One line: `{"value": …}`, or `{"error": <code>, "said": …}`; what it tells meanwhile is passed on."""

    def pass_on(level: str, event: str, /, **fields: Any) -> None:
        _write(pipe, json.dumps({"log": [level, event, fields]}, default=str, skipkeys=True).encode())

    run_context = RunContext(time.monotonic() + call["left"], call["key"])
    on_progress = lambda done, total: _write(pipe, json_text.dumps({"progress": [done, total]}))  # noqa: E731
    tool = tools[call["tool"]]
    tool.log = pass_on
    tool_log.redirect(pass_on)
    tool.timeout = call["timeout"]
    try:
        _limit_memory(call["memory_mb"])
        answer = tool.call(call["arguments"], run_context, call["key"], on_progress)
        return json_text.dumps({"value": answer.value})
    except NodeError as error:
        limited = call["memory_mb"] and isinstance(error.__cause__, MemoryError)
        hint = f" (its memory_mb is {call['memory_mb']:g})" if limited else ""
        return _refusal(error.code, f"{error}{hint}", error.where, trace_of(error))
    except ValueError as error:
        return _refusal(ToolFailed.code, f"tool {tool.name} returned output that is not JSON: {error}")
    except MemoryError:
        return _refusal(ToolFailed.code, f"tool {tool.name} had no memory left for its result")


def _refusal(code: str, said: str, where: str = "", trace: str = "") -> bytes:
    return json.dumps({"error": code, "said": said, "where": where, "trace": trace}).encode()


def _limit_memory(mib: float | None) -> None:
    """
    Let this process write to *mib* MiB more than it has now.

    RLIMIT_DATA and not RLIMIT_AS: that one counts what is only reserved too, 72 MiB for each thread.
    """
    if mib is None:
        return
    now = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData:"))
    limit = int(now.split()[1]) * 1024 + int(mib * _MIB)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _write(pipe: int, line: bytes) -> None:
    rest = memoryview(line + b"\n")
    while rest:
        rest = rest[os.write(pipe, rest) :]


def _load(modules: Sequence[str]) -> Tools:
    return {tool.name: tool for tool in load_functions(modules)}


def _die_with(parent: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we could ask to die with it
        os._exit(1)


def _call_itself(title: str) -> None:
    # Or else it writes over the environment as others see it, and with it the pool's mark, by which we are found.
    with_mark = "SPT_NOENV" in os.environ
    os.environ.setdefault("SPT_NOENV", "1")
    from setproctitle import setproctitle  # reads that variable when it is loaded

    setproctitle(title)
    if not with_mark:
        del os.environ["SPT_NOENV"]


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def _harmless(number: int, frame: Any) -> None:
    """Do nothing."""
