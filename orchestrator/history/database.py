"""The connection to PostgreSQL: opened when it is needed, given up when it does not answer in time."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import psycopg

from executor_worker.errors import HistoryRefused, HistoryUnavailable

CONNECT_S = 5
ANSWER_S = 30.0  # for one batch, at most
_GONE = (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError)
_MISSING = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InvalidSchemaName)

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
            HistoryUnavailable: The database can't be reached, or does not answer.
            HistoryRefused: It answers, and will not: no such table, no right, no room, a value it can't take.
        """
        try:
            with _at_most(ANSWER_S):
                connection = self._open()
                with connection.transaction():
                    yield connection
        except _MISSING as error:
            raise HistoryRefused(f"{_sentence(error)}: its tables are not there", unmigrated=True) from None
        except psycopg.DataError as error:
            raise HistoryRefused(_sentence(error), data=True) from None
        except _GONE as error:
            self.close()
            raise HistoryUnavailable(_sentence(error)) from None
        except psycopg.Error as error:
            self.close()
            raise HistoryRefused(_sentence(error)) from None

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

    def late(_signum: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"no answer within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
