"""The view of a snapshot in `status` and `top`: a headline, what was done lately, and tables, the widest last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from executor_worker.broker.graphs.overview import RunsOverview
from executor_worker.cli.display import ago, in_short, money
from executor_worker.cli.status.pools import PoolEntry, about
from executor_worker.cli.status.snapshot import Snapshot
from executor_worker.cli.status.times import age, now_of
from executor_worker.cli.status.worker_table import MANY_POOLS, ONE_POOL, here_rows, there_rows
from executor_worker.telemetry.summary import added

Line = tuple[str, str]
_A_MINUTE = ("done/min", "failed/min", "tokens/min", "cost/min")


@dataclass(frozen=True, slots=True)
class Table:
    """
    Attributes:
        spare: Columns to be left out if there is no room, the first one first.
    """

    columns: tuple[str, ...]
    rows: list[list[Any]]
    spare: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StatusView:
    """
    Attributes:
        lines: What was done lately: a word, and what there is to say of it.
        tables: Only such as have rows.
    """

    headline: str
    lines: list[Line] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def view(snapshot: Snapshot) -> StatusView:
    tables = [
        _streams(snapshot),
        _throttles(snapshot),
        _limits(snapshot),
        *(_everywhere(snapshot) if snapshot.everywhere else _here(snapshot)),
    ]
    headline = _pools_headline(snapshot) if snapshot.everywhere else _headline(snapshot)
    return StatusView(headline, list(_lines(snapshot)), [table for table in tables if table.rows])


# -- lines ------------------------------------------------------------------------------------------


def _headline(snapshot: Snapshot) -> str:
    """Say in a line how the pool is."""
    health, more = snapshot.pool.health, snapshot.pool.more
    if health is None:
        return "no pool on this machine"
    counts = health["workers"]
    states = ", ".join(f"{count} {state}" for state, count in counts.items() if state != "configured" and count)
    now = now_of(health.get("timestamp"))
    said = [
        f"{health['worker_id']}: {health['status']}{' (paused)' if more.get('paused') else ''}",
        f"Redis {health['redis']}",
        f"{_counted(counts['configured'], 'slot')}: {states or 'none up'}",
        f"last item {ago(age(health['last_processed'], now))} ago" if health["last_processed"] else "no item yet",
    ]
    if more.get("started"):
        said.append(f"up {ago(age(more['started'], now))}")
    return ", ".join(said)


def _pools_headline(snapshot: Snapshot) -> str:
    if snapshot.streams is None:
        return "pools unknown"
    if not snapshot.pools:
        return "no pool is registered on this Redis"
    states: Counter[str] = sum((pool.states for pool in snapshot.pools), Counter())
    told = ", ".join(f"{count} {state}" for state, count in sorted(states.items(), key=lambda pair: -pair[1]))
    return f"{_counted(len(snapshot.pools), 'pool')}, {_counted(states.total(), 'slot')}: {told}"


def _lines(snapshot: Snapshot) -> Iterator[Line]:
    """Yield lines on what is wrong, what was done lately, and which workers were replaced since the start."""
    for problem in (snapshot.pool.health or {}).get("problems", ()):
        yield "problem", problem
    slots = snapshot.pool.more.get("slots") or {}
    if slots.get("reason"):
        yield "slots", f"{slots['now']} of {slots['least']}-{slots['most']}: {slots['reason']}"
    if snapshot.runs is not None and (snapshot.runs.active or snapshot.runs.ended):
        yield "runs", _runs(snapshot.runs)
    if snapshot.everywhere:
        lately = added(pool.last_minute for pool in snapshot.pools) | {"seconds": _longest(snapshot.pools)}
        restarts: Counter[str] = sum((Counter(pool.restarts) for pool in snapshot.pools), Counter())
        if not snapshot.pools:
            return
    elif not (lately := snapshot.pool.more.get("last_minute") or {}):
        return
    else:
        restarts = Counter(snapshot.pool.more.get("totals", {}).get("restarts", {}))
    yield f"last {lately['seconds']:.0f} s", f"{lately['completed']} completed, {_failures(lately)}"
    yield "models", _models(lately)
    if restarts:
        yield "replaced", f"{_counted(restarts.total(), 'worker')} since the start: {_by_label(restarts)}"


def _longest(pools: list[PoolEntry]) -> float:
    """Of what time the registry tells at most."""
    told = [about(entry).get("last_minute") for pool in pools for entry in pool.workers]
    return max((float(lately.get("seconds", 0)) for lately in told if isinstance(lately, dict)), default=0.0)


def _runs(runs: RunsOverview) -> str:
    """Say how many runs go on, what their nodes do, and how many ended in a minute."""
    said = f"{runs.active} active"
    if runs.active:
        part = "" if runs.counted == runs.active else f" (of the {runs.counted} oldest)"
        said += f", oldest {ago(runs.oldest_s)}; {_counted(runs.ready, 'node')} ready, {runs.running} running{part}"
    ended = ", ".join(f"{count} {status}" for status, count in sorted(runs.ended.items()) if count)
    return f"{said}; {ended} in {ago(runs.seconds)}" if ended else said


def _failures(lately: Mapping[str, Any]) -> str:
    return f"{lately['failed']} failed" + (f": {_by_label(lately['errors'])}" if lately["errors"] else "")


def _models(lately: Mapping[str, Any]) -> str:
    failed = f", {lately['llm_failures']} failed" if lately["llm_failures"] else ""
    said = [_counted(lately["llm_calls"], "call") + failed]
    if lately["tokens"]:
        kinds = (f"{in_short(count)} {kind.replace('_', ' ')}" for kind, count in lately["tokens"].items())
        said.append(f"{', '.join(kinds)} tokens")
    if lately["cost_usd"] is not None:
        said.append(money(lately["cost_usd"]))
    if lately["postponed"]:
        said.append(f"{_counted(lately['postponed'], 'item')} put off")
    return "; ".join(said)


def _by_label(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{label} {count}" for label, count in sorted(counts.items(), key=lambda pair: -pair[1]))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


# -- tables -----------------------------------------------------------------------------------------


def _streams(snapshot: Snapshot) -> Table:
    rows = [
        [one.stream, one.waiting, one.pending, one.parked, ago(one.oldest_age_s) if one.depth else "-", one.dead]
        for one in snapshot.streams or []
    ]
    return Table(("stream", "waiting", "in hand", "parked", "oldest", "dead"), rows)


def _limits(snapshot: Snapshot) -> Table:
    rows = [[one.name, one.used, one.most, one.waiting] for one in snapshot.limits]
    return Table(("limit", "used", "most", "waiting"), rows)


def _throttles(snapshot: Snapshot) -> Table:
    rows = [
        [
            f"{one.provider} {one.model}",
            ago(one.opens_s) if one.opens_s else "now",
            f"{one.calling} of {one.at_once}" if one.at_once is not None else one.calling,
            one.waiting,
        ]
        for one in snapshot.throttles
    ]
    return Table(("held back", "opens in", "calls", "parked"), rows)


def _here(snapshot: Snapshot) -> list[Table]:
    health = snapshot.pool.health or {}
    workers = Table(ONE_POOL.columns, here_rows(snapshot.pool.workers, now_of(health.get("timestamp"))), ONE_POOL.spare)
    return [workers, _pools(snapshot.pools)]


def _everywhere(snapshot: Snapshot) -> list[Table]:
    return [_pools(snapshot.pools), Table(MANY_POOLS.columns, there_rows(snapshot.pools), MANY_POOLS.spare)]


def _pools(pools: list[PoolEntry]) -> Table:
    columns = ("pool", "is", "slots", "idle", "busy", "other", *_A_MINUTE, "replaced", "seen")
    return Table(columns, [_pool_row(pool) for pool in pools], ("seen", "other", "replaced", "slots", *_A_MINUTE[2:]))


def _pool_row(pool: PoolEntry) -> list[Any]:
    states, lately = pool.states, pool.last_minute
    seen = age(pool.newest.get("last_heartbeat"), now_of(None))
    return [
        *(pool.worker_id, pool.condition, len(pool.workers), states["idle"], states["busy"]),
        *(len(pool.workers) - states["idle"] - states["busy"], lately["completed"], lately["failed"]),
        *(in_short(sum(lately["tokens"].values())), money(lately["cost_usd"])),
        *(sum(pool.restarts.values()), f"{ago(seen)} ago"),
    ]
