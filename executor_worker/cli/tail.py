"""`tail`: runs as they happen, one line a step."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from executor_worker.broker.names import PROGRESS_STREAM, RESULT_STREAMS
from executor_worker.broker.queue.submit import Results
from executor_worker.cli.display import COLOURS, console, on_terminal, one_line, print_json_line
from executor_worker.cli.exits import DONE
from executor_worker.program.wiring import connect
from executor_worker.settings import Settings

LOOK_S = 1.0
Event = Mapping[str, Any]


def tail(settings: Settings, args: argparse.Namespace) -> int:
    with closing(connect(settings)) as link:
        events = Results(link, streams=(PROGRESS_STREAM, *RESULT_STREAMS), from_start=args.from_start)
        show = print_json_line if args.json else _Lines().show
        while True:
            found = events.next(0.0 if args.no_follow else LOOK_S)
            for event in found:
                if args.graph in (None, event.get("graph_id")):
                    show(event)
            if args.no_follow and not found:
                return DONE


class _Lines:
    """Events as lines for people."""

    def __init__(self) -> None:
        self._console = console() if on_terminal() else None

    def show(self, event: Event) -> None:
        data = event.get("data")
        word, text = line(str(event.get("type")), data if isinstance(data, dict) else {})
        clock = str(event.get("timestamp"))[11:23]
        place = one_line(f"{event.get('graph_id')}/{event.get('node_id')}", 60)
        if self._console is None:
            print(f"{clock}  {place}  {word:<9}  {text}".rstrip(), flush=True)
            return
        from rich.text import Text

        parts = (f"{clock}  ", "dim"), (f"{place}  ", "bold"), (f"{word:<9}  ", COLOURS.get(word, "cyan")), text
        self._console.print(Text.assemble(*parts), soft_wrap=True)


def line(kind: str, data: Event) -> tuple[str, str]:
    """Word an event: its kind, and the rest of the line."""
    match kind:
        case "node.started":
            return "started", f"{data.get('mode')}, run {data.get('attempt')}, by {data.get('worker_id')}"
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
        case "node.completed":
            return "completed", f"in {_seconds(data)}"
        case "node.failed":
            return "failed", f"{data.get('error_code')}: {one_line(str(data.get('error')), 200)}"
    return one_line(kind, 40), ""


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
    return f"| {one_line(str(found[0]), 160)}" if found else ""


def _seconds(data: Event) -> str:
    return f"{(data.get('duration_ms') or 0) / 1000:.2f} s"


def _count(number: Any, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
