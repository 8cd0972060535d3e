"""Do one thing to many runs: those that are named, or those that a filter finds."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from executor_worker.broker.graphs import RunError
from executor_worker.cli.display import on_terminal, print_json_line
from executor_worker.cli.exits import DONE, FAILED, USAGE, Quit
from executor_worker.client import DagoError, DagoUnavailable

ACTIVE, OVER = ("running",), ("failed", "cancelled")


def each(
    args: argparse.Namespace,
    done: str,
    statuses: Sequence[str],
    find: Callable[[str], Iterable[str]],
    act: Callable[[str], dict[str, Any]],
) -> int:
    """
    Act on each run; say of each what came of it.

    Args:
        done: What has become of a run then, for people.
        statuses: Those looked through if a filter names none.
        find: Finds the runs of a status that fit the other filters.

    Raises:
        Quit: None was named, and there is no filter; or both are there.
    """
    named = list(args.ids)
    filtered = any(getattr(args, name, None) for name in ("status", "code", "since"))
    if not named and not filtered:
        raise Quit(USAGE, "name runs, or say which by --status, --code or --since.")
    if named and filtered:
        raise Quit(USAGE, "name runs, or say which by --status, --code or --since; both at once mean nothing.")
    if not named:
        named = [graph_id for status in ([args.status] if args.status else statuses) for graph_id in find(status)]
    if not named:
        print("executor-worker: there are no such runs.", file=sys.stderr)
    one = _would if getattr(args, "dry_run", False) else _do
    failed = [graph_id for graph_id in named if not one(graph_id, done, act)]
    return FAILED if failed else DONE


def say_none(args: argparse.Namespace) -> None:
    """Say that a list is empty, and how that may change."""
    if args.status or args.name or args.query:
        said = "there are no such runs; without filters `graph list` shows all there are"
    else:
        said = "there are no runs; `executor-worker graph submit FILE` submits one"
    print(f"executor-worker: {said}.", file=sys.stderr)


def _would(graph_id: str, done: str, _act: Callable[[str], dict[str, Any]]) -> bool:
    print(f"{graph_id} would be {done}" if on_terminal() else json.dumps({"graph_id": graph_id}), flush=True)
    return True


def _do(graph_id: str, done: str, act: Callable[[str], dict[str, Any]]) -> bool:
    try:
        told = act(graph_id)
    except (RunError, DagoError) as error:
        if isinstance(error, DagoUnavailable) and not error.status:
            raise  # nothing answers: nor would it for the others
        print(f"executor-worker: {str(error).rstrip('.')}.", file=sys.stderr)
        return False
    if on_terminal():
        print(f"{graph_id} is {done}", flush=True)
    else:
        print_json_line(told)
    return True
