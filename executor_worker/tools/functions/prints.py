"""Keeping what foreign code prints out of our results: stdout is for those."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import ClassVar

_STDOUT, _STDERR = 1, 2


class prints_to_stderr:  # noqa: N801 - used like a function
    """Send what the block prints, its child processes included, to stderr: stdout is for results."""

    __slots__ = ("_descriptor", "_stdout")

    given_up: ClassVar[bool] = False  # this process has no results to print: its stdout is stderr for good

    def __enter__(self) -> None:
        self._stdout, sys.stdout = sys.stdout, sys.stderr
        self._descriptor = None if prints_to_stderr.given_up else diverted()

    def __exit__(self, *_: object) -> None:
        sys.stdout = self._stdout
        if self._descriptor is not None:
            lead_back(self._descriptor)


def give_up_stdout() -> None:
    """Let stdout be stderr for good, in a process that has no results to print."""
    with contextlib.suppress(OSError):
        os.dup2(_STDERR, _STDOUT)
        prints_to_stderr.given_up = True


def lead_back(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.dup2(descriptor, _STDOUT)
    os.close(descriptor)


def diverted() -> int | None:
    """Let stdout lead to stderr; returns where it led before, None if it is closed: nothing to protect."""
    try:
        kept = os.dup(_STDOUT)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        os.dup2(_STDERR, _STDOUT)
    return kept
