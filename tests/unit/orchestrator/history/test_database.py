"""The connection to PostgreSQL, and the time its answers may take."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from orchestrator.history.database import Database


class Answering:
    """A connection of which nothing is asked."""

    closed = False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield


def test_alarm_that_comes_just_after_an_answer_leaves_no_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer stands; a handler left behind would raise at the next alarm, whatever is done by then."""
    monkeypatch.setattr(psycopg, "connect", lambda *_, **__: Answering())
    signal.setitimer(signal.ITIMER_REAL, 0)  # pytest's own time limit
    before, usual = signal.getsignal(signal.SIGALRM), signal.setitimer

    def interrupted(which: int, seconds: float) -> Any:
        if seconds == 0:
            signal.raise_signal(signal.SIGALRM)
        return usual(which, seconds)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(signal, "setitimer", interrupted)
        with Database("postgresql://nowhere").transaction():
            pass
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
