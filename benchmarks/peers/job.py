"""
The job that every system runs, and how an adapter is called.

A job notes what it does in a file: one `write` of a few microseconds, so that counting costs nobody a round trip. It
runs in every system's environment: the standard library only, Python 3.11.
"""

from __future__ import annotations

import importlib
import os
import struct
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

RECORD = struct.Struct("=cIId")  # what, the job's number, the process, the machine's monotonic clock in seconds
RAN, BEGAN, ENDED = b"n", b"b", b"e"
PAYLOAD = "i" * 1024
DONE = "put"
GLANCE_S = 0.02
Job = tuple[int, "str | float"]  # its number, and its payload or its seconds

if "PEERS_NOTES" in os.environ:
    NOTES = os.open(os.environ["PEERS_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    GATE = Path(os.environ["PEERS_GATE"])
    REDIS = os.environ["PEERS_REDIS"]
for name in os.environ.get("PEERS_IMPORTS", "").split():
    importlib.import_module(name)


def note(what: bytes, number: int) -> None:
    """Append one record; whole, whoever else writes."""
    os.write(NOTES, RECORD.pack(what, number, os.getpid(), time.monotonic()))


def noop(number: int, payload: str) -> None:
    """Do nothing with *payload*."""
    note(RAN, number)


def nap(number: int, seconds: float) -> None:
    """Sleep for *seconds*, or until the gate is open."""
    note(BEGAN, number)
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not GATE.exists():
        time.sleep(min(left, GLANCE_S))
    note(ENDED, number)


JOBS: dict[str, Callable[..., None]] = {"noop": noop, "nap": nap}


def adapt(work: Callable[[int], None], put: Callable[[str, list[Job]], None]) -> None:
    """
    Do what the command line of an adapter says.

    `work N` becomes the system's own worker program with N processes, each of one job at a time.
    `put` reads lines `noop|nap FIRST COUNT SECONDS`, enqueues COUNT jobs numbered from FIRST, and answers DONE to each.
    """
    match sys.argv[1:]:
        case ["work", workers]:
            work(int(workers))
        case ["put"]:
            for line in sys.stdin:
                kind, first, count, seconds = line.split()
                argument = PAYLOAD if kind == "noop" else float(seconds)
                put(kind, [(number, argument) for number in range(int(first), int(first) + int(count))])
                sys.stdout.write(f"{DONE}\n")
                sys.stdout.flush()
        case other:
            sys.exit(f"work N, or put; not {other}")


def read(records: bytes) -> Iterable[tuple[bytes, int, int, float]]:
    """Take apart what `note` has written; a last record that is not whole is left out."""
    return RECORD.iter_unpack(records[: len(records) // RECORD.size * RECORD.size])
