"""
The connection to PostgreSQL: opened when it is needed, given up when it does not answer in time.

Here its errors become ours, by their SQLSTATE: which of them a single row is to blame for, which end by themselves.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import psycopg

from executor_worker.errors import HistoryError, HistoryRefused, HistoryUnavailable

# What an operator can do.
MIGRATE = "run `executor-worker history migrate`"
GRANT = "give its user the rights that docs/ROLES.md names"
NAME_PRIMARY = "name the server that takes writes in DATABASE_URL: this one is read-only"
MAKE_ROOM = "make room on the database's server: disk, memory or connections"
LOOK = "see whether DATABASE_URL's server is up and lets its user in"

CONNECT_S = 5
ANSWER_S = 30.0  # for one batch, at most
_OURS = (psycopg.Error, TimeoutError)
_MISSING = ("42P01", "42703", "3F000")  # table, column, schema
_OF_THE_ROW = ("22", "23", "54")  # a value it can't take, a constraint, a limit of its own
_FULL = ("53100", "53200", "53300")  # disk, memory, connections
_READ_ONLY = "25006"

Connection = psycopg.Connection[tuple[Any, ...]]


class Database:
    """
    One connection, made anew after each fault.

    Args:
        url: DATABASE_URL.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """
        Give the connection for one transaction.

        Raises:
            HistoryUnavailable: The database can't be reached, does not answer, has no room, or is read-only.
            HistoryRefused: It answers, and will not: no such table, no right, a value it can't take.
        """
        try:
            with _at_most(ANSWER_S):
                connection = self._open()
                with connection.transaction():
                    yield connection
        except _OURS as error:
            told = _told(error)
            if not (isinstance(told, HistoryRefused) and (told.data or told.unmigrated)):
                self.close()
            raise told from None

    def close(self) -> None:
        """Drop the connection; the next transaction makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._url, connect_timeout=CONNECT_S, application_name="da-node-executor", autocommit=True
            )
        return self._connection


def _told(error: psycopg.Error | TimeoutError) -> HistoryError:
    said, state = _sentence(error), getattr(error, "sqlstate", None) or ""
    if state in _MISSING:
        return HistoryRefused(f"{said}: its tables are not there", unmigrated=True, fix=MIGRATE)
    if state.startswith(_OF_THE_ROW) or isinstance(error, psycopg.DataError):
        return HistoryRefused(said, data=True)
    if state == _READ_ONLY:
        return HistoryUnavailable(said, fix=NAME_PRIMARY)
    if state in _FULL:
        return HistoryUnavailable(said, fix=MAKE_ROOM)
    if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError)):
        return HistoryUnavailable(said, fix=LOOK)
    return HistoryRefused(said, fix=GRANT)


def _sentence(error: BaseException) -> str:
    """Its first line; further lines quote values."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in a main thread that a frozen server keeps waiting."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    is_over = False

    def late(_signum: int, _frame: FrameType | None) -> None:
        if not is_over:
            raise TimeoutError(f"no answer within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        is_over = True  # an alarm that comes now would leave its handler behind
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
