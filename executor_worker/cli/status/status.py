"""`status`: the pool and the streams at a glance."""

from __future__ import annotations

import argparse
import sys

from executor_worker.cli.display import coloured, console, on_terminal, print_json, print_table
from executor_worker.cli.exits import CONFIG, DONE, FAILED
from executor_worker.cli.parser import PROGRAM
from executor_worker.cli.status.snapshot import Onlooker, Snapshot
from executor_worker.cli.status.view import view
from executor_worker.settings import Settings


def status(settings: Settings, args: argparse.Namespace) -> int:
    snapshot = Onlooker(settings, everywhere=args.all, pool=args.pool).look()
    if args.json:
        print_json(snapshot.as_json())
    else:
        _print(snapshot)
    if snapshot.refused:
        return CONFIG
    return FAILED if snapshot.blind or snapshot.missing else DONE


def _print(snapshot: Snapshot) -> None:
    shown = view(snapshot)
    screen = console() if on_terminal() else None
    for line in (shown.headline, *(f"{word + ':':<10} {said}" for word, said in shown.lines)):
        if screen is None:
            print(line)
        else:
            screen.print(coloured(line), soft_wrap=True)
    for table in shown.tables:
        print()
        print_table(table.columns, table.rows, table.spare)
    sys.stdout.flush()  # what is missing comes after what there is, even if both go to one file
    for problem in snapshot.problems:
        print(f"{PROGRAM}: {problem}", file=sys.stderr)
