"""Stacks of a child: its own fault handler writes them, at a signal, into memory that the supervisor reads."""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import os
import re
import sys
import weakref
from pathlib import Path
from typing import NamedTuple

from supervisor.processes.after_fork import DUMP_STACKS

LONGEST = 256 * 1024  # bytes
MOST_FRAMES = 100  # of a thread; the fault handler leaves out those further out, and not every Python says so
_FRAME = re.compile(r'^  File "(.*)", line (\d+) in (.*)$', re.MULTILINE)
_THREAD = re.compile(r"^(?:Thread|Current thread) .*:$", re.MULTILINE)


class Frame(NamedTuple):
    """One line of a stack."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line} {self.function}"


class Stacks:
    """
    The memory of one slot: a child at a time writes into it.

    Without descriptors to be had there is none; then stacks go to stderr.
    """

    def __init__(self) -> None:
        self._fd = -1

    def open(self) -> None:
        """In the supervisor, before the child is forked."""
        if self._fd < 0:
            with contextlib.suppress(OSError):
                self._fd = os.memfd_create("stacks")
                fcntl.fcntl(self._fd, fcntl.F_SETFL, os.O_APPEND)  # after a cut, from the beginning again
                weakref.finalize(self, os.close, self._fd)

    def receive(self) -> None:
        """In the child: from now on the signal has its stacks written here."""
        if self._fd >= 0:
            faulthandler.register(DUMP_STACKS, all_threads=True, chain=False, file=self._fd)

    def clear(self) -> None:
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)

    def read(self) -> str:
        """Read what is there by now, the main thread first; empty if nothing is."""
        if self._fd < 0:
            return ""
        return main_thread_first(os.pread(self._fd, LONGEST, 0).decode("utf-8", "replace"))


def main_thread_first(text: str) -> str:
    """Put the main thread, which the fault handler writes last, before the others."""
    starts = [match.start() for match in _THREAD.finditer(text)]
    threads = [text[at:end].strip("\n") for at, end in zip(starts, [*starts[1:], len(text)], strict=False)]
    return "\n\n".join([*threads[-1:], *threads[:-1]])


def is_whole(text: str) -> bool:
    """Tell whether the main thread's outermost frame was written, or as many as the fault handler writes."""
    first = text.partition("\n\n")[0]
    return first.endswith(f" in {_outermost()}") or len(_FRAME.findall(first)) == MOST_FRAMES


def frames_of(text: str) -> list[Frame]:
    """Read the main thread's frames, the innermost first."""
    return [Frame(file, int(line), function) for file, line, function in _FRAME.findall(text.partition("\n\n")[0])]


def in_one_line(text: str) -> str:
    """Write the frames of all threads in one line, the main thread's first: for a log."""
    threads = [" < ".join(map(str, frames_of(thread))) for thread in text.split("\n\n")]
    return " | ".join(threads)


def _outermost() -> str:
    """Name the function in which this process's main thread, and so that of all it has forked, began."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code.co_name
