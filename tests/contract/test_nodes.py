"""What a node's `config` may say: the modes, the dialects, the templates, the tools."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.wire import Json, Wire

LLM: Json = {"prompt": "say {{x}}"}
SAID = "scripted: say 1"
ECHO = {"tool_name": "give_back"}


def script(*rules: Json) -> str:
    return json.dumps({"script": rules})


@pytest.mark.parametrize(
    ("config", "mode"),
    [
        ({"tool_name": "renamed"}, "tool"),
        ({"tool_name": "renamed", "llm_config": LLM, "tools": ["plus"]}, "tool"),
        ({"llm_config": LLM}, "llm"),
        ({"llm_config": LLM, "tools": []}, "llm"),
        ({"llm_config": LLM, "tools": None}, "llm"),
        ({"llm_config": LLM, "tools": ["plus"]}, "agent"),
        ({"llm_config": LLM, "type": "tool"}, "llm"),
        ({"llm_config": LLM, "tools": ["plus"], "type": "llm"}, "agent"),
        ({"tool_name": "renamed", "type": "agent"}, "tool"),
        ({"tool_name": "", "llm_config": LLM}, "llm"),
        ({"tool_name": None, "llm_config": LLM}, "llm"),
        ({"prompt": "say {{x}}"}, "llm"),
        ({"prompt": "say {{x}}", "tools": ["plus"]}, "agent"),
        ({"model": "any", "system_prompt": "be kind", "prompt": "say {{x}}"}, "llm"),
    ],
)
def test_mode_is_found_in_this_order(wire: Wire, config: Json, mode: str) -> None:
    """`tool_name`, then no model's settings, then `tools`, else llm; `type` and `node_type` are hints only."""
    data = wire.run(config, inputs={"x": 1}, node_type="something else")
    assert data["mode"] == mode, data
    assert "error" not in data


@pytest.mark.parametrize("config", [{}, {"type": "tool"}, {"tools": ["plus"]}, {"task": "do it"}, {"tool_params": {}}])
def test_no_tool_name_and_no_model_is_invalid(wire: Wire, config: Json) -> None:
    """`invalid_node`, and it says `tool_name required`."""
    code, said = wire.error(config)
    assert code == "invalid_node"
    assert "tool_name required" in said


@pytest.mark.parametrize(
    "config",
    [
        {"llm_config": {"prompt": "say {{x}}", "model": "m", "temperature": 0.5, "max_tokens": 10}},
        {"prompt": "say {{x}}", "model": "m", "temperature": 0.5, "max_tokens": 10},
        {"prompt": "say {{x}}", "llm_config": {"model": "m"}},
        {"llm_config": {"prompt": "say {{x}}"}, "system": "s"},
        {"prompt": "say {{x}}", "system_prompt": "s"},
        {"prompt": "say {{x}}", "system": "s", "timeout": 30},
    ],
)
def test_llm_dialects(wire: Wire, config: Json) -> None:
    """The model's settings in `llm_config` or at top level, the system's text under either name."""
    assert wire.output(config, inputs={"x": 1})["content"] == SAID


def test_system_is_a_template_and_reaches_the_model(wire: Wire) -> None:
    """Whichever place the system's text stands in, it is rendered and sent."""
    system = 'be {{how}} ```script\n[{"match": "be kind", "reply": "kindly"}]\n```'
    for config in (
        {"llm_config": {"prompt": "p", "system": system}},
        {"llm_config": {"prompt": "p", "system_prompt": system}},
        {"llm_config": {"prompt": "p"}, "system": system},
        {"prompt": "p", "system_prompt": system},
    ):
        assert wire.output(config, inputs={"how": "kind"})["content"] == "kindly", config


def test_a_nodes_model_is_counted_under_its_name(wire: Wire) -> None:
    """`model` of the node wins over LLM_MODEL."""
    wire.output({"llm_config": {"prompt": "p", "model": "contract-model-1"}})
    assert wire.pool.metrics()['dago_llm_calls_total{model="contract-model-1"}'] == 1


