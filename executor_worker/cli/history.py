"""`history`: the PostgreSQL database that ended jobs are kept in."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from contextlib import closing

from setproctitle import setproctitle

from executor_worker.broker.connection.link import Link
from executor_worker.cli.exits import DONE, FAILED, Quit
from executor_worker.errors import HistoryError
from executor_worker.program.history import history_of
from executor_worker.program.wiring import connect, endpoint_of
from executor_worker.settings import Settings

REDIS_PATIENCE_S = 5.0


def migrate(settings: Settings, args: argparse.Namespace) -> int:
    with closing(history_of(settings)) as history:
        try:
            done = history.migrate()
        except HistoryError as error:
            raise Quit(FAILED, f"DATABASE_URL: {error}.") from None
    for name in done:
        print(name)
    if not done:
        print("the tables are up to date", file=sys.stderr)
    return DONE


def prune(settings: Settings, args: argparse.Namespace) -> int:
    with closing(history_of(settings)) as history:
        try:
            gone = history.prune(args.older)
        except HistoryError as error:
            raise Quit(FAILED, f"DATABASE_URL: {error}.") from None
    print(gone)
    return DONE


def write(settings: Settings, args: argparse.Namespace) -> int:
    with closing(history_of(settings)) as history:
        if args.follow:
            _leave_with_parent()
            setproctitle(f"{settings.worker_id}: history")
            link = Link(endpoint_of(settings), name=f"{settings.worker_id}.history", timeout_s=REDIS_PATIENCE_S)
            history.follow(link, settings.worker_id, settings.state_ttl)
        with closing(connect(settings)) as link:
            try:
                written = history.write(link, f"{settings.worker_id}.once", settings.state_ttl)
            except HistoryError as error:
                raise Quit(FAILED, f"DATABASE_URL: {error}.") from None
    print(written)
    return DONE


def _leave_with_parent() -> None:
    """End at the end of stdin: the process that started us holds its other end, and may be killed."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(DONE)

    threading.Thread(target=watch, name="parent", daemon=True).start()
