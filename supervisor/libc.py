"""The C library, for the few calls that Python has none for."""

from __future__ import annotations

import ctypes
import os
from functools import cache


@cache
def libc() -> ctypes.CDLL:
    """Loaded once, by the supervisor: each time costs a process a new class, some fifty pages of its own."""
    return ctypes.CDLL(None, use_errno=True)


def failed(call: str) -> OSError:
    """Make the error of a *call* that has just failed, from `errno`."""
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
