"""`once`: one node from a file, without Redis."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit import PROGRAM, ModelServer, wait_until
from tests.kit.paths import SERVERS
from tests.kit.processes import Process
from tests.system.cli.conftest import Run, environment

SUM = {"tool_name": "calculate", "tool_params": {"expression": "6*7"}}
TOOLS = """
import os, sys, time
from executor_worker.tools import tool

@tool
def slow(seconds: float) -> str:
    "Sleep."
    time.sleep(seconds)
    return "rested"

@tool
def loud() -> str:
    "Print."
    print("to stdout")
    return "done"

@tool
def fatal() -> str:
    "Leave."
    sys.exit(3)
"""


def item(config: Any, **more: Any) -> str:
    return json.dumps({"graph_id": "g", "node_id": "n", "node_type": "tool", "config": config, **more})


def state(**more: Any) -> dict[str, Any]:
    nodes = {"first": {"node_id": "first", "status": "completed", "output": {"number": 41}}}
    return {"graph_id": "g", "graph": {}, "status": "running", "inputs": {"word": "six"}, "node_states": nodes, **more}


@pytest.mark.parametrize(
    "document",
    [
        item(SUM),
        json.dumps({"id": "w1", "type": "node.work", "data": {"graph_id": "g", "node_id": "n", "config": SUM}}),
        json.dumps({"id": "sum", "type": "tool", "config": SUM}),
        json.dumps({"config": SUM}),
        json.dumps(SUM),
    ],
    ids=["item", "event", "graph-node", "config-only", "bare-config"],
)
def test_a_node_comes_in_any_of_its_forms(run: Run, document: str) -> None:
    """As on either stream, as in a graph, or its config alone; from stdin."""
    done = run("once", "-", stdin=document)
    assert (done.status, done.json["status"], done.json["output"]) == (0, "completed", 42)


def test_state_brings_inputs_and_other_nodes_outputs(run: Run, folder: Path) -> None:
    """The item's own inputs lie over the state's."""
    (folder / "state.json").write_text(json.dumps(state()))
    config = {"tool_name": "calculate", "tool_params": {"expression": "{{first.number}} + {{one}}"}}
    (folder / "node.json").write_text(item(config, inputs={"one": 1}))
    done = run("once", "node.json", "--state", "state.json")
    assert done.json["output"] == 42, done


def test_config_is_found_in_the_state(run: Run, folder: Path) -> None:
    """For an event, which brings none; without the state it is `state_missing`."""
    event = {"id": "w1", "type": "node.work", "data": {"graph_id": "g", "node_id": "n"}}
    (folder / "node.json").write_text(json.dumps(event))
    (folder / "state.json").write_text(json.dumps(state(graph={"nodes": {"n": {"config": SUM}}})))
    assert run("once", "node.json", "--state", "state.json").json["output"] == 42
    done = run("once", "node.json")
    assert (done.status, done.json["error_code"]) == (1, "state_missing")
    (folder / "state.json").write_text(json.dumps(state(graph={"nodes": {}})))
    assert run("once", "node.json", "--state", "state.json").json["error_code"] == "invalid_node"


def test_the_state_is_of_the_item_s_graph(run: Run, folder: Path) -> None:
    """Another graph's is refused; an item that names no graph takes any."""
    (folder / "state.json").write_text(json.dumps(state()))
    (folder / "node.json").write_text(item(SUM).replace('"g"', '"h"'))
    done = run("once", "node.json", "--state", "state.json")
    assert (done.status, done.json["error_code"]) == (1, "state_invalid") and "the graph 'g'" in done.json["error"]
    (folder / "node.json").write_text(json.dumps(SUM))
    assert run("once", "node.json", "--state", "state.json").json["output"] == 42


@pytest.mark.parametrize("dry", [True, False], ids=["dry-run", "for real"])
def test_unknown_fields_are_told(run: Run, dry: bool) -> None:
    """On stderr, and in what a dry run prints."""
    done = run("once", "-", *(["--dry-run"] if dry else []), stdin=item({**SUM, "timout": 3}))
    sentence = "config.timout is not a field and is ignored; did you mean timeout?"
    assert done.status == 0 and done.err == f"executor-worker: {sentence}\n"
    assert done.json.get("warnings") == ([sentence] if dry else None)
    assert "warnings" not in run("once", "-", "--dry-run", stdin=item(SUM)).json


