"""Tools that run in a process of their own and misbehave there in every way."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from executor_worker.tools import ToolContext, tool


@tool(isolate=True)
def who(context: ToolContext) -> dict[str, Any]:
    """Say who runs this."""
    return {"pid": os.getpid(), "session": os.getsid(0), "key": context.key, "left": context.left()}


@tool(isolate=True)
def give_back(value: Any) -> Any:
    """Return what came."""
    return value


@tool(isolate=True)
async def wait_a_moment() -> str:
    """An async one."""
    return "waited"


@tool(isolate=True)
def report(context: ToolContext) -> str:
    """Say how far it is."""
    context.progress(1, 2, "half")
    return "done"


@tool(isolate=True)
def end(how: str) -> Any:
    """Come to an end that is none."""
    match how:
        case "segfault":
            ctypes.string_at(0)
        case "abort":
            os.abort()
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "_exit":
            os._exit(0)
        case "exit":
            sys.exit("enough")
        case "raise":
            raise LookupError("no such customer")
        case "recursion":
            return end(how)
        case "no json":
            return object()
        case "thread":
            threading.Thread(target=time.sleep, args=(600,)).start()
    return "left a thread"


@tool(isolate=True, memory_mb=100)
def take_memory(mib: int, how: str = "at once") -> int:
    """Use memory."""
    if how == "at once":
        return len(bytearray(mib << 20)) >> 20
    kept: list[bytearray] = []
    while len(kept) < mib:
        kept.append(bytearray(1 << 20))
    return len(kept)


@tool(isolate=True)
def limit_of_memory() -> int:
    """What this process may use."""
    return resource.getrlimit(resource.RLIMIT_DATA)[0]


@tool(isolate=True, timeout=0.5)
def never_end(how: str) -> None:
    """Take no notice of time."""
    if how == "gil":  # no signal is heeded, and no other thread of this process can run
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        ctypes.PyDLL(None).sleep(600)
    while True:
        try:
            time.sleep(600)
        except BaseException as error:
            if how == "polite":
                raise error


@tool(isolate=True)
def wait_for_ever(path: str) -> None:
    """Say in a file who waits, with a child in another session."""
    child = subprocess.Popen(["sleep", "600"], start_new_session=True, env={"PATH": os.environ["PATH"]})
    Path(f"{path}.new").write_text(f"{os.getpid()} {child.pid}")
    Path(f"{path}.new").rename(path)
    while True:
        pass


@tool(isolate=True)
def leave_behind(path: str, how: str) -> str:
    """Leave a process that has put itself in a session of its own."""
    if os.fork() == 0:
        os.setsid()
        if how == "daemon" and os.fork():
            os._exit(0)
        Path(f"{path}.new").write_text(str(os.getpid()))
        Path(f"{path}.new").rename(path)
        os.execve("/bin/sleep", ["sleep", "600"], {})
    while not Path(path).exists():
        time.sleep(0.001)
    return Path(path).read_text()


@tool(isolate=True)
def note(path: str) -> int:
    """Write a letter; return how many there are."""
    with Path(path).open("a") as file:
        file.write("x")
        return file.tell()


@tool(isolate=True)
def print_much(mib: int) -> str:
    """Print more than anybody reads, from a program too."""
    print("first words", flush=True)
    subprocess.run(["head", "-c", str(mib << 20), "/dev/zero"], check=True)
    return "printed"
