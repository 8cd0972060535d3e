"""Traces that items belong to, by W3C Trace Context."""

from __future__ import annotations

import os
import re

_TRACEPARENT = re.compile(r"00-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})")


def new_traceparent() -> str:
    """Begin a trace."""
    return f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-01"


def within(traceparent: str) -> tuple[str, str]:
    """
    Name a span of its own within the trace that *traceparent* is of; a new trace where it is none.

    Returns:
        What names it to others, and the id of the span that it is in; "" if it is in none.
    """
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return new_traceparent(), ""
    trace, parent, flags = found.groups()
    return f"00-{trace}-{os.urandom(8).hex()}-{flags}", parent


def is_traceparent(text: str) -> bool:
    return _TRACEPARENT.fullmatch(text) is not None


def trace_id(traceparent: str) -> str | None:
    """Read the id of a trace; None if there is none."""
    found = _TRACEPARENT.fullmatch(traceparent)
    return found[1] if found else None
