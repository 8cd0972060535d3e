"""Servers whose lists of tools and whose answers are not as the protocol wants them: what can be used is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from executor_worker.errors import ToolFailed
from executor_worker.run_context import RunContext
from executor_worker.tools import ToolRegistry
from executor_worker.tools.mcp.encoding import mended
from executor_worker.tools.server_states import ServerStates
from tests.kit.waiting import wait_until

Make = Callable[..., ToolRegistry]
Told = Callable[..., dict[str, Any]]

OBJECT = {"type": "object"}
ECHO = {"name": "echo", "inputSchema": OBJECT}
NUMBER = {**ECHO, "outputSchema": {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}}


def mcp_tools(registry: ToolRegistry) -> dict[str, Any]:
    return {tool.name: tool for tool in registry.all() if tool.source.startswith("mcp")}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"name": "bad", "description": "d"}, "no inputSchema"),
        ({"name": "bad", "inputSchema": None}, "no inputSchema"),
        ({"name": "bad", "inputSchema": "object"}, "inputSchema is no object"),
        ({"name": "bad", "inputSchema": {"type": "string"}}, "of type 'string', not object"),
        ({"name": "bad", "inputSchema": {**OBJECT, "properties": "none"}}, "properties are no object"),
        ({"inputSchema": OBJECT}, "it has no name"),
        ({"name": 5, "inputSchema": OBJECT}, "it has no name"),
        (None, "it is no object"),
        ("bad", "it is no object"),
    ],
)
def test_a_tool_that_can_not_be_used_is_left_out_alone(
    make_registry: Make, told: Told, log: Any, run_context: RunContext, bad: Any, reason: str
) -> None:
    """Before and after a good one; who has listed it, which and why is said once, however often it is listed."""
    registry = make_registry(s=told([bad, ECHO, bad]))
    assert list(mcp_tools(registry)) == ["echo"]
    assert registry.find("echo").call({}, run_context, "k").value == "called"
    registry.find("echo")
    left_out = [fields for level, event, fields in log if (level, event) == ("warn", "mcp.tool_left_out")]
    assert {fields["server"] for fields in left_out} == {"s"}
    assert len(left_out) == len({fields["tool"] for fields in left_out})
    assert all(reason in fields["reason"] for fields in left_out)
    assert all(reason in said for _, _, said in registry.left_out())
    assert registry.left_out()


@pytest.mark.parametrize(
    ("tool", "schema"),
    [
        ({"inputSchema": {}}, OBJECT),
        ({"inputSchema": {"properties": {"a": {}}}}, {**OBJECT, "properties": {"a": {}}}),
        ({"inputSchema": {"type": None}}, OBJECT),
        ({"inputSchema": {"type": ["object", "null"]}}, OBJECT),
        ({"inputSchema": []}, OBJECT),
        (
            {"inputSchema": {**OBJECT, "properties": [], "required": {}}},
            {**OBJECT, "properties": {}, "required": []},
        ),
        ({"inputSchema": {**OBJECT, "properties": {"a": []}}}, {**OBJECT, "properties": {"a": {}}}),
        ({"input_schema": {"properties": {"a": {}}}}, {**OBJECT, "properties": {"a": {}}}),
        ({"inputSchema": OBJECT, "description": 5}, OBJECT),
        ({"inputSchema": OBJECT, "description": ["a"], "title": {}, "annotations": 1, "_meta": []}, OBJECT),
        ({"inputSchema": OBJECT, "outputSchema": "number", "icons": [1], "execution": 0}, OBJECT),
        ({"inputSchema": OBJECT, "annotations": {"readOnlyHint": "perhaps"}}, OBJECT),
    ],
)
def test_what_can_be_mended_is(make_registry: Make, told: Told, tool: dict[str, Any], schema: Any) -> None:
    """Schemas without their type, PHP's empty objects, texts that are numbers, fields that are something else."""
    tools = mcp_tools(make_registry(s=told([ECHO, {"name": "odd", **tool}])))
    assert list(tools) == ["echo", "odd"]
    assert tools["odd"].input_schema == schema
    assert tools["odd"].description == ("5" if tool.get("description") == 5 else "")


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ({"nextCursor": 7}, ["after", "echo"]),
        ({"nextCursor": "7"}, ["after", "echo"]),
        ({"nextCursor": False}, ["echo"]),
        ({"nextCursor": None}, ["echo"]),
        ({"_meta": "none"}, ["echo"]),
        ({"tools": None}, []),
    ],
)
def test_pages_are_read_to_their_end(make_registry: Make, told: Told, page: Any, names: list[str]) -> None:
    """A cursor that is a number goes back as the number it was; Go's empty list is null."""
    tools = mcp_tools(make_registry(s=told([ECHO], PAGE=page)))
    assert list(tools) == names
    if "after" in tools:
        assert tools["after"].description == repr(page["nextCursor"])


