"""What `status` and `top` make of what they were told; no process and no Redis here."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from executor_worker.broker.fleet.limits import LimitView
from executor_worker.broker.fleet.throttle_views import Throttled
from executor_worker.broker.graphs.overview import RunsOverview
from executor_worker.broker.queue.backlog import Backlog
from executor_worker.cli.display import coloured, in_short, money, rich_table
from executor_worker.cli.status.pool_http import PoolView
from executor_worker.cli.status.pools import pools_of
from executor_worker.cli.status.snapshot import Snapshot
from executor_worker.cli.status.view import view
from executor_worker.cli.status.worker_table import MANY_POOLS, ONE_POOL, told_rows

NOW = "2026-11-21T03:00:00.000Z"
COUNTS = {"configured": 2, "starting": 0, "idle": 0, "busy": 1, "draining": 0, "dead": 1}
LATELY = {
    "seconds": 60.0, "completed": 40, "failed": 3, "errors": {"llm_timeout": 1, "tool_failed": 2}, "llm_calls": 12,
    "llm_failures": 1, "tokens": {"input": 15200, "cache_read": 300}, "cost_usd": 0.0412, "postponed": 1,
    "restarts": {},
}  # fmt: skip
BUSY = {
    "slot": 1, "pid": 77, "state": "busy", "phase": "tool:search", "item": "g/n", "since": "2026-11-21T02:58:50Z",
    "items_done": 5, "restarts": 1, "pss_bytes": 2**20 * 14, "mode": "agent", "step": 3, "steps": 10, "attempt": 2,
    "deadline": "2026-11-21T03:13:00Z", "phase_since": "2026-11-21T02:59:50Z", "phase_deadline": "2026-11-21T03:00:20Z",
    "stopped": False, "respawn": None,
}  # fmt: skip
DEAD = {"slot": 2, "state": "dead", "since": NOW, "respawn": "2026-11-21T03:00:04Z", "items_done": 0, "restarts": 9}


def here(*workers: dict[str, Any], paused: bool = False) -> Snapshot:
    health = {
        "status": "degraded", "worker_id": "vm", "redis": "connected", "last_processed": "2026-11-21T02:59:00Z",
        "timestamp": NOW, "workers": COUNTS,
    }  # fmt: skip
    more = {"paused": paused, "started": "2026-11-20T20:00:00Z", "last_minute": LATELY}
    view = PoolView(health, list(workers), more | {"totals": {"restarts": {"crashed": 1, "deadline": 8}}})
    streams = [Backlog("executor.work", 9, 2, 3, 1, 40.0)]
    return Snapshot(False, view, streams, [Throttled("anthropic", "m", 34.0, 4, 2, 3)])


def workers(*rows: dict[str, Any]) -> list[list[Any]]:
    return view(here(*rows)).tables[-1].rows


def entry(name: str, status: str = "idle", **metadata: Any) -> dict[str, Any]:
    return {"id": name, "status": status, "last_heartbeat": NOW, "current_task": None, "metadata": metadata}


def test_the_pool_in_a_few_lines() -> None:
    """How it is, what it did lately, what failed by code, what it cost, who was replaced and why."""
    shown = view(here(BUSY, paused=True))
    assert shown.headline == (
        "vm: degraded (paused), Redis connected, 2 slots: 1 busy, 1 dead, last item 60s ago, up 7h"
    )
    assert shown.lines == [
        ("last 60 s", "40 completed, 3 failed: tool_failed 2, llm_timeout 1"),
        ("models", "12 calls, 1 failed; 15.2k input, 300 cache read tokens; $0.0412; 1 item put off"),
        ("replaced", "9 workers since the start: deadline 8, crashed 1"),
    ]
    streams, throttles, _ = shown.tables
    assert streams.rows == [["executor.work", 4, 2, 3, "40s", 1]]
    assert throttles.rows == [["anthropic m", "34s", "2 of 4", 3]]


def test_limits_are_a_table_with_as_much_as_waits_for_each() -> None:
    """As people read it and as data; no table where there are none."""
    views = [LimitView("role:manager", 2, 2, 17), LimitView("search-api", 0, 4, 0)]
    several = Snapshot(False, here(BUSY).pool, [], limits=views)
    (table, _) = view(several).tables
    assert table.columns == ("limit", "used", "most", "waiting")
    assert table.rows == [["role:manager", 2, 2, 17], ["search-api", 0, 4, 0]]
    assert several.as_json()["limits"] == [
        {"name": "role:manager", "used": 2, "max": 2, "waiting": 17},
        {"name": "search-api", "used": 0, "max": 4, "waiting": 0},
    ]
    assert len(view(Snapshot(False, here(BUSY).pool, [])).tables) == 1


def test_runs_of_graphs_in_a_line() -> None:
    """How many go on, since when, what their nodes do, how many ended; nothing if there are none."""
    runs = RunsOverview(3, 125.0, 5, 4, 3, {"completed": 12, "failed": 1}, 60.0)
    several = Snapshot(False, here(BUSY).pool, [], runs=runs)
    assert ("runs", "3 active, oldest 2m; 5 nodes ready, 4 running; 12 completed, 1 failed in 60s") in view(
        several
    ).lines
    many = Snapshot(False, here(BUSY).pool, [], runs=RunsOverview(900, 5.0, 1, 2, 200, {}, 60.0))
    assert ("runs", "900 active, oldest 5s; 1 node ready, 2 running (of the 200 oldest)") in view(many).lines
    assert several.as_json()["runs"]["last_minute"] == {"seconds": 60.0, "completed": 12, "failed": 1, "cancelled": 0}
    none = Snapshot(False, here(BUSY).pool, [], runs=RunsOverview(0, 0.0, 0, 0, 0, {}, 60.0))
    assert not [line for line in view(none).lines if line[0] == "runs"]


def test_what_a_worker_is_doing() -> None:
    """For how long, which of how many steps, the call's own limit, the time that is left, which run it is."""
    assert workers(BUSY) == [
        [1, "busy", "70s", "agent 3/10", "tool:search 10s of 30s", "13m", "g/n (run 2)", 5, 1, "14 MiB", 77]
    ]
    model = BUSY | {"mode": "llm", "step": None, "steps": None, "phase": "llm", "attempt": 1}
    model["phase_deadline"] = "2026-11-21T03:13:01Z"
    assert workers(model)[0][3:7] == ["llm", "llm 10s", "13m", "g/n"]