@pytest.mark.parametrize("field", ["tool_params", "parameters"])
def test_tool_dialects(wire: Wire, field: str) -> None:
    """`parameters` is `tool_params` by its older name."""
    assert wire.output({"tool_name": "plus", field: {"a": "{{x}}"}}, inputs={"x": 5}) == 15


def test_timeout_of_a_node(wire: Wire, gate: Any) -> None:
    """`timeout` in seconds ends the node with `node_timeout`."""
    config = {"tool_name": "wait_for_file", "tool_params": {"path": str(gate)}, "timeout": 0.5}
    assert wire.error(config)[0] == "node_timeout"


def test_agent_takes_its_task_from_the_config_or_the_inputs(wire: Wire) -> None:
    """`task` is a template; without one and without a prompt the inputs go in as JSON."""
    agent = {"llm_config": {"model": "m"}, "tools": ["renamed"]}
    done = {"script": [{"reply": "done as told"}]}
    assert wire.output(agent | {"task": "{{what}}"}, inputs={"what": json.dumps(done)})["result"] == "done as told"
    assert wire.output(agent, inputs=done)["result"] == "done as told"


def test_agent_calls_listed_tools_only(wire: Wire) -> None:
    """A model that asks for a tool that is not listed is told so; nothing of it is called."""
    before = wire.pool.metrics().get('dago_tool_executions_total{tool="complain"}', 0)
    prompt = script({"tool_calls": [{"name": "complain", "arguments": {"message": "x"}}]}, {"reply": "understood"})
    output = wire.output({"llm_config": {"prompt": prompt}, "tools": ["plus"]})
    assert output["result"] == "understood"
    assert [call["ok"] for call in output["tool_calls"]] in ([], [False])
    assert wire.pool.metrics().get('dago_tool_executions_total{tool="complain"}', 0) == before


def test_star_stands_for_all_tools(wire: Wire) -> None:
    """`"*"`, alone or in a list, lists every tool."""
    prompt = script({"tool_calls": [{"name": "plus", "arguments": {"a": 1}}]}, {"reply": "done"})
    for tools in ("*", ["*"]):
        output = wire.output({"llm_config": {"prompt": prompt}, "tools": tools})
        assert [(call["name"], call["ok"]) for call in output["tool_calls"]] == [("plus", True)]


def looping(**more: Any) -> Json:
    """An agent whose model never stops calling a tool by itself."""
    rule = {
        "tool_calls": [{"name": "renamed", "arguments": {}}],
        "repeat": True,
        "usage": {"input_tokens": 90, "output_tokens": 10},
    }
    return {"llm_config": {"prompt": script(rule)}, "tools": ["renamed"], **more}


def test_agent_fails_at_its_limit(wire: Wire) -> None:
    """MAX_ITERATIONS (10) model calls, or the node's own, then `max_iterations`."""
    data = wire.run(looping())
    assert data["error_code"] == "max_iterations"
    assert data["usage"] == {"input_tokens": 900, "output_tokens": 100}
    data = wire.run(looping(max_iterations=2, on_limit="fail"))
    assert data["error_code"] == "max_iterations"
    assert data["usage"]["input_tokens"] == 180


def test_agent_may_end_with_what_it_has(wire: Wire) -> None:
    """`on_limit`: partial gives what there is, finalize asks once more with no tool allowed."""
    partial = wire.output(looping(max_iterations=2, on_limit="partial"))
    assert partial["iterations"] == 2
    assert {"name": "renamed", "ok": True}.items() <= partial["tool_calls"][0].items()
    call = {"tool_calls": [{"name": "renamed", "arguments": {}}]}
    final = {"llm_config": {"prompt": script(call, call, {"reply": "in the end"})}, "tools": ["renamed"]}
    output = wire.output(final | {"max_iterations": 2, "on_limit": "finalize"})
    assert output["result"] == "in the end"
    assert output["iterations"] in (2, 3)