def test_a_server_that_is_up_has_its_tools(make_registry: Make, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waited for it looks at them the moment it counts as reached, from another thread."""
    seen: list[bool] = []

    def note(_: ServerStates, at: int, up: bool) -> None:
        servers = registry._mcp and registry._mcp._servers
        seen.append(up and bool(servers and servers[at].client and servers[at].tools))

    monkeypatch.setattr(ServerStates, "note", note)
    registry = make_registry(s=told([ECHO]))
    assert registry.probe()[0][1:] == (True, "1 tool (stdio, protocol 2025-11-25)")
    wait_until(lambda: seen, 5, "it is noted to be up")
    assert seen == [True]


def test_a_list_that_is_none_is_no_list(make_registry: Make, told: Told) -> None:
    """Nothing of it can be used: that server does not speak MCP."""
    assert make_registry(s=told("echo")).probe()[0][1:] == (False, "it does not speak MCP")


def test_tools_that_the_operator_leaves_out_are_neither_there_nor_told_of(
    make_registry: Make, told: Told, log: Any
) -> None:
    """`disabledTools` of MCP_CONFIG."""
    registry = make_registry(s=told([ECHO, {"name": "bad"}, {**ECHO, "name": "rm"}]) | {"disabledTools": ["bad", "rm"]})
    assert list(mcp_tools(registry)) == ["echo"]
    assert "mcp.tool_left_out" not in log.events()


@pytest.mark.parametrize(
    ("result", "value"),
    [
        ('{"content": [{"type": "text", "text": "x"}], "structuredContent": {"n": "secret"}}', "x"),
        ('{"content": [{"type": "text", "text": "x"}], "structuredContent": {}}', "x"),
        ('{"content": [{"type": "text", "text": "x"}]}', "x"),
        ('{"content": [], "structuredContent": {"n": "secret"}}', '{"n":"secret"}'),
        ('{"content": [{"type": "text", "text": "x"}], "structuredContent": [1]}', "x"),
        ('{"content": null, "structuredContent": {"n": 1}}', {"n": 1}),
        ('{"structuredContent": {"n": 1}}', {"n": 1}),
    ],
)
def test_a_result_that_breaks_its_servers_word_is_given_as_text(
    make_registry: Make, told: Told, run_context: RunContext, log: Any, result: str, value: Any
) -> None:
    """The tool has done its work; the log says what is wrong with the result, and not what is in it."""
    assert make_registry(s=told([NUMBER], result)).find("echo").call({}, run_context, "k").value == value
    warned = [fields for _, event, fields in log if event == "mcp.result_invalid"]
    assert [(fields["server"], fields["tool"]) for fields in warned] == [("s", "echo")]
    assert "secret" not in str(warned)


def test_a_result_that_keeps_it_is_not_touched(
    make_registry: Make, told: Told, run_context: RunContext, log: Any
) -> None:
    """Structure as it is, also where the schema itself is none or names one that is elsewhere; errors are errors."""
    result = '{"content": [], "structuredContent": {"n": 1}}'
    for schema in (
        NUMBER["outputSchema"],
        {"type": "object", "properties": 1},
        {"$ref": "https://x/y", "type": "object"},
    ):
        tool = make_registry(s=told([{**ECHO, "outputSchema": schema}], result)).find("echo")
        assert tool.call({}, run_context, "k").value == {"n": 1}
    failed = '{"content": [{"type": "text", "text": "no"}], "isError": true}'
    assert make_registry(s=told([NUMBER], failed)).find("echo").call({}, run_context, "k").is_error
    assert "mcp.result_invalid" not in log.events()


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ('[{"type": "text", "text": 5}]', '{"type": "text", "text": 5}'),
        ('["plain"]', "plain"),
        ('[{"type": "text", "text": "a"}, {"type": "video", "url": "u"}]', 'a\n{"type": "video", "url": "u"}'),
        ("null", ""),
    ],
)
def test_blocks_that_are_none_are_shown_as_they_came(
    make_registry: Make, told: Told, run_context: RunContext, log: Any, content: str, value: str
) -> None:
    """As text, beside those that can be read."""
    tool = make_registry(s=told([ECHO], f'{{"content": {content}}}')).find("echo")
    assert tool.call({}, run_context, "k").value == value
    assert "mcp.result_invalid" in log.events("warn")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a\\ud83d", "a\ufffd"),
        ("\\uDC00 \\ud83c\\udf89 \\\\ud800", "\ufffd \U0001f389 \\ud800"),
        ("\\ud800\\ud83c\\udf89", "\ufffd\U0001f389"),
        ("caf\udce9", "caf\ufffd"),
    ],
)
def test_what_is_no_character_is_replaced(
    make_registry: Make, told: Told, run_context: RunContext, text: str, value: str
) -> None:
    """Half a pair, bytes of another encoding: the rest of the answer counts; pairs and backslashes stay."""
    result = f'{{"content": [{{"type": "text", "text": "{text}"}}]}}'
    assert make_registry(s=told([ECHO], result)).find("echo").call({}, run_context, "k").value == value


def test_mending_changes_nothing_that_is_right() -> None:
    """Byte for byte."""
    for value in ("\U0001f389", "\\ud800", "\\\\ud800", "é", "\u2028"):
        for ascii_only in (True, False):
            text = json.dumps(value, ensure_ascii=ascii_only).encode()
            assert mended(text) == text


def test_a_result_that_is_none_still_fails(make_registry: Make, told: Told, run_context: RunContext) -> None:
    """Nothing of it can be read."""
    for result in ('{"content": "text"}', "{}", '{"content": 5}'):
        registry = make_registry(s=told([ECHO], result))
        if result == "{}":
            assert registry.find("echo").call({}, run_context, "k").value == ""
            continue
        with pytest.raises(ToolFailed, match="no tool result"):
            registry.find("echo").call({}, run_context, "k")
