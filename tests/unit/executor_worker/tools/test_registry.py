"""Looking tools up: whose comes first, and what is said where there is none."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from executor_worker.errors import ConfigError, UnknownTool
from executor_worker.run_context import RunContext
from executor_worker.tools import FunctionTool, ToolRegistry, ToolSettings, preload
from executor_worker.tools.functions.marks import Mark
from tests.kit import Stopwatch

Make = Callable[..., ToolRegistry]


def named(name: str, timeout: float | None = None) -> FunctionTool:
    def answer() -> str:
        return "a function's"

    return FunctionTool(answer, Mark(name, None, None, timeout))


def test_mcp_comes_before_functions_and_those_before_built_in_ones(
    make_registry: Make, odd: Callable[..., Any], run_context: RunContext
) -> None:
    """The order is the same for finding and for listing."""
    registry = make_registry(odd=odd(), functions=[named("echo"), named("calculate"), named("mine")])
    sources = {tool.name: tool.source for tool in registry.all()}
    assert sources["echo"] == registry.find("echo").source == "mcp odd"
    assert sources["calculate"] == registry.find("calculate").source == "function test_registry.py"
    assert sources["current_time"] == "built-in"
    assert registry.find("mine").call({}, run_context, "k").value == "a function's"


def test_limits_are_the_functions_own_or_the_settings(make_registry: Make, odd: Callable[..., Any]) -> None:
    """TOOL_TIMEOUT is for tools that say nothing."""
    registry = make_registry(odd=odd(), functions=[named("a", 3), named("b")], tool_timeout_s=42.0)
    assert [registry.find(name).timeout for name in ("a", "b", "echo")] == [3, 42, 42]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("calculat", "nearest: calculate"),
        ("zzz", "there are calculate, current_time, json_query"),
        ("Calculate", "nearest"),
    ],
)
def test_an_unknown_name_lists_the_nearest(make_registry: Make, name: str, said: str) -> None:
    """Names are exact; suggestions help with the rest."""
    with pytest.raises(UnknownTool, match=said):
        make_registry().find(name)


def test_everything_is_listed_though_a_server_is_away(make_registry: Make, odd: Callable[..., Any], log: Any) -> None:
    """It is left out, and said once."""
    registry = make_registry(("away=http://127.0.0.1:1/mcp",), odd=odd())
    for _ in range(2):
        assert "echo" in [tool.name for tool in registry.all()]
    assert log.events("warn").count("tools.left_out") == 1


def test_making_one_starts_nothing(odd: Callable[..., Any]) -> None:
    """It may be made before forking: connections come with the first look-up."""
    threads = len(os.listdir("/proc/self/task"))
    registry = ToolRegistry(ToolSettings(mcp_servers=("x=http://127.0.0.1:1",)))
    assert len(os.listdir("/proc/self/task")) <= threads
    began = Stopwatch()
    registry.close()
    assert began.own_s() < 0.5


def test_wrong_settings_are_told_before_anything_starts() -> None:
    """By the one that loads them and by the one that uses them."""
    settings = ToolSettings(mcp_config="/no/such/file.json")
    with pytest.raises(ConfigError, match="MCP_CONFIG"):
        preload(settings)
    with pytest.raises(ConfigError, match="MCP_CONFIG"):
        ToolRegistry(settings, [])
    with pytest.raises(ConfigError, match="TOOL_MODULES"):
        ToolRegistry(ToolSettings(tool_modules=("no_such_module",)))