def test_an_agent_without_a_model_s_settings_is_told_so(run: Run) -> None:
    """It is taken for a tool."""
    done = run("once", "-", stdin=item({"task": "Add.", "tools": ["calculate"]}))
    assert done.json["error_code"] == "invalid_node"
    assert "add llm_config" in done.json["error"] and "'tools'" in done.json["error"]


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("not json", "invalid_item"),
        ("[1]", "invalid_item"),
        ("", "invalid_item"),
        ("[" * 100_000, "invalid_item"),
        (item({}), "invalid_node"),
        (item({"tool_name": "nobody"}), "unknown_tool"),
        (item({"tool_name": "calculate", "tool_params": {}}), "invalid_node"),
        (item({"tool_name": "calculate", "tool_params": {"expression": "{{nobody}}"}}), "template_error"),
        (item({"tool_name": "calculate", "tool_params": {"expression": "1/0"}}), "tool_failed"),
        (item(SUM, deadline="2020-01-01T00:00:00Z"), "node_timeout"),
    ],
)
def test_what_goes_wrong_is_an_outcome_with_its_code(run: Run, document: str, code: str) -> None:
    """JSON on stdout all the same, status 1."""
    done = run("once", "-", stdin=document)
    assert done.status == 1
    assert done.json["status"] == "failed"
    assert done.json["error_code"] == code
    assert done.json["error"]


def test_a_state_that_is_none_is_an_outcome_too(run: Run, folder: Path) -> None:
    """As it would be on the pool."""
    (folder / "state.json").write_text("[]")
    done = run("once", "-", "--state", "state.json", stdin=item(SUM))
    assert (done.status, done.json["error_code"]) == (1, "state_invalid")


def test_dry_run_renders_and_calls_nothing(run: Run, folder: Path) -> None:
    """The mode, the tool and the parameters as they would be sent."""
    (folder / "state.json").write_text(json.dumps(state()))
    config = {"tool_name": "calculate", "tool_params": {"expression": "{{first.number}} / 0"}}
    done = run("once", "-", "--dry-run", "--state", "state.json", stdin=item(config))
    assert done.status == 0
    assert done.json["mode"] == "tool"
    assert done.json["tool_params"] == {"expression": "41 / 0"}


@pytest.mark.parametrize(
    "document", ["{", item({"tool_name": "nobody"}), item({"llm_config": {"prompt": "{{nobody}}"}})]
)
def test_dry_run_says_what_is_invalid(run: Run, document: str) -> None:
    """Status 1."""
    done = run("once", "-", "--dry-run", stdin=document)
    assert (done.status, done.json["valid"]) == (1, False)
    assert done.json["error_code"]


def test_a_dry_run_needs_no_key_and_a_run_does(run: Run) -> None:
    """Only where a model is called: a tool node needs none."""
    llm = item({"llm_config": {"prompt": "Hello"}})
    assert run("once", "-", "--dry-run", stdin=llm, LLM_PROVIDER="anthropic").json["prompt"] == "Hello"
    done = run("once", "-", stdin=llm, LLM_PROVIDER="anthropic", ANTHROPIC_API_KEY="sk-unread")
    assert (done.status, done.out) == (78, "")
    assert "LLM_API_KEY: it is not set" in done.err
    assert "ANTHROPIC_API_KEY is set, but not read" in done.err
    assert run("once", "-", stdin=item(SUM), LLM_PROVIDER="anthropic").status == 0


def test_llm_and_agent_nodes_tell_their_usage(run: Run) -> None:
    """With the scripted provider: no network."""
    llm = run("once", "-", stdin=item({"llm_config": {"prompt": "Hello"}})).json
    assert llm["mode"] == "llm"
    assert llm["output"]["content"] == "scripted: Hello"
    assert llm["usage"]["input_tokens"] > 0
    agent = run("once", "-", stdin=item({"llm_config": {}, "task": "6*7", "tools": ["calculate"]})).json
    assert agent["mode"] == "agent"
    assert agent["output"]["tool_calls"][0]["name"] == "calculate"


def test_a_real_endpoint_is_called(run: Run, model_server: ModelServer) -> None:
    """With the SDK, over HTTP."""
    model_server.answer("Hello", "Good day!")
    done = run("once", "-", stdin=item({"llm_config": {"prompt": "Hello"}}), **model_server.env)
    assert done.json["output"]["content"] == "Good day!", done


