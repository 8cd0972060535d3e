"""
The clock of a process put forward or back by CLOCK_AHEAD_S, for processes that have this folder on their PYTHONPATH.

Monotonic clocks go on as they do: they have no time of day.
"""

import os
import time

_time, _time_ns = time.time, time.time_ns
_ahead_s = int(os.environ.get("CLOCK_AHEAD_S", "0"))

time.time = lambda: _time() + _ahead_s
time.time_ns = lambda: _time_ns() + _ahead_s * 1_000_000_000
