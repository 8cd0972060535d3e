"""Graphs and inputs from files and options."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from executor_worker.cli.exits import FAILED, USAGE, Quit
from executor_worker.cli.files import read_bytes
from executor_worker.cli.graph import yaml_text
from executor_worker.graph import repeated_names


@dataclass(frozen=True, slots=True)
class Request:
    """A graph with its inputs, as a file has them."""

    graph: Any
    inputs: dict[str, Any]


def read_request(
    name: str, given: Sequence[str] = (), inputs_file: str | None = None, most_bytes: int | None = None
) -> Request:
    """
    Read a graph, or `{"graph", "inputs"}`; *given* inputs are laid over the file's.

    Args:
        most_bytes: MAX_GRAPH_BYTES; None: that is for the API to say.

    Raises:
        Quit: It can't be read (2), is too large, or is neither JSON nor YAML (1).
    """
    document = read_value(name, most_bytes)
    inputs: Any = {}
    if isinstance(document, dict) and "nodes" not in document and "graph" in document:
        document, inputs = document["graph"], document.get("inputs") or {}
    more = read_value(inputs_file) if inputs_file else {}
    for one in (inputs, more):
        if not isinstance(one, dict):
            raise Quit(FAILED, "the inputs are not an object.")
    return Request(document, {**inputs, **more, **dict(_named(text) for text in given)})


def read_value(name: str, most_bytes: int | None = None) -> Any:
    """
    Read a file that is JSON or YAML.

    Raises:
        Quit: It can't be read (2), is too large, or is neither (1).
    """
    raw = read_bytes(name)
    shown = "what came on stdin" if name == "-" else repr(name)
    if most_bytes is not None and len(raw) > most_bytes:
        fix = "leave large data out, as an input or for a tool to fetch, or raise MAX_GRAPH_BYTES"
        raise Quit(FAILED, f"{shown} has {len(raw):,} bytes, at most {most_bytes:,} are taken: {fix}.")
    try:
        value, repeated = repeated_names.read(raw.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:
        if raw.lstrip()[:1] in (b"{", b"["):
            raise Quit(FAILED, f"{shown} is not JSON: {error}.") from None
    else:
        if repeated:
            raise Quit(FAILED, f"{shown}: {repeated[0].message} ({repeated[0].pointer}): one of both would be lost.")
        return value
    try:
        return yaml_text.loads(raw)
    except ValueError as error:
        raise Quit(FAILED, f"{shown} is neither JSON nor YAML: {error}.") from None


def _named(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise Quit(USAGE, f"{text!r} is no input: write NAME=VALUE.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
