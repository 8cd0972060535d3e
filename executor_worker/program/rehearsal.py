"""
Rehearsal: items worked off before the workers are forked, so that these share what a first item makes.

Byte code is specialised in place as it is run, caches fill, buffers are laid out: some two MiB, which each worker would
dirty for itself. The items, their one tool, the scoreboard and the link are the rehearsal's own: nothing is logged,
counted, shown or sent, and no user's code is run. Whatever goes wrong, or takes too long, the pool starts all the same.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from executor_worker.broker.connection.command import Word, pack
from executor_worker.broker.connection.script import Script
from executor_worker.broker.names import STATE_PREFIX
from executor_worker.errors import UnknownTool
from executor_worker.json_text import dumps
from executor_worker.run_context import Circuit
from executor_worker.telemetry import logs
from executor_worker.telemetry.metrics import SEPARATOR
from executor_worker.tools.base import Tool
from executor_worker.tools.functions.functions import FunctionTool, time_limit
from executor_worker.tools.functions.marks import Mark
from supervisor.scoreboard.scoreboard import Scoreboard

if TYPE_CHECKING:
    from executor_worker.worker.loop import Worker

ITEMS = 40
ITEM_BYTES = 1024  # none is larger
KIND = "document"
ENOUGH_S = 0.2  # on a slow machine fewer have to do
LONGEST_S = 1.0  # one item that takes longer hangs
AGAIN_S = 1.0  # whatever swallows the interruption is interrupted again
NAME = "rehearsed"
COMPLETED = SEPARATOR.join(("dago_nodes_executed_total", "tool", "completed")).encode()
_CONFIG = {"tool_name": NAME, "tool_params": {"text": "{{text}}"}, "timeout": LONGEST_S}
_DONE = {"node_id": "before", "status": "completed", "output": {"text": "y" * 1000}, "error": None, "metadata": {}}
_ADVICE = "the pool works all the same, and each worker weighs two MiB more; report it"


class TimeUp(BaseException):
    """The rehearsal hangs; no `except Exception` on the way takes it for an item's own failure."""


def forget_lookups() -> None:
    """
    Empty the interpreter's cache of attributes looked up on types, best before the rehearsal fills it anew.

    Each of its thousands of entries holds a name. Those that importing has left there are replaced bit by bit in each
    worker, and to let go of a name it writes into the shared page where that lies: some 200 pages.
    """
    sys._clear_type_cache()


def rehearse(make: Callable[[Scoreboard, RehearsalLink, RehearsalTools], Worker]) -> int:
    """
    Let a worker that *make* makes work off ITEMS.

    A TERM or INT that comes meanwhile is heeded afterwards: it must not be taken for a failure.

    Returns:
        How many were completed; 0 if anything went wrong, which is logged.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        return _completed(make)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the workers can do without
        logs.log("warn", "rehearsal.failed", exception=error, advice=_ADVICE)
        return 0
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _completed(make: Callable[[Scoreboard, RehearsalLink, RehearsalTools], Worker]) -> int:
    with logs.silenced(), _bounded(LONGEST_S) as bound:
        board = Scoreboard(1, hidden=True)
        try:
            link = RehearsalLink()
            make(board, link, RehearsalTools()).rehearse()
            completed = round(board.row(1).counters.get(COMPLETED))
        finally:
            bound.is_over = True
            board.close()
    if not link.given or completed != link.given:
        raise RuntimeError(f"{completed} of {link.given} items were completed")
    return completed


class _Bound:
    """
    Attributes:
        is_over: What is tidied up now must not be interrupted. To set it is one step: no alarm comes in between.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.is_over = False

    def give_up(self, *_: object) -> None:
        if not self.is_over:
            raise TimeUp(f"an item took longer than {self._seconds:g} s")


@contextmanager
def _bounded(seconds: float) -> Iterator[_Bound]:
    """Raise `TimeUp` in the block when *seconds* have passed since it began, or since a tool was last called."""
    bound = _Bound(seconds)
    before = signal.signal(signal.SIGALRM, bound.give_up)
    time_limit.outer = (seconds, AGAIN_S)
    try:
        signal.setitimer(signal.ITIMER_REAL, *time_limit.outer)
        yield bound
    finally:
        bound.is_over = True
        time_limit.outer = (0.0, 0.0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def rehearsed(text: str) -> str:
    """Answer as a tool does."""
    return text


class RehearsalLink:
    """
    A link to no Redis: each settlement is packed, and brings the next item until there were enough.

    Attributes:
        given: How many items it has brought.
    """

    timeout_s = 1.0
    client_id = 0
    connected = True

    def __init__(self) -> None:
        self._until = time.monotonic() + ENOUGH_S
        self._stream = ""
        self.given = 0

    def run(self, script: Script, keys: list[Word], words: list[Word]) -> Any:
        """Answer as the scripts take and settle do."""
        pack((b"EVALSHA", script.sha, len(keys), *keys, *words))
        if script.name == "take":
            self._stream = str(keys[-1])
            return self._next()
        return [b"settled", None, self._next()]

    def cast(self, packed: bytes) -> None:
        """Send nothing."""

    def close(self) -> None:
        """Have nothing to close."""

    def _next(self) -> list[Any] | None:
        late = self.given and time.monotonic() > self._until  # one at least, however slow the machine is
        if late or self.given == ITEMS:
            return None
        self.given += 1
        graph = f"rehearsed-{self.given}"
        item = {"graph_id": graph, "node_id": "n", "node_type": "tool", "config": _CONFIG, "dependencies": []}
        state = {"graph_id": graph, "status": "running", "inputs": {}, "node_states": {"before": _DONE}}
        data, document = dumps({**item, "inputs": {"text": "x" * 700}}), dumps(state)
        brought = [f"{STATE_PREFIX}{graph}".encode(), document]
        return [self._stream.encode(), f"{self.given}-0".encode(), 1, 0, 0, [b"data", data], KIND.encode(), brought, 1]


class RehearsalTools:
    """The one tool that rehearsed items call."""

    def __init__(self) -> None:
        self._tool = FunctionTool(rehearsed, Mark(None, None, "none", None))
        self.at_hand: dict[str, Tool] = {NAME: self._tool}

    def find(self, name: str) -> Tool:
        if name != NAME:
            raise UnknownTool(name)
        return self._tool

    def unreached(self, name: str) -> tuple[Circuit, ...]:
        return ()

    def circuits_of_function(self, name: str) -> tuple[Circuit, ...]:
        return ()

    def all(self) -> list[Tool]:
        return [self._tool]

    def close(self) -> None:
        """Have nothing to close."""
