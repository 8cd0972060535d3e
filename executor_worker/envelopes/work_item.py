"""Work items as they come in on a work stream; no Redis here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from executor_worker.errors import InvalidItem
from executor_worker.json_text import dumps, loads

WORK_TYPE = "node.work"
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
NAMES = ("graph_id", "node_id", "execution_id")
NAME_IN_RAW = {
    name: re.compile(rb'"%b"\s{0,32}:\s{0,32}("(?:[^"\\]|\\.){1,512}"|-?[0-9]{1,64})' % name.encode()) for name in NAMES
}
DEEP, MARGIN = 200, 50  # levels: surely harmless below; what is put around a value, and the stack's own use
PARSED_LIMIT = 64 * 1024 * 1024  # bytes; what is larger is not even parsed for its names


@dataclass(slots=True)  # not frozen: one is made for every item, which takes thrice as long then
class Item:
    """
    One node of one graph that is to be run.

    Attributes:
        config: None if it has to be found in the graph's state.
        state_inputs: `state` of a `node.work` event; None if the item is none or brings none.
        inputs: What is laid over the state's inputs; None if the item brings none.
        execution_id: As it came, else the graph's id.
        work_id: The envelope's `id`.
        deadline: Seconds since the epoch.
    """

    graph_id: str
    node_id: str
    node_type: str = ""
    config: dict[str, Any] | None = None
    inputs: dict[str, Any] | None = None
    state_inputs: dict[str, Any] | None = None
    execution_id: str = ""
    work_id: str | None = None
    deadline: float | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    dependencies: list[Any] = field(default_factory=list)

    @property
    def given_inputs(self) -> dict[str, Any] | None:
        """All inputs that came with the item; None if none did (an empty object is one)."""
        if self.inputs is None:
            return self.state_inputs
        return {**(self.state_inputs or {}), **self.inputs}


class UnreadableItem(InvalidItem):
    """
    An entry's data is no item.

    Attributes:
        graph_id, node_id, execution_id: What could be read of its names; "" if nothing could.
    """

    def __init__(self, message: str, names: dict[str, str] | None = None) -> None:
        super().__init__(message)
        known = names or {}
        self.graph_id = known.get("graph_id", "")
        self.node_id = known.get("node_id", "")
        self.execution_id = known.get("execution_id", "")


def decode(data: bytes, max_bytes: int) -> Item:
    """
    Read an item in either envelope.

    Raises:
        UnreadableItem: It is none; carries the names that could be read all the same.
    """
    if len(data) > max_bytes:
        raise UnreadableItem(f"the item has {len(data)} bytes, the limit is {max_bytes}", _salvage(data))
    try:
        envelope = loads(data)
    except ValueError as error:
        raise UnreadableItem(f"the item is not JSON: {error}", _salvage_raw(data)) from None
    try:
        if data.count(b"{") + data.count(b"[") >= DEEP:
            _check_depth(envelope)
        return _item(envelope)
    except InvalidItem as error:
        raise UnreadableItem(str(error), _salvage_parsed(envelope)) from None


def names_in(data: bytes) -> tuple[str, str]:
    """The graph's and the node's id of whatever was on a work stream; "" if they can't be read."""
    names = _salvage(data)
    return names.get("graph_id", ""), names.get("node_id", "")


def _check_depth(envelope: Any) -> None:
    """Refuse what could be read but not be written again, as part of a state or an event."""
    for _ in range(MARGIN):
        envelope = [envelope]
    try:
        dumps(envelope)
    except ValueError as error:
        raise InvalidItem(f"the item can't be handled: {error}") from None


def _item(envelope: Any) -> Item:
    if not isinstance(envelope, dict):
        raise InvalidItem("the item is not a JSON object")
    body = envelope
    event = isinstance(envelope.get("data"), dict)
    if event:
        body = envelope["data"]
        _check_event(envelope, body)
    graph_id = _name(body, "graph_id")
    item = Item(graph_id, _name(body, "node_id"), execution_id=graph_id)
    # Most items bring few of these: what is not there need not be looked at.
    if "node_type" in body:
        item.node_type = _text(body, "node_type") or ""
    config, inputs = body.get("config"), body.get("inputs")
    if config is not None:
        item.config = config if type(config) is dict else _object(body, "config")
    if type(inputs) is dict:
        item.inputs = inputs
    elif "inputs" in body or "inputs" in envelope:
        item.inputs = _either(body, envelope, "inputs")
    if event:
        item.state_inputs = _object(body, "state")
    if "execution_id" in envelope or "execution_id" in body:
        item.execution_id = _text(envelope, "execution_id") or _text(body, "execution_id") or graph_id
    if "id" in envelope:
        item.work_id = _text(envelope, "id")
    if "deadline" in body or "deadline" in envelope:
        item.deadline = _deadline(body if body.get("deadline") is not None else envelope)
    if "metadata" in body or "metadata" in envelope:
        _read_trace(item, _object(body, "metadata") or (_object(envelope, "metadata") if event else None) or {})
    if "dependencies" in body:
        dependencies = body["dependencies"]
        item.dependencies = dependencies if type(dependencies) is list else _list(body, "dependencies")
    return item


