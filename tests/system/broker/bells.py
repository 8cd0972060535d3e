"""Do something while a worker waits at its server: not before it does, however late it comes to that."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.kit import wait_until
from tests.unit.executor_worker.broker.acts import Client


@contextmanager
def once_it_waits(db: Client, act: Callable[[], object]) -> Iterator[None]:
    """Have *act* done by another thread as soon as some client of the server waits there."""

    def work() -> None:
        wait_until(lambda: db.info("clients")["blocked_clients"], message="a worker waits")
        act()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def ring(event_fd: int) -> None:
    """Ring the bell that a worker looks up for."""
    os.eventfd_write(event_fd, 1)
