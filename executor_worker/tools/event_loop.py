"""An event loop in a thread of its own, for what can only be spoken to asynchronously."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from executor_worker.run_context import RunContext

T = TypeVar("T")
_POLL_SECONDS = 0.1
_END_SECONDS = 2.0


class Loop:
    """Runs coroutines for a synchronous program; started at first use, which must come after forking."""

    def __init__(self) -> None:
        self._portal: BlockingPortal | None = None
        self._thread: threading.Thread | None = None

    def run(self, function: Callable[..., Awaitable[T]], *arguments: Any) -> concurrent.futures.Future[T]:
        """Start *function* there; cancelling what is returned cancels it."""
        if self._portal is None:
            self._portal = self._start()
        return self._portal.start_task_soon(function, *arguments)

    def close(self) -> None:
        """Cancel what still runs, and end the thread."""
        portal, self._portal = self._portal, None
        thread, self._thread = self._thread, None
        if portal is None or thread is None:
            return
        portal.start_task_soon(portal.stop, True)
        thread.join(_END_SECONDS)  # a daemon thread: one that is stuck does not keep the program from leaving

    def _start(self) -> BlockingPortal:
        started: concurrent.futures.Future[BlockingPortal] = concurrent.futures.Future()

        async def serve() -> None:
            async with BlockingPortal() as portal:
                started.set_result(portal)
                await portal.sleep_until_stopped()

        def live() -> None:
            try:
                anyio.run(serve)
            except BaseException as error:
                if started.done():
                    raise
                started.set_exception(error)  # it could not be made: no descriptor was left

        self._thread = threading.Thread(target=live, name="tools", daemon=True)
        self._thread.start()
        return started.result()


def ended(
    future: concurrent.futures.Future[Any],
    deadline: float,
    run_context: RunContext | None,
    meanwhile: Callable[[], None] = lambda: None,
) -> bool:
    """
    Wait until *future* has ended or *deadline* (`time.monotonic`) has come, and cancel it if it has not ended then.

    Args:
        meanwhile: Called ten times a second, and once when it has ended.

    Raises:
        NodeTimeout, Cancelled, Abandoned: From `run_context.check()`, asked ten times a second; *future* is cancelled.
    """
    try:
        while not future.done():
            meanwhile()
            if run_context is not None:
                run_context.check()
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            concurrent.futures.wait([future], min(_POLL_SECONDS, left))
        meanwhile()
        return True
    finally:
        if not future.done():
            future.cancel()
