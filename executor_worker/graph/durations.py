"""Durations as graphs write them: seconds, or `90s`, `5m`, `1h30m`."""

from __future__ import annotations

import math
import re
from typing import Any

PATTERN = r"^([0-9]+(\.[0-9]+)?|([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+)$"
LONGEST_S = 10 * 365 * 86400.0
MOST_CHARS = 40

_DURATION = re.compile(PATTERN[:-1] + r"\Z")
_PART = re.compile(r"([0-9.]+)(ms|s|m|h|d)?")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}


def seconds(value: Any) -> float | None:
    """Read a duration in seconds, at most ten years; None if *value* is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return _within(value) if value >= 0 else None
    if not isinstance(value, str) or len(value) > MOST_CHARS or not _DURATION.match(value):
        return None
    return _within(sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(value)))


def _within(value: float) -> float:
    return LONGEST_S if math.isnan(value) or value > LONGEST_S else float(value)
