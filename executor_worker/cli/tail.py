"""`tail`: runs as they happen, one line a step."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from heapq import heappop, heappush
from itertools import count
from typing import Any

from executor_worker.broker.names import DELTAS_CHANNEL, PROGRESS_STREAM, RESULT_STREAMS
from executor_worker.broker.queue.submit import Results
from executor_worker.cli.display import COLOURS, as_json, console, on_terminal, one_line, print_json_line
from executor_worker.cli.exits import DONE
from executor_worker.cli.graph.following import shown_between
from executor_worker.cli.parser import PROGRAM
from executor_worker.cli.result_lines import output_text
from executor_worker.program.wiring import connect
from executor_worker.settings import Settings

HELD_S = (
    0.25  # what belongs before an event that has come is here by then: workers write steps and results side by side
)
WIDTH, WIDEST = 24, 60  # of the names
_RANK = {"node.started": -2, "node.resumed": -1, "node.completed": 1, "node.failed": 1}
Event = Mapping[str, Any]


def tail(settings: Settings, args: argparse.Namespace) -> int:
    with closing(connect(settings)) as link, closing(link.another()) as ear:
        if not args.no_follow:
            ear.call("SUBSCRIBE", DELTAS_CHANNEL)
        events = Results(link, streams=(PROGRESS_STREAM, *RESULT_STREAMS), from_start=args.from_start)
        show = print_json_line if args.json else _Lines(outputs=args.outputs).show
        order, shown = _InOrder(), 0
        if not args.no_follow and on_terminal(sys.stderr):
            print(f"{PROGRAM}: waiting for {_wanted(args)}; Ctrl-C leaves", file=sys.stderr)
        while True:
            found = events.next(0.0 if args.no_follow else HELD_S)
            if not args.no_follow:
                # How far tools have got stands in the stream as well.
                found = [*found, *(one for one in shown_between(ear) if one["type"] == "llm.delta")]
            for event in found:
                if _is_wanted(event, args):
                    order.put(event)
            over = args.no_follow and not found
            for one in order.ready(everything=over):
                show(one)
                shown += 1
            if over:
                if not shown:
                    print(f"{PROGRAM}: nothing is kept of {_wanted(args)}.", file=sys.stderr)
                return DONE


def _wanted(args: argparse.Namespace) -> str:
    """Say in words what is shown."""
    what = "failures" if args.failed else "steps and results"
    node = f" of node {args.node!r}" if args.node else ""
    return f"{what}{node} of {f'graph {args.graph!r}' if args.graph else 'any graph'}"


def _is_wanted(event: Event, args: argparse.Namespace) -> bool:
    return (
        args.graph in (None, event.get("graph_id"))
        and args.node in (None, event.get("node_id"))
        and (not args.failed or event.get("type") == "node.failed")
    )


class _InOrder:
    """
    Events in the order in which they happened, not in that in which they were written.

    An event is held back for `HELD_S`; of what was kept, until one that much younger has come.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._count = count()
        self.held: list[tuple[str, int, int, float, dict[str, Any]]] = []

    def put(self, event: dict[str, Any]) -> None:
        kind = str(event.get("type"))
        heappush(
            self.held,
            (str(event.get("timestamp") or ""), _RANK.get(kind, 0), next(self._count), self._clock(), event),
        )

    def ready(self, *, everything: bool = False) -> list[dict[str, Any]]:
        """Take those that nothing can come before any more."""
        now, found = self._clock(), []
        # An older one that came late does not wait for itself: it holds up what comes after it.
        due = max((one[:3] for one in self.held if now - one[3] >= HELD_S), default=None)
        while self.held and (everything or (due is not None and self.held[0][:3] <= due)):
            found.append(heappop(self.held)[-1])
        return found


class _Lines:
    """Events as lines for people, with names of one width."""

    def __init__(self, *, outputs: bool) -> None:
        self._console = console() if on_terminal() else None
        self._outputs = outputs
        self._width = WIDTH

    def show(self, event: Event) -> None:
        data = event.get("data")
        data = data if isinstance(data, dict) else {}
        word, text = line(str(event.get("type")), data, outputs=self._outputs)
        clock = str(event.get("timestamp"))[11:23]
        place = one_line(f"{event.get('graph_id')}/{event.get('node_id')}", WIDEST)
        self._width = max(self._width, len(place))
        place = place.ljust(self._width)
        if self._console is None:
            print(f"{clock}  {place}  {word:<9}  {text}".rstrip(), flush=True)
            return
        from rich.text import Text

        failed = word == "failed" or data.get("ok") is False
        told = (text, "red") if failed else text
        parts = (f"{clock}  ", "dim"), (f"{place}  ", "bold"), (f"{word:<9}  ", COLOURS.get(word, "cyan")), told
        self._console.print(Text.assemble(*parts), soft_wrap=True)


def line(kind: str, data: Event, *, outputs: bool = False) -> tuple[str, str]:
    """Word an event: its kind, and the rest of the line."""
    match kind:
        case "node.started":
            return "started", f"run {data.get('attempt')}, by {data.get('worker_id')}"
        case "node.resumed":
            done = f"{_count(data.get('model_calls'), 'answer')} and {_count(data.get('tool_calls'), 'tool call')}"
            return "resumed", f"after {done} of earlier runs"
        case "llm.called":
            return "llm", _model(data)
        case "tool.sent":
            return "call", f"{_name(data)} {_said(data, 'arguments')}".rstrip()
        case "tool.called":
            ended = "ok" if data.get("ok") else f"failed {data.get('error_code') or ''}".rstrip()
            return "tool", f"{_name(data)} {ended}, {_seconds(data)} {_said(data, 'text', 'error')}".rstrip()
        case "node.progress":
            of = f" of {data['total']:g}" if data.get("total") is not None else ""
            return "progress", f"{_name(data)} {data.get('done', 0):g}{of}"
        case "llm.delta":
            return "says", _delta(data)
        case "node.completed":
            return "completed", f"in {_seconds(data)}" + (f" | {output_text(data.get('output'))}" if outputs else "")
        case "node.failed":
            return "failed", f"{data.get('error_code')}: {one_line(str(data.get('error')), 200)}"
    return one_line(kind, 40), ""


def _delta(data: Event) -> str:
    if "text" in data:
        return f"| {one_line(str(data['text']), 160)}"
    return f"{_name(data)} | {one_line(str(data.get('arguments')), 160)}"


def _model(data: Event) -> str:
    usage = data.get("usage") or {}
    tokens = f"{usage.get('input_tokens', 0)} + {usage.get('output_tokens', 0)} tokens"
    wants = ", ".join(map(str, data.get("tools") or ()))
    parts = [f"{data.get('model')} {data.get('stop_reason')}", tokens, _seconds(data)]
    return ", ".join([*parts, *([f"wants {one_line(wants)}"] if wants else [])]) + f" {_said(data, 'text')}".rstrip()


def _name(data: Event) -> str:
    return one_line(str(data.get("name")), 80)


def _said(data: Event, *fields: str) -> str:
    """Return what was said, if the events tell it (EVENT_CONTENT)."""
    found = [data[field] for field in fields if data.get(field)]
    return f"| {one_line(_text(found[0]), 160)}" if found else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else as_json(value)


def _seconds(data: Event) -> str:
    return f"{(data.get('duration_ms') or 0) / 1000:.2f} s"


def _count(number: Any, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