def test_own_tools_are_found_here_and_their_prints_stay_out_of_the_result(run: Run, folder: Path) -> None:
    """Modules in the working directory; stdout is for the outcome alone."""
    (folder / "mine.py").write_text(TOOLS)
    done = run("once", "-", stdin=item({"tool_name": "loud"}), TOOL_MODULES="mine")
    assert done.json["output"] == "done"
    assert "to stdout" in done.err


def test_limits_end_a_tool_that_sleeps(run: Run, folder: Path) -> None:
    """TOOL_TIMEOUT, then NODE_TIMEOUT."""
    (folder / "mine.py").write_text(TOOLS)
    slow = item({"tool_name": "slow", "tool_params": {"seconds": 20}})
    assert run("once", "-", stdin=slow, TOOL_MODULES="mine", TOOL_TIMEOUT="0.3").json["error_code"] == "tool_timeout"
    assert run("once", "-", stdin=slow, TOOL_MODULES="mine", NODE_TIMEOUT="0.3").json["error_code"] == "node_timeout"


def test_a_tool_that_leaves_is_a_failure_not_an_end(run: Run, folder: Path) -> None:
    """`sys.exit` in a tool is the tool's failure."""
    (folder / "mine.py").write_text(TOOLS)
    done = run("once", "-", stdin=item({"tool_name": "fatal"}), TOOL_MODULES="mine")
    assert (done.status, done.json["error_code"]) == (1, "tool_failed")


@pytest.mark.parametrize(
    ("settings", "variable"),
    [({"TOOL_MODULES": "nowhere"}, "TOOL_MODULES"), ({"MCP_CONFIG": "nowhere.json"}, "MCP_CONFIG")],
)
def test_tools_that_can_not_be_had_are_wrong_settings(run: Run, settings: dict[str, str], variable: str) -> None:
    """Status 78, the variable named."""
    done = run("once", "-", stdin=item(SUM), **settings)
    assert (done.status, done.out) == (78, "")
    assert f"{variable}:" in done.err


def test_ctrl_c_cancels_the_call_in_progress(folder: Path, mcp_config: Callable[..., Path]) -> None:
    """Its server is told; one who presses it again while that is done changes nothing."""
    server = SERVERS / "modern.py"
    config = mcp_config(own={"command": sys.executable, "args": [str(server), "stdio"]})
    path = folder / "slow"
    node = {"tool_name": "slow", "tool_params": {"path": str(path), "seconds": 600}}
    (folder / "node.json").write_text(json.dumps(node))
    env = environment({"MCP_CONFIG": str(config)})
    once = Process([str(PROGRAM), "once", "node.json"], env=env, cwd=folder, stderr=-1)
    try:
        wait_until(lambda: path.exists() and path.read_text() == "started", 30, "it is called")
        once.send(signal.SIGINT)
        wait_until(lambda: path.read_text() == "cancelled", 10, "it was cancelled")
        once.send(signal.SIGINT)
        assert once.wait(20) == 130
        assert once.popen.stderr is not None and b"Traceback" not in once.popen.stderr.read()
        once.assert_nobody_left()
    finally:
        once.kill()


def test_a_state_that_an_editor_has_marked(run: Run, folder: Path) -> None:
    """With a byte order mark, or in UTF-16: read like any other; the node's file too."""
    config = {"tool_name": "calculate", "tool_params": {"expression": "{{first.number}} + 1"}}
    (folder / "state.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(state()).encode())
    (folder / "node.json").write_bytes(b"\xff\xfe" + item(config).encode("utf-16-le"))
    done = run("once", "node.json", "--state", "state.json")
    assert done.json["output"] == 42, done


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_is_printed_is_json_whatever_stdout_takes(run: Run, folder: Path, encoding: str) -> None:
    """Each command that prints JSON, for text of each plane and what is no character at all."""
    text = "é €\U0001f389\ud800"
    tool = "from executor_worker.tools import tool\n\n@tool\ndef shout(text: str):\n    return text\n"
    (folder / "shouting.py").write_text(tool)
    env = {"PYTHONIOENCODING": encoding, "TOOL_MODULES": "shouting"}
    node = json.dumps({"tool_name": "shout", "tool_params": {"text": text}})
    assert run("once", "-", stdin=node, **env).json["output"] == text
    assert run("once", "-", "--dry-run", stdin=node, **env).json["tool_params"] == {"text": text}
    assert run("tools", "call", "shout", "--params", "-", stdin=json.dumps({"text": text}), **env).json == text
    assert run("tools", "list", "--json", **env).json