def test_agent_has_a_budget(wire: Wire) -> None:
    """No model call is made once `budget.total_tokens` are used: `budget_exceeded`."""
    data = wire.run(looping(budget={"total_tokens": 250}))
    assert data["error_code"] == "budget_exceeded"
    assert data["usage"]["input_tokens"] + data["usage"]["output_tokens"] == 300


def test_parameters_may_be_extracted_by_a_model(wire: Wire) -> None:
    """`extract_params`: a model fills the tool's own schema from a rendered text."""
    prompt = script({"tool_calls": [{"name": "plus", "arguments": {"a": 20, "b": 22}}]})
    data = wire.run(
        {"tool_name": "plus", "extract_params": {"from": "{{text}}", "llm_config": {}}}, inputs={"text": prompt}
    )
    assert data["output"] == 42
    assert data["mode"] == "tool"
    assert data["usage"]["input_tokens"] > 0


# Templates


DEEP = {"a": {"b.c": [10, {"d": "deep"}]}, "list": ["zero", "one"], "text": "plain", "n": 7, "none": None, "no": False}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{n}}", 7),
        ("{{ n }}", 7),
        ("n={{n}}", "n=7"),
        ("{{text}}", "plain"),
        ("{{none}}", None),
        ("{{no}}", False),
        ("{{none}}{{no}}", "nullfalse"),
        ("{{a}}", DEEP["a"]),
        ("is {{a}}", 'is {"b.c":[10,{"d":"deep"}]}'),
        ("{{list.1}}", "one"),
        ("{{a.b.c.1.d}}", "deep"),
        ("{{inputs.n}}", 7),
        ("{{inputs}}", DEEP),
        ("{{first.items.0.name}}", "from the node"),
        ("{{nodes.first.items.0.name}}", "from the node"),
        ("{{nodes.n}}", "the node called n"),
        ("{{first}}", {"items": [{"name": "from the node"}]}),
        ("{n} {{{n}}} {{", None),
        (["{{n}}", {"k": "{{list}}"}], [7, {"k": ["zero", "one"]}]),
        ({"{{n}}": "{{n}}"}, {"{{n}}": 7}),
    ],
)
def test_templates(wire: Wire, template: Any, expected: Any) -> None:
    """Names, paths, explicit ones; one placeholder alone keeps its type, at any depth; keys are no templates."""
    graph_id = wire.new_graph()
    states = {
        "first": {"status": "completed", "output": {"items": [{"name": "from the node"}]}},
        "n": {"status": "completed", "output": "the node called n"},
    }
    wire.put_state(graph_id, inputs=DEEP, node_states=states)
    config = {"tool_name": "give_back", "tool_params": {"value": template}}
    wire.add({"graph_id": graph_id, "node_id": "me", "config": config})
    output = wire.wait_result(graph_id)["data"]["output"]
    if template == "{n} {{{n}}} {{":
        assert output.startswith("{n} ") and "7" in output and output.endswith(" {{")
    else:
        assert output == expected and type(output) is type(expected)


def test_what_is_substituted_is_never_rendered_again(wire: Wire) -> None:
    """One pass: a value that looks like a template stays what it is."""
    inputs = {"evil": "{{secret}}", "secret": "S", "open": "{{sec", "close": "ret}}"}
    config = ECHO | {"tool_params": {"value": ["{{evil}}", "x{{evil}}", "{{open}}{{close}}"]}}
    assert wire.output(config, inputs=inputs) == ["{{secret}}", "x{{secret}}", "{{secret}}"]


