"""`tools list` and `tools call`: what the workers would see."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit import time_stdio
from tests.system.cli.conftest import Run

SHOP = '''
from executor_worker.tools import tool

@tool(effects="unsafe", timeout=5)
def order(item: str, pieces: int = 1) -> dict:
    """
    Order pieces of an item.

    It costs money.
    """
    if pieces < 1:
        raise ValueError("at least one")
    return {"item": item, "pieces": pieces}
'''


@pytest.fixture
def shop(folder: Path) -> dict[str, str]:
    (folder / "shop.py").write_text(SHOP)
    return {"TOOL_MODULES": "shop"}


def test_tools_are_listed_in_plain_columns(run: Run, shop: dict[str, str]) -> None:
    """A head line, then a line for each tool, in a pipe."""
    done = run("tools", "list", **shop)
    head, *rows = done.out.splitlines()
    assert head.split() == ["NAME", "FROM", "EFFECTS", "PARAMETERS", "DESCRIPTION"]
    (order,) = [row for row in rows if row.startswith("order ")]
    assert "unsafe" in order
    assert "item, [pieces]" in order
    assert order.endswith("Order pieces of an item.")
    assert any(row.startswith("calculate ") for row in rows)


def test_tools_are_listed_as_json(run: Run, shop: dict[str, str]) -> None:
    """With their whole schemas."""
    tools = {tool["name"]: tool for tool in run("tools", "list", "--json", **shop).json}
    assert tools["order"]["effects"] == "unsafe"
    assert tools["order"]["timeout"] == 5
    assert tools["order"]["input_schema"]["required"] == ["item"]


def test_a_table_is_shown_on_a_terminal(terminal: Any) -> None:
    """With rich."""
    started = terminal("tools", "list")
    started.wait_for("calculate")
    assert started.wait() == 0
    assert "description" in started.shown
    assert "─" in started.shown


def test_a_tool_is_called_and_its_value_printed(run: Run, shop: dict[str, str]) -> None:
    """As JSON; defaults filled in."""
    done = run("tools", "call", "order", "--params", '{"item": "gear"}', **shop)
    assert (done.status, done.json) == (0, {"item": "gear", "pieces": 1})


def test_parameters_come_from_stdin(run: Run, shop: dict[str, str]) -> None:
    """For those too long for a command line."""
    done = run("tools", "call", "order", "--params", "-", stdin='{"item": "gear", "pieces": 2}', **shop)
    assert done.json["pieces"] == 2


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("ordre", "{}", "the nearest: order"),
        ("order", "{}", "'item' is a required property"),
        ("order", '{"item": "gear", "pieces": "many"}', "pieces"),
        ("order", '{"item": "gear", "pieces": 0}', "at least one"),
    ],
)
def test_what_goes_wrong_is_a_sentence_and_status_1(
    run: Run, shop: dict[str, str], name: str, params: str, said: str
) -> None:
    """Unknown, wrong parameters, or failed."""
    done = run("tools", "call", name, "--params", params, **shop)
    assert (done.status, done.out) == (1, "")
    assert said in done.err.splitlines()[-1]
    raised = said == "at least one"
    assert raised or len(done.err.splitlines()) == 1


@pytest.mark.needs("mcp-time")
def test_mcp_servers_tools_are_there_too(run: Run, mcp_config: Callable[..., Path]) -> None:
    """A real server over stdio, which is gone afterwards."""
    settings = {"MCP_CONFIG": str(mcp_config(time=time_stdio()))}
    listed = run("tools", "list", "--json", **settings).json
    assert {"convert_time", "calculate"} <= {tool["name"] for tool in listed}
    params = json.dumps({"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"})
    done = run("tools", "call", "convert_time", "--params", params, **settings)
    assert "21:00" in done.out, done


FAULTS = """
import asyncio, sys, time
from executor_worker.tools import log, tool

def deep(item):
    return {}[item]

@tool
def order(item: str):
    log.info("asked for", item=item)
    return deep(item)

@tool
async def later(item: str):
    return deep(item)

@tool(isolate=True)
def apart(item: str):
    return deep(item)

@tool
def leave(item: str):
    sys.exit(item)

@tool(timeout=0.2)
def rest(item: str):
    time.sleep(60)
"""


@pytest.mark.parametrize("name", ["order", "later", "apart", "leave", "rest"])
def test_whoever_tries_out_a_tool_sees_its_traceback(run: Run, folder: Path, name: str) -> None:
    """On stderr, from the tool's own code on, by both commands that try one out; results stay on stdout."""
    (folder / "faults.py").write_text(FAULTS)
    raised = {"leave": "SystemExit: tea", "rest": 'faults.py", line 27, in rest'}.get(name, "KeyError: 'tea'")
    node = {"tool_name": name, "tool_params": {"item": "tea"}}
    for done in (
        run("tools", "call", name, "--params", '{"item": "tea"}', TOOL_MODULES="faults"),
        run("once", "-", stdin=json.dumps(node), TOOL_MODULES="faults"),
    ):
        assert done.status == 1
        assert "Traceback (most recent call last):" in done.err
        assert raised in done.err
        assert "Traceback" not in done.out
        assert ("asked for" in done.err) == (name == "order")


def test_an_agents_tool_shows_its_traceback_too(run: Run, folder: Path) -> None:
    """Its model is told the sentence and goes on."""
    (folder / "faults.py").write_text(FAULTS)
    script = json.dumps(
        {"script": [{"tool_calls": [{"name": "order", "arguments": {"item": "tea"}}]}, {"reply": "no"}]}
    )
    done = run(
        "once", "-", stdin=json.dumps({"llm_config": {"prompt": script}, "tools": ["order"]}), TOOL_MODULES="faults"
    )
    assert done.json["output"]["result"] == "no"
    assert "line 6, in deep" in done.err


def test_what_is_not_the_tools_own_shows_none(run: Run, folder: Path) -> None:
    """Parameters that do not fit, names that nobody has, a tool that says itself that it failed."""
    (folder / "faults.py").write_text(FAULTS)
    for arguments in (("order", "--params", "{}"), ("nobody",), ("calculate", "--params", '{"expression": "1/0"}')):
        done = run("tools", "call", *arguments, TOOL_MODULES="faults")
        assert done.status == 1
        assert "Traceback" not in done.err
