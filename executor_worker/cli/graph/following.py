"""Follow a run to its end: one line a step, on a terminal a tree."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import IO, Any

from executor_worker.broker.connection.link import Link
from executor_worker.broker.graphs import drive, live_channel, runs
from executor_worker.broker.names import DELTAS_CHANNEL, deltas_channel
from executor_worker.cli.display import console, on_terminal, one_line
from executor_worker.json_text import loads

SAFETY_S = 5.0  # between two looks if nothing new is told


def follow(
    link: Link, graph_id: str, after: int = 0, give_up_at: float = float("inf"), *, deltas: bool = False
) -> Iterator[dict[str, Any]]:
    """
    Yield a run's events from number *after* on, as they come, until its last one or *give_up_at* (monotonic).

    Args:
        deltas: Also what its nodes show meanwhile; that has no number.

    Raises:
        RunUnknown: There is no such run.
        StreamUnavailable: Redis is gone.
    """
    with closing(link.another()) as ear:
        ear.call("SUBSCRIBE", live_channel(graph_id))
        if deltas:
            ear.call("SUBSCRIBE", deltas_channel(graph_id))
        while True:
            page = drive(link, runs.events(graph_id, after, limit=1000))
            yield from page.events
            after = page.next_after
            if page.ended:
                return
            if after < page.last_seq:
                continue
            left = give_up_at - time.monotonic()
            if left <= 0:
                return
            select.select([ear], [], [], min(left, SAFETY_S))
            yield from shown_between(ear)


def shown_between(ear: Link) -> Iterator[dict[str, Any]]:
    """
    Yield what nodes have shown since, of all that *ear* is subscribed to.

    Raises:
        StreamUnavailable: Redis is gone.
    """
    for message in ear.arrived():
        if isinstance(message, list) and message[0] == b"message" and message[1].startswith(DELTAS_CHANNEL.encode()):
            with suppress(ValueError):
                yield loads(message[2])


def teller(stream: IO[str] | None = None) -> Callable[[dict[str, Any]], None]:
    """Make what shows events on *stream* (stdout): as lines, on a terminal as a tree that changes in place."""
    if on_terminal(stream):
        from executor_worker.cli.graph.live_tree import LiveTree

        tree = LiveTree(console(stream))
        return lambda event: tree.show(event, told(event)[1])

    def show(event: dict[str, Any]) -> None:
        word, text = told(event)
        clock, place = event["timestamp"][11:23], one_line(event.get("node_id", ""), 40)
        print(f"{clock}  {word:<16}  {place:<20}  {text}".rstrip(), file=stream, flush=True)

    return show


def told(event: dict[str, Any]) -> tuple[str, str]:
    """Word an event: its type, and the rest of the line."""
    data = event["data"]
    match event["type"]:
        case "node.started":
            return event["type"], f"attempt {data['attempt']}, by {data['worker_id']}"
        case "node.completed":
            took = f"in {data['duration_ms'] / 1000:.3g} s" if "duration_ms" in data else ""
            return event["type"], f"→ {data['next_node']}" if "next_node" in data else took
        case "node.failed" | "node.retrying" | "graph.failed":
            return event["type"], f"{data.get('error_code')}: {one_line(str(data.get('error')), 200)}"
        case "graph.completed" if "output_errors" in data:
            wrong = data["output_errors"].items()
            return event["type"], "; ".join(f"{place}: {one_line(why, 200)}" for place, why in wrong)
        case "node.skipped":
            return event["type"], str(data.get("reason", ""))
        case "llm.called":
            usage = data.get("usage") or {}
            counts = f"{usage.get('input_tokens')} + {usage.get('output_tokens')} tokens"
            return event["type"], f"{data.get('model', '')}, {counts}"
        case "llm.delta":
            said = data.get("text") or f"{data.get('name')} {data.get('arguments')}"
            return event["type"], one_line(str(said), 200)
        case "node.progress":
            of = f" of {data['total']:g}" if data.get("total") is not None else ""
            return event["type"], f"{one_line(str(data.get('name', '')), 100)} {data.get('done', 0):g}{of}"
        case "tool.sent" | "tool.called":
            return event["type"], one_line(str(data.get("name", "")), 100)
        case "edge.error":
            return event["type"], f"{one_line(data['condition'], 100)}: {one_line(data['error'], 200)}"
    return event["type"], ""