def test_a_worker_in_trouble() -> None:
    """Its time is over; it is stopped by a signal; there is none, and when there will be."""
    late, stopped = BUSY | {"deadline": "2026-11-21T02:59:59Z"}, BUSY | {"stopped": True}
    rows = workers(late, stopped, DEAD)
    assert rows[0][5] == "over"
    assert rows[1][1] == "stopped"
    assert rows[2][:5] == [2, "dead", "0s", "", "again in 4s"]


def test_an_older_pool_tells_less() -> None:
    """Only what `/workers` says: no line is made up."""
    rows = {"slot": 1, "pid": 7, "state": "idle", "phase": "waiting", "item": None, "since": NOW, "items_done": 1}
    older = PoolView(here().pool.health, [rows])
    shown = view(Snapshot(False, older, []))
    assert shown.lines == [] and "up" not in shown.headline.split(", ")[-1]
    assert shown.tables[-1].rows == [[1, "idle", "0s", "", "waiting", "-", "", 1, None, "-", 7]]


def test_every_pool_from_the_registry() -> None:
    """Figures are added up; times are as of each worker's last beat; strange entries spoil nothing."""
    lately = LATELY | {"errors": {"internal": 3}}
    first = entry(
        "a.1", "busy", state="busy", since="2026-11-21T02:59:00Z", last_minute=lately, pool={"restarts": {"rss": 2}}
    )
    others = [entry("a.10", last_minute=lately), entry("a.2", "stopped"), entry("b.1"), {"id": "c", "metadata": 3}]
    snapshot = Snapshot(True, streams=[], others=[*others, first])
    assert [[worker["id"] for worker in pool.workers] for pool in snapshot.pools] == [
        ["a.1", "a.2", "a.10"],
        ["b.1"],
        ["c"],
    ]
    shown = view(snapshot)
    assert shown.headline == "3 pools, 5 slots: 2 idle, 1 busy, 1 stopped, 1 unknown"
    assert shown.lines[0] == ("last 60 s", "80 completed, 6 failed: internal 6")
    assert shown.lines[2] == ("replaced", "2 workers since the start: rss 2")
    pools, seats = shown.tables
    assert [row[:8] for row in pools.rows] == [
        ["a", "degraded", 3, 1, 1, 1, 80, 6],
        ["b", "healthy", 1, 1, 0, 0, 0, 0],
        ["c", "unhealthy", 1, 0, 0, 1, 0, 0],
    ]
    assert seats.rows[0][:3] == ["a.1", "busy", "60s"]


def test_no_pool_is_without_a_name() -> None:
    """Not even one that another program has registered, by a name that has no slot in it."""
    names = {"a.1": "a", "a.b.10": "a.b", "legacy": "legacy", ".1": ".1", "a.x": "a.x", None: "unnamed"}
    assert {name: pools_of([{"id": name}])[0].worker_id for name in names} == names


