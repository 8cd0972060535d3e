"""Times as they come over the wire, and how far they are away."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any


def seconds_of(stamp: Any) -> float | None:
    """Read an RFC 3339 time as seconds since the epoch; None if it is none."""
    try:
        return datetime.fromisoformat(str(stamp)).timestamp()
    except ValueError:
        return None


def now_of(stamp: Any) -> float:
    """The time by the clock that wrote *stamp*, so that clocks which run apart never mislead; else by ours."""
    seconds = seconds_of(stamp)
    return time.time() if seconds is None else seconds


def age(stamp: Any, now: float) -> float | None:
    """Tell for how long *stamp* is past, in seconds."""
    seconds = seconds_of(stamp)
    return None if seconds is None else max(now - seconds, 0.0)


def left(stamp: Any, now: float) -> float | None:
    """Tell how far *stamp* is ahead, in seconds; negative when it is past."""
    seconds = seconds_of(stamp)
    return None if seconds is None else seconds - now
