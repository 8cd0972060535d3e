"""Requests by signal: none is lost, and of two that undo each other the later one holds."""

from __future__ import annotations

import mmap
import os
import signal
import struct
from collections.abc import Iterator

import pytest

from supervisor.signals import Inbox, Request
from tests.kit import wait_until

Signal = signal.Signals
SEEN = struct.Struct("QQQ")  # how often RESUME and REPORT came, and 1 while the last of PAUSE and RESUME was PAUSE


def busy_reader(seen: mmap.mmap) -> None:
    """Read requests for ever without waiting, as a loop that has much to do."""
    inbox, resumed, reported, paused = Inbox(), 0, 0, 0
    reported += 1
    while True:
        for request in inbox.read():
            resumed += request is Request.RESUME
            reported += request is Request.REPORT
            if request in (Request.PAUSE, Request.RESUME):
                paused = request is Request.PAUSE
        seen[: SEEN.size] = SEEN.pack(resumed, reported, paused)


@pytest.fixture
def reader() -> Iterator[tuple[int, mmap.mmap]]:
    seen = mmap.mmap(-1, SEEN.size)
    pid = os.fork()
    if pid == 0:
        try:
            busy_reader(seen)
        finally:
            os._exit(1)
    try:
        wait_until(lambda: SEEN.unpack(seen[: SEEN.size])[1])
        yield pid, seen
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_later_of_pause_and_resume_holds(reader: tuple[int, mmap.mmap]) -> None:
    """However close to each other: also where the second comes while the first is just being handled."""
    pid, seen = reader

    def now(at: int) -> int:
        return int(SEEN.unpack(seen[: SEEN.size])[at])

    for round_ in range(1500):
        resumed, reported = now(0), now(1)
        os.kill(pid, signal.SIGTSTP)
        for _ in range(round_ % 50 * 8):  # up to some 20 µs, in which the first arrives
            pass
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda resumed=resumed: now(0) > resumed, every=0.00005)  # type: ignore[misc]
        os.kill(pid, signal.SIGALRM)
        wait_until(lambda reported=reported: now(1) > reported, every=0.00005)  # type: ignore[misc]
        assert not now(2), f"paused after TSTP and CONT, in round {round_}"
