"""What is loaded before the workers are forked, so that they share it."""

from __future__ import annotations

import pytest

from executor_worker.broker.connection.script import script
from executor_worker.broker.queue.group import group_script
from executor_worker.broker.queue.journal import journal_script
from executor_worker.broker.queue.park import park_script
from executor_worker.nodes import schema
from executor_worker.nodes.schema import misfits
from executor_worker.program.loading import Loaded, load
from executor_worker.settings import Settings

SETTINGS = Settings.load({"LLM_PROVIDER": "scripted", "TOOL_MODULES": "benchmarks.tools"})


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load(SETTINGS, None)


def test_tools_are_the_same_in_every_worker(loaded: Loaded) -> None:
    """None makes its own."""
    one, other = loaded.tool_registry(SETTINGS), loaded.tool_registry(SETTINGS)
    assert {"noop", "calculate"} < {tool.name for tool in one.functions}
    assert [id(tool) for tool in one.functions] == [id(tool) for tool in other.functions]


def test_workers_compile_no_schema_of_them(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of the modules' functions nor of those that are built in."""
    registry = loaded.tool_registry(SETTINGS)
    monkeypatch.setattr(schema, "Schema", None)  # none can be made
    for tool in registry.functions:
        assert not misfits(tool, {}, missing=False)


def test_workers_put_no_script_together(loaded: Loaded) -> None:
    """All that items of its kinds need has been read from its files."""
    assert loaded.function_names
    before = script.cache_info().misses
    for asked in (group_script, journal_script, park_script):
        asked()
    assert script.cache_info().misses == before
