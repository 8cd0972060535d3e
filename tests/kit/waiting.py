"""Wait for conditions, never for time."""

from __future__ import annotations

import itertools
import os
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
LONGEST_PAUSE_S = 0.1
MOST_LATE_S = 30.0  # that a wait is made longer at most, for others that had the cores and the disk meanwhile
PROC = Path("/proc")
FIRST_PORT, PORTS, PROCESSES = 12_000, 2_500, 8
_ports = itertools.count(random.randrange(PORTS))


def wait_until(
    condition: Callable[[], T], seconds: float = 20.0, message: str | Callable[[], str] = "", every: float = 0.01
) -> T:
    """
    Ask *condition* until it answers something true, and return that.

    The longer it lasts the less often it is asked: many tests wait at once, and asking costs what is waited for.
    Seconds in which somebody had to wait for a core or the disk are not counted: a short limit says the same on a busy
    machine, and on one that reads from a slow disk what it has never read before.

    Args:
        seconds: How long it may take at most, on a machine that has a core and a disk for all who want one.
        every: Seconds between two questions at first.
        message: What was waited for; a function is asked only when it failed, for what can be seen then.

    Raises:
        AssertionError: It did not within *seconds*; says *message*, or the condition's name.
    """
    began, taken = time.monotonic(), Stopwatch()
    while True:
        left_s = taken.left_s(seconds)  # before the question: the last one is asked when time is up
        answer = condition()
        if answer:
            return answer
        if left_s < 0:
            said = message() if callable(message) else message
            what = said or getattr(condition, "__name__", "the condition")
            raise AssertionError(f"not within {seconds:g} s: {what} (last answer: {answer!r})")
        time.sleep(max(every, min(LONGEST_PAUSE_S, (time.monotonic() - began) / 10)))


def holds_for(condition: Callable[[], object], seconds: float, message: str = "", every: float = 0.05) -> None:
    """
    Check that *condition* stays true for *seconds*: for what must not happen.

    Raises:
        AssertionError: It became false.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), message or getattr(condition, "__name__", "the condition ceased to hold")
        time.sleep(every)


def waited_for_others(proc: Path = PROC) -> float:
    """
    Read how long any process on this machine has waited for a core, the disk or memory so far, seconds.

    The difference of two answers bounds how much later something came only because others use the machine as well, or
    because the disk is slow. Where the kernel does not count it (proc_pressure: `some`) it is the time for which the
    cores were not idle, or waited for the disk.
    """
    try:
        some = [(proc / "pressure" / of).read_text().splitlines()[0] for of in ("cpu", "io", "memory")]
    except OSError:
        idle = int((proc / "stat").read_text().split()[4])
        return time.monotonic() - idle / os.sysconf("SC_CLK_TCK") / (os.cpu_count() or 1)
    return sum(int(line.rpartition("=")[2]) for line in some) / 1e6


class Stopwatch:
    """Measures what must not take long, on a machine that others use as well."""

    def __init__(self) -> None:
        self._began, self._waited = time.monotonic(), waited_for_others()

    def wall_s(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._began

    def own_s(self) -> float:
        """The same, without those in which somebody had to wait for a core or the disk."""
        return self.wall_s() - self.others_s()

    def others_s(self) -> float:
        """Those in which somebody had to wait: what was measured meanwhile may be as much too long."""
        return min(self.wall_s(), max(0.0, waited_for_others() - self._waited))

    def left_s(self, seconds: float) -> float:
        """Seconds left of those that something may take, counted as `wait_until` does; negative when it is late."""
        return min(seconds - self.own_s(), seconds + MOST_LATE_S - self.wall_s())


def free_port() -> int:
    """
    Find a TCP port of 127.0.0.1 nobody listens on now.

    It is below those that the kernel gives away by itself, and no other test process of this run looks there.
    """
    mine = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % PROCESSES
    while True:
        port = FIRST_PORT + mine * PORTS + next(_ports) % PORTS
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def port_answers(port: int, host: str = "127.0.0.1") -> bool:
    """Say whether somebody accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=0.5).close()
    except OSError:
        return False
    return True
