"""
The list of a server's tools, mended if that can be done, and without the tools for which it can't.

The SDK takes a list as a whole or not at all: one tool without a schema would take all others with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import mcp_types as types
from mcp_types import methods
from pydantic import ValidationError

_MOST_ROUNDS = 8  # of mending one tool
_TEXTS = ("description", "title")
_SCHEMA = "inputSchema"
_SCHEMA_ELSEWHERE = ("input_schema", "parameters")  # as the models' own APIs call it

Document = dict[str, Any]


class LeftOut(NamedTuple):
    """A tool that can't be used, and why."""

    tool: str
    reason: str


class Page(NamedTuple):
    """
    One page of a list.

    Attributes:
        result: As the SDK takes it; without the tools' output schemas, which it would hold their results against.
        output_schemas: By tool.
    """

    result: Document
    left_out: list[LeftOut]
    output_schemas: dict[str, Document]


def mended_page(result: Document, version: str) -> Page:
    """
    Mend a result of `tools/list`.

    Args:
        version: The protocol's, as negotiated.
    """
    if not isinstance(result.get("tools"), list | None):
        return Page(result, [], {})  # it is no list of tools at all: for the SDK to complain
    page = _page(result, version)
    left_out: list[LeftOut] = []
    output_schemas: dict[str, Document] = {}
    tools = []
    for number, raw in enumerate(page["tools"], 1):
        try:
            tool = _tool(raw, page, version)
        except ValueError as error:
            left_out.append(LeftOut(_name(raw) or f"number {number}", str(error)))
            continue
        output = tool.pop("outputSchema", None)
        if output is not None:
            output_schemas[tool["name"]] = output
        tools.append(tool)
    return Page({**page, "tools": tools}, left_out, output_schemas)


def _page(result: Document, version: str) -> Document:
    """Mend what stands beside the tools."""
    page = {**result, "tools": result.get("tools") or []}
    cursor = page.get("nextCursor")
    if isinstance(cursor, int | float) and not isinstance(cursor, bool):
        page["nextCursor"] = str(cursor)
    elif not isinstance(cursor, str):
        page.pop("nextCursor", None)
    for error in _problems({**page, "tools": []}, version):
        page.pop(str(error["loc"][0]) if error["loc"] else "", None)
    return page


def _tool(raw: Any, page: Document, version: str) -> Document:
    """
    Raises:
        ValueError: It can't be used; says why.
    """
    if not isinstance(raw, dict):
        raise ValueError("it is no object")
    if not _name(raw):
        raise ValueError("it has no name")
    tool = {**raw, _SCHEMA: _input_schema(raw)}
    for _ in range(_MOST_ROUNDS):
        fields = {str(error["loc"][2]): error for error in _problems({**page, "tools": [tool]}, version, tool)}
        if not fields:
            return tool
        for field, error in fields.items():
            if field in ("name", _SCHEMA):
                where = ".".join(str(part) for part in error["loc"][2:])
                raise ValueError(f"{where}: {error['msg']}")
            _mend(tool, field)
    raise ValueError("it can't be read")


def _mend(tool: Document, field: str) -> None:
    """Write a number as the text that is meant; leave out what else may be left out."""
    value = tool.pop(field, None)
    if field in _TEXTS and isinstance(value, int | float):
        tool[field] = str(value)


def _input_schema(tool: Document) -> Document:
    schema = tool.get(_SCHEMA)
    if schema is None:
        schema = next((tool[name] for name in _SCHEMA_ELSEWHERE if isinstance(tool.get(name), dict)), None)
    if schema is None:
        raise ValueError("it has no inputSchema")
    if schema == []:  # PHP's empty object
        schema = {}
    if not isinstance(schema, dict):
        raise ValueError("its inputSchema is no object")
    kind = schema.get("type", "object")
    if kind is not None and kind != "object" and not (isinstance(kind, list) and "object" in kind):
        raise ValueError(f"its inputSchema is of type {kind!r}, not object"[:200])
    return {**schema, "type": "object", **dict(_parts(schema)), **_required(schema)}


def _parts(schema: Document) -> Iterator[tuple[str, Any]]:
    if "properties" not in schema:
        return
    properties = schema["properties"] or {}
    if not isinstance(properties, dict):
        raise ValueError("its inputSchema's properties are no object")
    yield "properties", {name: {} if value in ([], None) else value for name, value in properties.items()}


def _required(schema: Document) -> Document:
    if "required" not in schema:
        return {}
    names = schema["required"]
    return {"required": [name for name in names if isinstance(name, str)] if isinstance(names, list) else []}


def _name(tool: Any) -> str:
    name = tool.get("name") if isinstance(tool, dict) else None
    return name if isinstance(name, str) else ""


def _problems(page: Document, version: str, tool: Document | None = None) -> list[Any]:
    """Return what the SDK would refuse *page* for; of *tool*, if it is given, alone."""
    found: list[Any] = []
    try:
        methods.validate_server_result("tools/list", version, page)
    except KeyError:
        pass
    except ValidationError as error:
        found += error.errors(include_url=False, include_input=False, include_context=False)
    if tool is None:
        return [problem for problem in found if problem["loc"][:1] != ("tools",)]
    try:
        types.Tool.model_validate(tool, by_name=False)
    except ValidationError as error:
        prefix = ("tools", 0)
        own = error.errors(include_url=False, include_input=False, include_context=False)
        found += [{**problem, "loc": (*prefix, *problem["loc"])} for problem in own]
    return [problem for problem in found if problem["loc"][:2] == ("tools", 0) and len(problem["loc"]) > 2]
