"""The table of workers: what each is doing, for how long, and how far its deadline is."""

from __future__ import annotations

from typing import Any, NamedTuple

from executor_worker.cli.display import ago, in_bytes
from executor_worker.cli.status.pools import Entry, PoolEntry, about
from executor_worker.cli.status.times import age, left, now_of

SOONER_S = 2.0  # what ends this much before the item's own deadline is a limit worth showing


class Layout(NamedTuple):
    """Columns, and which of them to leave out first if there is no room."""

    columns: tuple[str, ...]
    spare: tuple[str, ...]


_RUN = ("state", "for", "mode", "doing", "left", "item")
_SPARE = ("pid", "memory", "done", "replaced")


def layout(first: str) -> Layout:
    """Lay out the table, the same wherever it is shown; *first* says how workers are told apart: by slot or name."""
    return Layout((first, *_RUN, "done", "replaced", "memory", "pid"), _SPARE)


ONE_POOL, MANY_POOLS = layout("slot"), layout("worker")


def here_rows(workers: list[dict[str, Any]], now: float) -> list[list[Any]]:
    """Rows of `ONE_POOL`, from what the pool's own `/status` says."""
    return [
        [
            *(row.get("slot"), *_run(row, str(row.get("state")), row.get("item"), now)),
            *_life(row),
        ]
        for row in workers
    ]


def told_rows(workers: list[dict[str, Any]]) -> list[list[Any]]:
    """Rows of `ONE_POOL`, from what the supervisor itself says: ages in seconds, no clock needed."""
    return [
        [
            *(row.get("slot"), row.get("state"), ago(row.get("for_s")), _mode(row)),
            *(_doing_told(row), until(row.get("left_s")), _item(row, row.get("item"))),
            *_life(row),
        ]
        for row in workers
    ]


def there_rows(pools: list[PoolEntry]) -> list[list[Any]]:
    """Rows of `MANY_POOLS`, from the registry; as of each worker's last beat."""
    return [_there(entry) for pool in pools for entry in pool.workers]


def _there(entry: Entry) -> list[Any]:
    told, status = about(entry), str(entry.get("status"))
    run = _run(told, status, entry.get("current_task"), now_of(entry.get("last_heartbeat")))
    return [entry.get("id"), *run, *_life(told)]


def _life(row: dict[str, Any]) -> list[Any]:
    """Say what a worker has done since its start, and what it is to the system."""
    return [row.get("items_done"), row.get("restarts"), in_bytes(row.get("pss_bytes")), row.get("pid")]


def _run(row: dict[str, Any], state: str, item: Any, now: float) -> list[Any]:
    state = "stopped" if row.get("stopped") else state
    return [
        state,
        ago(age(row.get("since"), now)),
        _mode(row),
        _doing(row, state, now),
        until(_end(row, now)),
        _item(row, item),
    ]


def _mode(row: dict[str, Any]) -> str:
    """Say how far an agent has got: `agent 3/10`."""
    mode, step = row.get("mode") or "", row.get("step")
    return f"{mode} {step}/{row.get('steps')}" if step else str(mode)


def _doing(row: dict[str, Any], state: str, now: float) -> str:
    """Say what is being done, for how long, and of how long if that ends before the item's own time."""
    if state == "dead":
        again = left(row.get("respawn"), now)
        return "" if again is None else f"again in {ago(again)}"
    phase, began = str(row.get("phase") or ""), age(row.get("phase_since"), now)
    if began is None or phase == "waiting":
        return phase
    ends, end = left(row.get("phase_deadline"), now), _end(row, now)
    sooner = ends is not None and (end is None or ends < end - SOONER_S)
    return f"{phase} {ago(began)}" + (f" of {ago(began + ends)}" if sooner and ends is not None else "")


def _doing_told(row: dict[str, Any]) -> str:
    phase = str(row.get("phase") or "")
    return phase if phase in ("", "waiting") or not row.get("item") else f"{phase} {ago(row.get('phase_for_s'))}"


def _end(row: dict[str, Any], now: float) -> float | None:
    return left(row.get("deadline"), now)


def until(seconds: float | None) -> str:
    """Show how long something may still take."""
    return "over" if seconds is not None and seconds < 0 else ago(seconds)


def _item(row: dict[str, Any], item: Any) -> str:
    """Graph and node, and which run of it this is if it is not the first."""
    attempt = row.get("attempt")
    return f"{item or ''}" + (f" (run {attempt})" if item and isinstance(attempt, int) and attempt > 1 else "")
