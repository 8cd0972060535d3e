"""`throttle`: models whose calls are held back, and how to let them go on at once."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from dataclasses import asdict
from typing import Any

from executor_worker.broker.fleet.throttle_views import Throttled, clear, throttled
from executor_worker.cli.display import ago, print_json, print_table
from executor_worker.cli.exits import DONE, FAILED, Quit
from executor_worker.keeper.pool_health import rfc3339
from executor_worker.program.wiring import connect
from executor_worker.settings import Settings

NONE = "nothing is held back"


def listing(settings: Settings, args: argparse.Namespace) -> int:
    with closing(connect(settings)) as link:
        found = throttled(link)
    if args.json:
        print_json([_described(one) for one in found])
        return DONE
    if not found:
        print(NONE, file=sys.stderr)
    columns = ["name", "since", "why", "tries again in", "calls", "waiting", "key"]
    print_table(columns, [_row(one) for one in found])
    return DONE


def lift(settings: Settings, args: argparse.Namespace) -> int:
    with closing(connect(settings)) as link:
        found = throttled(link)
        wanted = [one for one in found if args.all or {one.name, one.key} & set(args.names)]
        for one in wanted:
            clear(link, one)
            print(f"{one.name} is no longer held back; {one.waiting} items waited for it", flush=True)
    if args.all and not found:
        print(NONE, file=sys.stderr)
    missing = set(args.names) - {name for one in wanted for name in (one.name, one.key)}
    if missing:
        raise Quit(FAILED, *(f"{name!r} is not held back; see `executor-worker throttle list`." for name in missing))
    return DONE


def _row(one: Throttled) -> list[Any]:
    opens = ago(one.opens_s) if one.opens_s else "now"
    calls = one.calling if one.at_once is None else f"{one.calling} of {one.at_once}"
    return [one.name, _since(one), _why(one), opens, calls, one.waiting, one.account]


def _why(one: Throttled) -> str:
    return f"key refused: {one.why}" if one.refused else one.why


def _since(one: Throttled) -> str | None:
    return rfc3339(one.since) if one.since else None


def _described(one: Throttled) -> dict[str, Any]:
    about = asdict(one)
    return {"name": one.name, **about, "since": _since(one), "opens_s": round(one.opens_s, 3)}
