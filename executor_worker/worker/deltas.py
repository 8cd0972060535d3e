"""
Deltas: what a model is saying and how far a tool has got, shown to clients that listen at that moment and kept nowhere.

They go out on channels, beside the run's log. Redis is asked who listens once a second while there is something to
show: if none does nothing is sent.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from executor_worker.broker.connection.link import Link
from executor_worker.broker.fleet.listeners import listened, show
from executor_worker.envelopes.events import rfc3339
from executor_worker.errors import StreamError, StreamRefused
from executor_worker.json_text import dumps
from executor_worker.telemetry import logs

T = TypeVar("T")
Ask = Callable[[Callable[[Link], T]], T]

EVERY_S = 0.055  # between two of one node
MOST, WITHIN_S = 20, 1.0  # however many calls it makes
LOOK_S = 1.0  # whether a client listens
_TEXT = -1


@dataclass(slots=True)
class _Pieces:
    """Pieces of one text or one tool call that are not shown yet; *at*: characters that came before."""

    name: str = ""
    at: int = 0
    pieces: list[str] = field(default_factory=list)


class Deltas:
    """
    Shows one node's deltas.

    Args:
        ask: Lets something be done with the worker's connection.
        names: Graph, execution and node.
        attempt: As events tell it.
        redis_up: Whether it is worth asking.
    """

    def __init__(
        self,
        ask: Ask[Any],
        names: tuple[str, str, str],
        attempt: int,
        redis_up: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._ask = ask
        self._names = names
        self._attempt = attempt
        self._redis_up = redis_up
        self._clock = clock
        self._wall = wall
        self._turn = 0
        self._said: dict[int, _Pieces] = {}
        self._next_at = 0.0
        self._sent_at: deque[float] = deque(maxlen=MOST)
        self._channels: tuple[str, ...] = ()
        self._look_at = 0.0

    def begin(self, turn: int) -> None:
        """Begin the model call of that number."""
        self._turn = turn
        self._said.clear()

    def void(self) -> None:
        """Forget what a model call has said that has failed: another one begins at its beginning."""
        self._said.clear()

    def text(self, text: str) -> None:
        """Take more of a model's text."""
        self._take(_TEXT, "", text)

    def call(self, position: int, name: str, arguments: str) -> None:
        """Take more of a tool call's arguments, as they are written."""
        self._take(position, name, arguments)

    def end(self) -> None:
        """Show the rest of a model call."""
        self._show(self._clock())

    def progress(self, data: dict[str, Any]) -> None:
        """Show how far a tool's call has got."""
        now = self._clock()
        if self._channels_now(now) and self._may_send(now):
            self._send("node.progress", data, now)

    def _take(self, position: int, name: str, more: str) -> None:
        said = self._said.setdefault(position, _Pieces(name))
        said.name = name or said.name
        said.pieces.append(more)
        now = self._clock()
        if now >= self._next_at:
            self._show(now)

    def _show(self, now: float) -> None:
        self._next_at = now + EVERY_S
        listened_to = bool(self._channels_now(now))
        for position, said in self._said.items():
            if said.pieces and not (listened_to and not self._may_send(now)):
                more = "".join(said.pieces)
                if listened_to:
                    self._send("llm.delta", self._told(position, said, more), now)
                said.at += len(more)
                said.pieces.clear()

    def _told(self, position: int, said: _Pieces, more: str) -> dict[str, Any]:
        about = {"turn": self._turn, "at": said.at}
        if position == _TEXT:
            return {**about, "text": more}
        return {**about, "call": f"{self._turn}.{position}", "name": said.name, "arguments": more}

    def _may_send(self, now: float) -> bool:
        return len(self._sent_at) < MOST or now - self._sent_at[0] >= WITHIN_S

    def _send(self, kind: str, data: dict[str, Any], now: float) -> None:
        graph_id, execution_id, node_id = self._names
        event = {
            "type": kind,
            "graph_id": graph_id,
            "execution_id": execution_id,
            "node_id": node_id,
            "timestamp": rfc3339(self._wall()),
            "data": {"attempt": self._attempt, **data},
        }
        try:
            packed = dumps(event)
        except ValueError:  # half of a character: the rest comes with the next piece, and all of it in the log
            return
        self._sent_at.append(now)
        self._ask(lambda link: show(link, self._channels, packed))

    def _channels_now(self, now: float) -> tuple[str, ...]:
        """Return the channels that clients listen to."""
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._channels = self._listened() if self._redis_up() else ()
        return self._channels

    def _listened(self) -> tuple[str, ...]:
        try:
            return tuple(self._ask(lambda link: listened(link, self._names[0])))
        except StreamRefused as error:
            self._look_at = float("inf")
            logs.debug("deltas.refused", reason=str(error))
        except StreamError:
            pass
        return ()
