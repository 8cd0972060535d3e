"""`status`: the pool and the streams at a glance."""

from __future__ import annotations

import argparse
import sys

from executor_worker.cli.display import print_json, print_table
from executor_worker.cli.glance import (
    OTHER_COLUMNS,
    STREAM_COLUMNS,
    WORKER_COLUMNS,
    headline,
    look,
    other_rows,
    stream_rows,
    worker_rows,
)
from executor_worker.cli.parser import PROGRAM
from executor_worker.cli.quitting import CONFIG, DONE, FAILED
from executor_worker.settings import Settings


def status(settings: Settings, args: argparse.Namespace) -> int:
    glance = look(settings)
    if args.json:
        print_json(glance.as_json())
    else:
        print(headline(glance))
        tables = [
            (WORKER_COLUMNS, worker_rows(glance)),
            (STREAM_COLUMNS, stream_rows(glance)),
            (OTHER_COLUMNS, other_rows(glance)),
        ]
        for columns, rows in tables:
            if rows:
                print()
                print_table(columns, rows)
        for problem in glance.problems:
            print(f"{PROGRAM}: {problem}", file=sys.stderr)
    if glance.refused:
        return CONFIG
    return FAILED if glance.blind else DONE