@pytest.mark.parametrize(
    "template", ["{{nobody}}", "{{x.y}}", "{{list.9}}", "{{inputs.nobody}}", "{{nodes.x}}", "{{}}", "{{x.__class__}}"]
)
@pytest.mark.parametrize("place", ["tool", "llm", "agent"])
def test_an_unknown_name_is_a_template_error(wire: Wire, template: str, place: str) -> None:
    """It lists the known ones; nothing is called."""
    config = {
        "tool": ECHO | {"tool_params": {"value": template}},
        "llm": {"llm_config": {"prompt": "a " + template}},
        "agent": {"llm_config": {"model": "m"}, "task": template, "tools": ["plus"]},
    }[place]
    code, said = wire.error(config, inputs={"x": 1, "list": [], "known_input": 2})
    assert code == "template_error"
    assert "known_input" in said


def test_an_output_that_is_not_there_yet_is_an_unknown_name(wire: Wire) -> None:
    """A node that has not finished has no output; the answer says so."""
    graph_id = wire.new_graph()
    wire.put_state(graph_id, node_states={"later": {"status": "running"}})
    wire.add({"graph_id": graph_id, "node_id": "n", "config": ECHO | {"tool_params": {"value": "{{later}}"}}})
    data = wire.wait_result(graph_id)["data"]
    assert data["error_code"] == "template_error"
    assert "later" in data["error"]


def test_output_of_a_node_that_is_null(wire: Wire) -> None:
    """A completed node whose output is null is known; its value is null."""
    graph_id = wire.new_graph()
    wire.put_state(graph_id, node_states={"m": {"status": "completed", "output": None}})
    wire.add({"graph_id": graph_id, "node_id": "n", "config": ECHO | {"tool_params": {"value": ["{{m}}"]}}})
    assert wire.wait_result(graph_id)["data"]["output"] == [None]


# Tools


def test_tools_are_found_by_their_exact_name(wire: Wire) -> None:
    """Another name, another case, or a function that is not marked: `unknown_tool`."""
    assert wire.output({"tool_name": "renamed"}) == "found by its other name"
    for name in ("its_own_name", "Renamed", "renamed ", "unmarked", "renam", "nobody's"):
        code, said = wire.error({"tool_name": name})
        assert code == "unknown_tool"
        assert name.strip() in said
    code, _ = wire.error({"llm_config": {"prompt": "p"}, "tools": ["plus", "nobody"]})
    assert code == "unknown_tool"


@pytest.mark.parametrize(
    "params", [{}, {"a": "text"}, {"a": None}, {"a": 1.5}, {"a": 1, "b": []}, {"a": "{{list}}"}, {"a": 1, "more": 2}]
)
def test_parameters_are_checked_before_the_call(wire: Wire, params: Json) -> None:
    """What does not follow the tool's schema fails before anything is called."""
    before = wire.pool.metrics().get('dago_tool_executions_total{tool="plus"}', 0)
    code, said = wire.error({"tool_name": "plus", "tool_params": params}, inputs={"list": [1]})
    assert code in ("invalid_node", "tool_failed")
    assert "plus" in said
    assert wire.pool.metrics().get('dago_tool_executions_total{tool="plus"}', 0) == before


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"tool_name": "complain", "tool_params": {"message": "m"}}, "tool_failed"),
        ({"tool_name": "give_object"}, "tool_failed"),
        ({"tool_name": "give_nan"}, "tool_failed"),
        ({"tool_name": "too_slow"}, "tool_timeout"),
        (
            {"llm_config": {"prompt": script({"error": "429", "retry_after_s": 100000, "repeat": True})}},
            "llm_rate_limited",
        ),
        ({"llm_config": {"prompt": script({"error": "400"})}}, "llm_rejected"),
        ({"llm_config": {"prompt": script({"error": "401"})}}, "llm_rejected"),
        ({"llm_config": {"prompt": script({"reply": ""})}}, "llm_bad_response"),
    ],
)
def test_error_codes_of_tools_and_models(wire: Wire, config: Json, code: str) -> None:
    """Each way to fail has its own code and a sentence."""
    found, said = wire.error(config)
    assert found == code
    assert len(said) > 10
