"""
The process tree as read from /proc, so that no process that was started here stays behind.

A process is known by its number and its start: a number alone may have gone to another process.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

PROC = "/proc"
MARK = "EXECUTOR_POOL"  # in the environment of all that is executed under one supervisor


class Process(NamedTuple):
    pid: int
    parent: int
    started: int  # clock ticks since boot
    state: str  # one letter: R, S, D, T, Z …


def read(pid: int) -> Process | None:
    """None when there is no such process (any more)."""
    raw = _line(f"{PROC}/{pid}/stat")
    if not raw:
        return None
    # The name stands in parentheses and may hold anything, parentheses too.
    fields = raw[raw.rindex(b")") + 2 :].split()
    return Process(pid, int(fields[1]), int(fields[19]), fields[0].decode())


def everyone() -> dict[int, Process]:
    """Every process there is, by its number."""
    found = (read(pid) for pid in _numbers())
    return {process.pid: process for process in found if process is not None}


def children_of(pid: int) -> list[int]:
    """List a process' living and dead children."""
    try:
        tasks = os.listdir(f"{PROC}/{pid}/task")
        raw = [_read(f"{PROC}/{pid}/task/{task}/children") for task in tasks]
    except OSError:  # the kernel was built without that file, or the process is gone
        return [process.pid for process in everyone().values() if process.parent == pid]
    return [int(number) for part in raw for number in part.split()]


def descendants(roots: Iterable[int], among: Mapping[int, Process]) -> list[Process]:
    """Children, children's children and so on of *roots*, without the roots."""
    below: dict[int, list[Process]] = {}
    for process in among.values():
        below.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    open_ends = list(roots)
    while open_ends:
        next_ones = below.pop(open_ends.pop(), [])
        found += next_ones
        open_ends += [process.pid for process in next_ones]
    return found


def kill(process: Process) -> bool:
    """Kill *process* if it is still the same one; True when it was there, not counting the dead."""
    current = read(process.pid)
    if current is None or current.started != process.started or current.state in "ZX":
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process.pid, signal.SIGKILL)
    return True


def bearing(mark: bytes, mapping: bytes) -> Iterator[int]:
    """
    Processes that carry our sign: *mark* in the environment they were executed with, or *mapping* in their memory.

    The one is passed on by exec, the other by fork, whatever session they have put themselves in. Who only looks at
    that memory (`executor-worker status`, a successor) may read it, not write: that is another mapping.
    """
    for pid in _numbers():
        if mark in _content(f"{PROC}/{pid}/environ") or mapping in _content(f"{PROC}/{pid}/maps"):
            yield pid


def mapping_at(address: int) -> bytes:
    """Return what /proc/PID/maps says of the shared memory at *address*: the same in all that may do what we may."""
    for line in _content(f"{PROC}/self/maps").splitlines():
        span, allowed, offset, device, number, *_ = line.split()
        first, last = (int(end, 16) for end in span.split(b"-"))
        if first <= address < last:
            return b" ".join((b"", allowed, offset, device, number, b""))
    raise LookupError(f"no mapping at {address:#x}")


def _numbers() -> list[int]:
    return [int(name) for name in os.listdir(PROC) if name.isdigit()]


def _line(path: str) -> bytes:
    """All of a file that is surely shorter than a page: half the system calls, for every process there is."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 4096)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _content(path: str) -> bytes:
    try:
        return _read(path)
    except OSError:
        return b""


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - read a thousand times a second, Path is slower
        return file.readall() or b""
