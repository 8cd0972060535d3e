"""Deltas: what goes out while a model speaks, how often, and to whom."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import hiredis
import pytest

from executor_worker.errors import StreamRefused
from executor_worker.worker.deltas import EVERY_S, LOOK_S, MOST, Deltas

GRAPH = "dago:executor:deltas:g"


class Server:
    """
    A Redis that is asked who listens, and remembers what it is sent.

    Attributes:
        listeners: To the graph's own channel; None: that may not be asked.
        asked: How often that was.
    """

    def __init__(self) -> None:
        self.listeners: int | None = 1
        self.asked = 0
        self.shown: list[dict[str, Any]] = []

    def ask(self, act: Callable[[Any], Any]) -> Any:
        return act(self)

    def call(self, *words: str) -> list[Any]:
        self.asked += 1
        if self.listeners is None:
            raise StreamRefused("NOPERM")
        return [GRAPH.encode(), self.listeners, b"dago:executor:deltas", 0]

    def cast(self, packed: bytes) -> None:
        reader = hiredis.Reader()
        reader.feed(packed)
        command, channel, event = reader.gets()
        assert (command, channel) == (b"PUBLISH", GRAPH.encode())
        self.shown.append(json.loads(event))

    @property
    def said(self) -> list[Any]:
        return [(one["data"]["at"], one["data"].get("text", one["data"].get("arguments"))) for one in self.shown]


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def deltas(server: Server, clock: Clock) -> Deltas:
    made = Deltas(server.ask, ("g", "g", "n"), 2, lambda: True, clock, lambda: 0.0)
    made.begin(1)
    return made


def test_pieces_go_out_together(deltas: Deltas, server: Server, clock: Clock) -> None:
    """The first at once, then what has come meanwhile, the rest at the end; each says how much came before it."""
    for word in ("It ", "rains ", "in "):
        deltas.text(word)
    clock.now += EVERY_S
    deltas.text("Berlin")
    deltas.text(".")
    deltas.end()
    assert server.said == [(0, "It "), (3, "rains in Berlin"), (18, ".")]
    assert server.shown[0] == {
        "type": "llm.delta",
        "graph_id": "g",
        "execution_id": "g",
        "node_id": "n",
        "timestamp": "1970-01-01T00:00:00.000Z",
        "data": {"attempt": 2, "turn": 1, "at": 0, "text": "It "},
    }


def test_calls_grow_by_themselves(deltas: Deltas, server: Server, clock: Clock) -> None:
    """Each under the name that events of its call have."""
    deltas.call(0, "search", "")
    deltas.call(0, "search", '{"q":')
    deltas.call(1, "read", "{}")
    deltas.call(0, "search", '"x"}')
    deltas.end()
    told = [one["data"] for one in server.shown]
    assert [(one["call"], one["name"], one["arguments"]) for one in told] == [
        ("1.0", "search", ""),
        ("1.0", "search", '{"q":"x"}'),
        ("1.1", "read", "{}"),
    ]


def test_a_call_that_is_made_again_begins_anew(deltas: Deltas, server: Server) -> None:
    """What the one that failed has said is void, shown or not."""
    deltas.text("It sno")
    deltas.text("ws")
    deltas.void()
    deltas.text("It rains")
    deltas.end()
    assert server.said == [(0, "It sno"), (0, "It rains")]


def test_no_more_go_out_than_may(deltas: Deltas, server: Server, clock: Clock) -> None:
    """However many calls a node makes in a second, and with its tools' progress."""
    for turn in range(30):
        deltas.begin(turn)
        deltas.text("word")
        deltas.progress({"name": "t", "done": turn, "total": None})
        deltas.end()
        clock.now += 0.01
    assert len(server.shown) == MOST
    clock.now += 1.0
    deltas.progress({"name": "t", "done": 1, "total": 2})
    assert server.shown[-1]["type"] == "node.progress" and "at" not in server.shown[-1]["data"]


def test_nothing_is_sent_where_nobody_listens(deltas: Deltas, server: Server, clock: Clock) -> None:
    """Whether somebody does is asked once a second; who comes late is told how much was missed."""
    server.listeners = 0
    for _ in range(10):
        deltas.text("abc")
        clock.now += LOOK_S / 20
    assert (server.asked, server.shown) == (1, [])
    server.listeners = 1
    clock.now += LOOK_S
    deltas.text("def")
    assert server.said == [(27, "abcdef")]  # the last one was waiting for its turn


def test_who_may_not_ask_does_without(deltas: Deltas, server: Server, clock: Clock) -> None:
    """And asks once."""
    server.listeners = None
    for _ in range(5):
        deltas.text("x")
        clock.now += 2 * LOOK_S
    assert (server.asked, server.shown) == (1, [])
