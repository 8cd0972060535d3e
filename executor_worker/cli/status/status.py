"""`status`: the pool and the streams at a glance."""

from __future__ import annotations

import argparse
import sys

from executor_worker.cli.display import print_json, print_table
from executor_worker.cli.exits import CONFIG, DONE, FAILED
from executor_worker.cli.parser import PROGRAM
from executor_worker.cli.status.snapshot import Glance, Onlooker
from executor_worker.cli.status.view import panel
from executor_worker.settings import Settings


def status(settings: Settings, args: argparse.Namespace) -> int:
    glance = Onlooker(settings, everywhere=args.all).look()
    if args.json:
        print_json(glance.as_json())
    else:
        _print(glance)
    if glance.refused:
        return CONFIG
    return FAILED if glance.blind else DONE


def _print(glance: Glance) -> None:
    shown = panel(glance)
    print(shown.headline)
    for word, said in shown.lines:
        print(f"{word + ':':<10} {said}")
    for table in shown.tables:
        print()
        print_table(table.columns, table.rows, table.spare)
    sys.stdout.flush()  # what is missing comes after what there is, also where both go to one file
    for problem in glance.problems:
        print(f"{PROGRAM}: {problem}", file=sys.stderr)
