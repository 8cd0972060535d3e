"""Log lines: as JSON for machines, as text for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

# As systemd's journal reads them at the head of a line.
_PRIORITY = {"debug": 7, "info": 6, "warn": 4, "error": 3}
_COLOUR = {"debug": "2", "info": "32", "warn": "33", "error": "31;1"}
_CUT = "…"


@dataclass(frozen=True, slots=True)
class Line:
    """One fact: what happened, and its fields."""

    time: datetime
    level: str
    event: str
    fields: Mapping[str, Any]


Render = Callable[[Line], bytes]


def as_json(line: Line) -> bytes:
    head = {"time": _stamp(line.time), "level": line.level, "event": line.event}
    return _encode(head | {name: value for name, value in line.fields.items() if name not in head}) + b"\n"


def as_text(line: Line) -> bytes:
    return _text(f"{_stamp(line.time)} {line.level:<5} {line.event}", line.fields)


def as_journal(line: Line) -> bytes:
    """Text with the priority in front; the journal has its own clock."""
    return _text(f"<{_PRIORITY[line.level]}>{line.event}", line.fields)


def as_journal_json(line: Line) -> bytes:
    """The same for machines: the journal takes the priority off, and keeps the JSON as the message."""
    return b"<%d>" % _PRIORITY[line.level] + as_json(line)


def as_coloured(line: Line) -> bytes:
    clock = line.time.astimezone().strftime("%H:%M:%S")
    level = f"\x1b[{_COLOUR[line.level]}m{line.level:<5}\x1b[0m"
    fields = "".join(f" \x1b[2m{name}=\x1b[0m{_word(value)}" for name, value in line.fields.items())
    return _utf8(f"\x1b[2m{clock}\x1b[0m {level} \x1b[1m{line.event}\x1b[0m{fields}\n")


def within(limit: int | None, line: Line, render: Render) -> bytes:
    """Render *line* in at most *limit* bytes: its longest fields are cut, the line stays whole."""
    rendered = render(line)
    if limit is None or len(rendered) <= limit:
        return rendered
    fields: dict[str, Any] = {
        name: value if isinstance(value, str | int | float) else _word(value) for name, value in line.fields.items()
    }
    while len(rendered) > limit and (name := _longest(fields)):
        # A character takes up to six bytes in JSON: halve rather than count.
        fields[name] = fields[name][: len(fields[name]) // 2 - 1] + _CUT
        rendered = render(Line(line.time, line.level, line.event, fields))
    if len(rendered) <= limit:
        return rendered
    return render(Line(line.time, line.level, line.event[:200], {"cut": True}))


def _longest(fields: Mapping[str, Any]) -> str:
    sizes = {name: len(value) for name, value in fields.items() if isinstance(value, str) and len(value) > 8}
    return max(sizes, key=lambda name: sizes[name], default="")


def _text(head: str, fields: Mapping[str, Any]) -> bytes:
    return _utf8(head + "".join(f" {name}={_word(value)}" for name, value in fields.items()) + "\n")


def _word(value: Any) -> str:
    """Show *value* as one word: no spaces outside quotes, nothing that starts a line or moves a cursor."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        plain = value.isprintable() and value and not any(mark in value for mark in ' "=')
        return value if plain else json.dumps(value, ensure_ascii=not value.isprintable())
    return _encode(value).decode("utf-8", "replace")


def _encode(value: Any) -> bytes:
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # integers over 64 bits, lone surrogates
        return json.dumps(value, default=str, skipkeys=True).encode()


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _stamp(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