def _read_trace(item: Item, metadata: dict[str, Any]) -> None:
    traceparent, tracestate = metadata.get("traceparent"), metadata.get("tracestate")
    item.traceparent = traceparent if isinstance(traceparent, str) else None
    item.tracestate = tracestate if isinstance(tracestate, str) else None


def _check_event(envelope: dict[str, Any], body: dict[str, Any]) -> None:
    kind = envelope.get("type")
    if kind is not None and kind != WORK_TYPE:
        raise InvalidItem(f"the item is an event of type {kind!r:.100}, not {WORK_TYPE!r}")
    for name in ("graph_id", "node_id"):
        if name in envelope and name in body and envelope[name] != body[name]:
            raise InvalidItem(f"the item contradicts itself: {name!r} is one thing in it and another in its data")


def _name(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if type(value) is str and value.isprintable() and value:
        return value
    if key not in body:
        raise InvalidItem(f"the item has no {key!r}")
    problem = _problem(body[key])
    if problem:
        raise InvalidItem(f"the item's {key!r} {problem}")
    return str(body[key])


def _problem(value: Any) -> str | None:
    """Say what makes *value* no name: names become parts of keys and lines of logs."""
    if not isinstance(value, str) or not value:
        return "is not a non-empty string"
    if CONTROL.search(value):
        return "holds control characters"
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return "is not Unicode text"
    return None


def _text(body: dict[str, Any], key: str) -> str | None:
    value = body.get(key)
    if value is None or value == "":
        return None
    if type(value) is str and value.isprintable():
        return value
    problem = _problem(value)
    if problem:
        raise InvalidItem(f"the item's {key!r} {problem}")
    return str(value)


def _object(body: dict[str, Any], key: str) -> dict[str, Any] | None:
    value = body.get(key)
    if value is not None and not isinstance(value, dict):
        raise InvalidItem(f"the item's {key!r} is not an object")
    return value


def _either(body: dict[str, Any], envelope: dict[str, Any], key: str) -> dict[str, Any] | None:
    found = _object(body, key)
    return found if found is not None else _object(envelope, key)


def _list(body: dict[str, Any], key: str) -> list[Any]:
    value = body.get(key)
    if value is not None and not isinstance(value, list):
        raise InvalidItem(f"the item's {key!r} is not an array")
    return value or []


def _deadline(body: dict[str, Any]) -> float | None:
    text = _text(body, "deadline")
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text.upper())
    except ValueError:
        raise InvalidItem("the item's 'deadline' is not an RFC 3339 time") from None
    if when.tzinfo is None:
        raise InvalidItem("the item's 'deadline' says no time zone")
    # Go writes a time that was never set as the first second of the year 1.
    return when.timestamp() if when.year > 1 else None


def _salvage(data: bytes) -> dict[str, str]:
    if len(data) > PARSED_LIMIT:
        return _salvage_raw(data)
    try:
        return _salvage_parsed(loads(data))
    except ValueError:
        return _salvage_raw(data)


def _salvage_parsed(envelope: Any) -> dict[str, str]:
    """The names of an item that is JSON but not as it should be."""
    if not isinstance(envelope, dict):
        return {}
    body = envelope["data"] if isinstance(envelope.get("data"), dict) else {}
    places = {"graph_id": (body, envelope), "node_id": (body, envelope), "execution_id": (envelope, body)}
    found: dict[str, str] = {}
    for name, (first, second) in places.items():
        for value in (first.get(name), second.get(name)):
            readable = _readable(value)
            if name not in found and readable:
                found[name] = readable
    return found


def _readable(value: Any) -> str:
    """
    Read a name for the process that waits for it, though no item may be called so; "" if it can't be said.

    A number is read as a text: so does who makes keys and messages of it.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return dumps(value).decode()
    if not isinstance(value, str):
        return ""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return ""
    return value


def _salvage_raw(data: bytes) -> dict[str, str]:
    """The names of an item that is not JSON: what looks like them."""
    found = {}
    for name, pattern in NAME_IN_RAW.items():
        match = pattern.search(data)
        if match is None:
            continue
        try:
            readable = _readable(loads(match[1]))
        except ValueError:
            continue
        if readable:
            found[name] = readable
    return found


__all__ = ["Item", "UnreadableItem", "decode", "names_in"]
