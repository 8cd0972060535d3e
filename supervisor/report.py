"""The scoreboard as fields for the log."""

from __future__ import annotations

import time

from supervisor.row import Row
from supervisor.scoreboard import Scoreboard


def rows_report(board: Scoreboard) -> list[dict[str, object]]:
    """One entry for each slot there is."""
    now_ns = time.monotonic_ns()
    return [_fields(row, now_ns) for row in board.rows()]


def _fields(row: Row, now_ns: int) -> dict[str, object]:
    return {
        "slot": row.slot,
        "pid": row.pid,
        "state": row.state,
        "for_s": round((now_ns - row.since_ns) / 1e9, 1),
        "phase": row.phase,
        "item": row.item,
        "items_done": row.items_done,
        "restarts": row.restarts,
    }
