"""A module that starts a thread when it is imported, as some libraries do."""

from __future__ import annotations

import threading

from executor_worker.tools import tool

asked, answered = threading.Event(), threading.Event()


def serve() -> None:
    asked.wait()
    answered.set()


threading.Thread(target=serve, daemon=True).start()


@tool(isolate=True)
def ask_the_thread() -> bool:
    """Needs the thread that the import has started."""
    asked.set()
    return answered.wait(20)