def test_a_pool_is_what_it_says_of_itself() -> None:
    """Paused and draining come from the entry that was written last."""
    (paused,) = pools_of([entry("a.1", pool={"mode": "running", "paused": True})])
    older = entry("a.2", pool={"mode": "running"}) | {"last_heartbeat": "2026-11-21T02:00:00Z"}
    (draining,) = pools_of([older, entry("a.1", pool={"mode": "draining"})])
    (gone,) = pools_of([entry("a.1", "unhealthy")])
    assert [pool.condition for pool in (paused, draining, gone)] == ["paused", "draining", "unhealthy"]


def test_nobody_there_is_said() -> None:
    """No pool on this Redis, no Redis, no pool here."""
    assert view(Snapshot(True, streams=[])).headline == "no pool is registered on this Redis"
    assert view(Snapshot(True)).headline == "pools unknown"
    assert view(Snapshot(False)) == view(Snapshot(False, PoolView(problem="why")))
    assert view(Snapshot(False)).headline == "no pool on this machine"


def test_tables_fit_their_width() -> None:
    """Columns that can be spared go first, then the widest is cut in its middle; where it may it goes on below."""
    columns, rows = ("slot", "item", "pid"), [[1, "0123456789abcdefghij/node", 4711]]
    lines = [drawn(columns, rows, width, fold=False) for width in (40, 33, 20)]
    assert lines == ["   1  0123456789abcdefghij/node  4711", "   1  0123456789abcdefghij/node", "   1  0123456…j/node"]
    assert "0123456789abcd" in drawn(columns, rows, 20, fold=True)


def drawn(columns: tuple[str, ...], rows: list[list[Any]], width: int, *, fold: bool) -> str:
    screen = Console(width=width)
    with screen.capture() as captured:
        screen.print(rich_table(columns, rows, width, ("pid",), fold=fold))
    lines = [line.rstrip() for line in captured.get().splitlines()]
    assert max(map(len, lines)) <= width
    return lines[2]


def test_numbers_as_people_say_them() -> None:
    """At most four digits."""
    assert [in_short(count) for count in (0, 950, 15200, 152_000, 3.4e6, 2e9)] == [
        "0",
        "950",
        "15.2k",
        "152k",
        "3.4M",
        "2.0G",
    ]
    assert [money(usd) for usd in (None, 0.0, 0.0412, 3.456)] == ["-", "$0.00", "$0.0412", "$3.46"]


def test_figures_are_read_from_the_right() -> None:
    """With units or without, also where some are missing; names that begin with a figure are names."""
    columns = ("worker", "memory", "calls", "cost/min", "left")
    rows: list[list[Any]] = [["1a", "14 MiB", "2 of 4", "$0.30", "5m"], ["b", "-", 12, "$12.00", "over"]]
    screen = Console(width=80)
    with screen.capture() as captured:
        screen.print(rich_table(columns, rows, 80))
    shown = [line.rstrip() for line in captured.get().splitlines()[2:]]
    assert shown == ["1a      14 MiB  2 of 4     $0.30    5m", "b            -      12    $12.00  over"]


def test_failures_are_coloured() -> None:
    """What is dead or has failed, and why; a zero is no bad news."""
    columns = ("failed/min", "dead", "error", "is")
    rows: list[list[Any]] = [[3, 0, "it broke", "healthy"]]
    screen = Console(width=80, force_terminal=True, color_system="standard")
    with screen.capture() as captured:
        screen.print(rich_table(columns, rows, 80))
    assert captured.get().count("\x1b[31m") == 2 and "\x1b[32mhealthy" in captured.get()


def test_bad_news_in_the_lines_is_coloured() -> None:
    """Failures that there are, what is down; not what is well."""

    def red(line: str) -> list[str]:
        return [line[one.start : one.end] for one in coloured(line).spans if one.style == "red"]

    assert red("last 60 s: 40 completed, 3 failed: tool_failed 2") == ["3 failed: tool_failed 2"]
    assert red("last 60 s: 40 completed, 0 failed") == []
    assert red("models:    12 calls, 1 failed; 15.2k input") == ["1 failed"]
    assert red("vm: unhealthy, Redis disconnected, 2 slots: 1 busy, 1 dead") == ["unhealthy", "disconnected", "1 dead"]
    assert red("vm: healthy, Redis connected, 2 slots: 2 idle") == []
    assert red("problem:   Redis is away") == ["problem:   Redis is away"]


def test_workers_are_shown_alike_everywhere() -> None:
    """By the pool itself, by the registry and by the supervisor: the same columns, whatever each knows."""
    (here_row,), (told_row,) = workers(BUSY), told_rows([BUSY | {"for_s": 70.0}])
    (there_row,) = view(Snapshot(True, streams=[], others=[entry("a.1", "busy", **BUSY)])).tables[-1].rows
    assert ONE_POOL.columns[1:] == MANY_POOLS.columns[1:]
    assert len(here_row) == len(told_row) == len(there_row) == len(ONE_POOL.columns)
    assert here_row[7:] == told_row[7:] == there_row[7:] == [5, 1, "14 MiB", 77]
