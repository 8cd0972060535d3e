"""
Tools that behave badly, for TOOL_MODULES of the pools in these tests.

Each call writes a line to the journal (see `journal.py`) before it does anything, so that a test can tell how often,
when and where a tool was really run.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time

from executor_worker.errors import ToolUnavailable
from executor_worker.tools import ToolContext, tool
from tests.faults.journal import journal_here

HELD: list[object] = []  # what leaks
SLEEPER = "import time; time.sleep(3600)"


@tool
def nap(mark: str, seconds: float = 0.0) -> str:
    """Sleep, interruptibly."""
    journal_here().write(mark, "start")
    time.sleep(seconds)
    journal_here().write(mark, "end")
    return "slept"


@tool
def hold(mark: str) -> str:
    """Go on until the test lets it go."""
    journal = journal_here()
    journal.write(mark, "start")
    while not journal.may_go(mark):
        time.sleep(0.005)
    journal.write(mark, "end")
    return "held"


@tool
def blurt(mark: str) -> str:
    """Log, as libraries do, what was told in the environment, and break with it."""
    journal_here().write(mark, "start")
    error = RuntimeError(os.environ["BLURTED"])
    logging.getLogger("blurt").error("broken: %s", os.environ["BLURTED"], exc_info=error)
    raise error


@tool(effects="unsafe")
def mail(mark: str) -> str:
    """Take effect, at once."""
    journal_here().write(mark, "start")
    return "sent"


@tool(effects="unsafe")
def hold_unsafe(mark: str) -> str:
    """`hold`, but never to be repeated."""
    return hold(mark)


@tool(effects="none")
def hold_safe(mark: str) -> str:
    """`hold`, as often as you like."""
    return hold(mark)


@tool(effects="idempotent")
def hold_keyed(mark: str, call: ToolContext) -> str:
    """`hold`, and note the call's key first."""
    journal_here().write(mark, f"key={call.key}")
    return hold(mark)


@tool(effects="none")
def crash_safe(mark: str, times: int = 1) -> str:
    """`crash`, as often as you like."""
    return crash(mark, "SIGKILL", times)


@tool
def hold_first(mark: str) -> str:
    """The first run goes on until the test lets it go; later ones return at once."""
    if journal_here().starts(mark):
        journal_here().write(mark, "start")
        return "again"
    return hold(mark)


@tool
def hold_gil(mark: str, seconds: float) -> str:
    """Sit in a C call that lets nothing else of this process run, and that no signal interrupts."""
    journal_here().write(mark, "start")
    _lock_twice(ctypes.PyDLL(None), time.time() + seconds)
    journal_here().write(mark, "end")
    return "held the GIL"


@tool
def hang(mark: str, how: str) -> str:
    """Never return, in one of several ways."""
    journal_here().write(mark, "start")
    match how:
        case "sleep":
            time.sleep(3600)
        case "gil":
            _lock_twice(ctypes.PyDLL(None), time.time() + 3600)
        case "c_call":
            # Its stack is to be logged too.
            threading.Thread(target=_other_thread, name="beside", daemon=True).start()
            _lock_twice(ctypes.CDLL(None), time.time() + 3600)
        case "lock":
            lock = threading.Lock()
            with lock:
                lock.acquire()
        case "loop":
            while True:
                try:
                    while True:
                        sum(range(100))
                except BaseException:  # noqa: BLE001 - that is the point: it swallows every interruption
                    continue
        case "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
    return "never"


def _lock_twice(libc: ctypes.CDLL, until: float) -> None:
    """Deadlock on a mutex of C until that time; *libc* says whether the GIL is kept meanwhile."""
    mutex = ctypes.create_string_buffer(64)
    timespec = (ctypes.c_long * 2)(int(until), int(until % 1 * 1e9))
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_timedlock(mutex, timespec)


def _other_thread() -> None:
    time.sleep(3600)


@tool
def crash(mark: str, how: str, times: int = 1) -> str:
    """End the worker in its first *times* runs."""
    journal_here().write(mark, "start")
    if len(journal_here().starts(mark)) > times:
        return "survived"
    match how:
        case "exit":
            os._exit(0)
        case "segfault":
            ctypes.string_at(0)
        case "abort":
            os.abort()
        case _:
            os.kill(os.getpid(), signal.Signals[how])
    return "not dead"


@tool
def fail(mark: str, how: str) -> str:
    """Raise what usually ends a process."""
    journal_here().write(mark, "start")
    match how:
        case "sys_exit":
            sys.exit(3)
        case "keyboard":
            raise KeyboardInterrupt
        case "generator":
            raise GeneratorExit
        case "recursion":
            return fail_deeper(0)
        case "memory":
            return str(len(bytearray(1 << 62)))
        case "unprintable":
            raise _Unprintable
    return "nothing"


class _Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("not even this")


def fail_deeper(depth: int) -> str:
    return fail_deeper(depth + 1) + "x"


@tool
def leave_child(mark: str, how: str) -> str:
    """Leave a process behind that lives for an hour, then go on until the test lets it go."""
    command = [sys.executable, "-I", "-S", "-c", SLEEPER]
    if how == "daemon":
        daemonise = f"import os; os.fork() and os._exit(0); os.setsid(); {SLEEPER}"
        subprocess.run([*command[:-1], daemonise], check=True)
    elif how == "fork":
        if os.fork() == 0:
            os.setsid()
            time.sleep(3600)
            os._exit(0)
    else:
        HELD.append(subprocess.Popen(command, start_new_session=how == "setsid"))
    return hold(mark)


@tool
def spawn(mark: str, count: int, orphans: bool = False) -> str:
    """Run many short processes one after the other; *orphans* outlive whoever started them for a moment."""
    journal_here().write(mark, "start")
    for _ in range(count):
        script = "true & :" if orphans else ":"
        pid = os.posix_spawn("/bin/sh", ["sh", "-c", script], os.environ)
        os.waitpid(pid, 0)
    return "spawned"


@tool
def leak_memory(mark: str, mib: int) -> int:
    """Keep that much more."""
    journal_here().write(mark, "start")
    HELD.append(os.urandom(1024) * (mib * 1024))
    return os.getpid()


@tool
def leak_descriptors(mark: str, count: int) -> int:
    """Keep that many more open."""
    journal_here().write(mark, "start")
    HELD.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(count))
    return os.getpid()


@tool
def say_pid(mark: str) -> int:
    """Return at once."""
    journal_here().write(mark, "start")
    return os.getpid()


@tool
def say_much(mark: str, mib: int) -> str:
    """Return a long text."""
    journal_here().write(mark, "start")
    return "x" * (mib << 20)


@tool
def run_sleeper(mark: str) -> str:
    """Wait for a process that lives for an hour."""
    journal_here().write(mark, "start")
    subprocess.run([sys.executable, "-I", "-S", "-c", SLEEPER], check=True)
    return "slept"


@tool
def reach(mark: str) -> str:
    """Reach its server, which the test has let go."""
    if not journal_here().may_go("reach"):
        raise ToolUnavailable("its server is away")
    journal_here().write(mark, "start")
    return "reached"


@tool(on_open="fail")
def reach_or_fail(mark: str) -> str:
    """`reach`, for those who can't wait."""
    return reach(mark)


@tool(timeout=0.2)
def drag(mark: str, hard: bool = False) -> str:
    """Do not end in time, in C code if it is *hard*."""
    journal_here().write(mark, "start")
    if journal_here().may_go("drag"):
        return "done"
    if hard:
        _lock_twice(ctypes.CDLL(None), time.time() + 600)
    time.sleep(600)
    return "late"
