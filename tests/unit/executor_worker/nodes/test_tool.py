"""Tool nodes: parameters rendered, checked and sent once; what came back is the output."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest

from executor_worker.errors import ModelUnavailable, ToolFailed, ToolTimeout, ToolUnavailable, ToolUncertain
from executor_worker.outcome import Completed, Failed, Usage
from executor_worker.providers.base import ToolTurn, UserTurn
from executor_worker.tools.base import Answer
from tests.unit.executor_worker.nodes.doubles import Box, FunctionTool, ScriptedModel, SeenRunContext, call, reply

Done = Callable[..., Completed]
Bad = Callable[..., Failed]

MAIL = {
    "type": "object",
    "properties": {
        "to": {"type": "string"},
        "copies": {"type": "integer"},
        "filters": {"type": "array", "items": {"type": "object", "properties": {"size": {"type": "integer"}}}},
    },
    "required": ["to"],
    "additionalProperties": False,
}


def raising(error: BaseException) -> Callable[..., Any]:
    def body(**arguments: Any) -> Any:
        raise error

    return body


def test_parameters_are_rendered_with_their_types(completed: Done) -> None:
    """What the tool gets is what the templates stand for; what it returns is the output."""
    tool = FunctionTool("mail", schema=MAIL)
    config = {"tool_name": "mail", "tool_params": {"to": "{{user}}@x", "copies": "{{n}}", "filters": ["{{search.f}}"]}}
    outcome = completed(config, tools=(tool,), inputs={"user": "ada", "n": 2}, outputs={"search": {"f": {"size": 1}}})
    assert tool.calls == [{"to": "ada@x", "copies": 2, "filters": [{"size": 1}]}]
    assert outcome == Completed(tool.calls[0], "tool", None)
    assert tool.keys == ["run-1:0.0"]


def test_tool_that_changes_its_arguments_changes_nothing_else(completed: Done) -> None:
    """They are a copy: the graph's inputs are stored again after the run."""
    inputs = {"list": [1, {"n": 2**80}], "half": "\ud800"}
    tool = FunctionTool("t", lambda a: [a.append(a.pop()["n"]), a][1])
    config = {"tool_name": "t", "tool_params": {"a": "{{list}}"}}
    assert completed(config, tools=(tool,), inputs=inputs).output == [1, 2**80]
    assert inputs == {"list": [1, {"n": 2**80}], "half": "\ud800"}


def test_call_is_shown_and_counted(completed: Done) -> None:
    """The phase names the tool and its limit; to settle is the next."""
    run_context = SeenRunContext()
    completed({"tool_name": "t"}, tools=(FunctionTool("t", timeout=7.0),), run_context=run_context)
    assert run_context.phases == [("tool:t", 8.0, "tool_timeout")]
    assert run_context.tools == [("t", True)]


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({}, "'to' is a required property"),
        ({"to": 5}, "to: 5 is not of type 'string'"),
        ({"to": "a", "filters": [{}, {"size": "big"}]}, "filters[1].size: 'big' is not of type 'integer'"),
        ({"to": "a", "x": 1}, "Additional properties are not allowed"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_before_the_call(
    failed: Bad, params: dict[str, Any], problem: str
) -> None:
    """The problem comes with its path; the tool never hears of it."""
    tool = FunctionTool("mail", schema=MAIL)
    outcome = failed({"tool_name": "mail", "tool_params": params}, tools=(tool,))
    assert (outcome.code, tool.calls) == ("invalid_node", [])
    assert problem in outcome.error
    assert outcome.error.startswith("tool_params of mail")


def test_template_is_checked_before_the_call(failed: Bad) -> None:
    """An unknown name names the parameter."""
    tool = FunctionTool("t")
    outcome = failed({"tool_name": "t", "parameters": {"a": {"b": "{{nope}}"}}}, tools=(tool,))
    assert (outcome.code, tool.calls) == ("template_error", [])
    assert outcome.error.startswith("parameters.a.b: unknown name {{nope}}")


def test_tool_whose_own_schema_is_wrong_is_called_all_the_same(completed: Done) -> None:
    """A careless server's tool is left to check its parameters for itself."""
    tool = FunctionTool("t", schema={"type": "object", "properties": {"a": {"type": "whatever"}}})
    assert completed({"tool_name": "t", "tool_params": {"a": 1}}, tools=(tool,)).output == {"a": 1}


def test_lookup_keeps_its_codes(failed: Bad) -> None:
    """A wrong name is the author's, an unreachable server is not."""
    assert failed({"tool_name": "nope"}).code == "unknown_tool"
    away = Box(missing={"t": ToolUnavailable("server x was never reached")})
    assert failed({"tool_name": "t"}, tools=away).code == "tool_unavailable"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ToolFailed("no"), "tool_failed"),
        (ToolTimeout("slow"), "tool_timeout"),
        (ToolUnavailable("gone"), "tool_unavailable"),
        (ToolUncertain("lost"), "tool_uncertain"),
        (ValueError("bad value"), "tool_failed"),
        (SystemExit(3), "tool_failed"),
        (KeyboardInterrupt(), "tool_failed"),
        (RecursionError("deep"), "tool_failed"),
        (MemoryError(), "tool_failed"),
        (GeneratorExit(), "tool_failed"),
    ],
)
def test_whatever_a_tool_raises_is_an_outcome(failed: Bad, error: BaseException, code: str) -> None:
    """`sys.exit` and running out of memory included."""
    run_context = SeenRunContext()
    outcome = failed({"tool_name": "t"}, tools=(FunctionTool("t", raising(error)),), run_context=run_context)
    assert (outcome.code, outcome.mode) == (code, "tool")
    if outcome.code == "tool_failed" and not isinstance(error, ToolFailed):
        assert type(error).__name__ in outcome.error
    assert run_context.tools == [("t", False)]


def test_exception_that_can_not_be_shown_is_an_outcome(failed: Bad) -> None:
    """An exception's own `__str__` is foreign code too."""

    class Rude(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    outcome = failed({"tool_name": "t"}, tools=(FunctionTool("t", raising(Rude())),))
    assert outcome.error == "t broke with Rude"


def test_tool_that_says_it_failed_fails_the_node_with_its_text(failed: Bad) -> None:
    """`is_error` is the tool's own word."""
    tool = FunctionTool("t", lambda: Answer(None, "disk full", is_error=True))
    outcome = failed({"tool_name": "t"}, tools=(tool,))
    assert (outcome.code, outcome.error) == ("tool_failed", "t: disk full")


@pytest.mark.parametrize(
    "value", [float("nan"), [1, {"a": float("inf")}], {1, 2}, datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), b"x"]
)
def test_output_that_is_not_json_fails(failed: Bad, value: Any) -> None:
    """`tool_failed`, as the contract has it."""
    outcome = failed({"tool_name": "t"}, tools=(FunctionTool("t", lambda: Answer(value, "?")),))
    assert outcome.code == "tool_failed"
    assert "not JSON" in outcome.error


@pytest.mark.parametrize("value", [None, [], {}, 2**100, "null", "\ud800", [None, {"a": None}], 1.0])
def test_output_may_be_any_json_value(completed: Done, value: Any) -> None:
    """Huge integers, half characters and nothing at all included."""
    assert completed({"tool_name": "t"}, tools=(FunctionTool("t", lambda: Answer(value, "")),)).output == value


def test_nodes_own_timeout_ends_the_node_and_not_the_tool(failed: Bad) -> None:
    """When the node's limit is the nearer one, the node is what was too slow."""
    run_context = SeenRunContext()
    tool = FunctionTool("t", raising(ToolTimeout("t gave no answer within 5 s")), timeout=300.0)
    outcome = failed({"tool_name": "t", "timeout": 5}, tools=(tool,), run_context=run_context)
    assert outcome.code == "node_timeout"
    assert run_context.phases[0] == ("tool:t", 5.0, "node_timeout")


def test_item_whose_time_is_up_calls_nothing(failed: Bad) -> None:
    """Checked before the call."""
    tool = FunctionTool("t")
    assert failed({"tool_name": "t"}, tools=(tool,), run_context=SeenRunContext(seconds=0.0)).code == "node_timeout"
    assert tool.calls == []


EXTRACT = {"tool_name": "mail", "extract_params": {"from": "Write to {{who}}", "llm_config": {"model": "small"}}}


def test_model_fills_the_parameters_through_the_tools_own_schema(completed: Done) -> None:
    """The call is forced, counted and paid; explicit parameters are laid over."""
    tool = FunctionTool("mail", lambda **arguments: "sent", schema=MAIL)
    model = ScriptedModel(reply("", call("mail", {"to": "bob", "copies": 9})))
    run_context = SeenRunContext()
    config = {**EXTRACT, "tool_params": {"copies": "{{n}}"}}
    outcome = completed(config, model=model, tools=(tool,), inputs={"who": "Bob", "n": 1}, run_context=run_context)
    assert tool.calls == [{"to": "bob", "copies": 1}]
    assert outcome == Completed("sent", "tool", Usage(10, 5))
    (request,) = model.requests
    assert (request.model, request.tool_choice, request.turns) == ("small", "mail", (UserTurn("Write to Bob"),))
    assert [(spec.name, spec.input_schema) for spec in request.tools] == [("mail", MAIL)]
    assert run_context.models == [("small", Usage(10, 5))]
    assert [name for name, _, _ in run_context.phases] == ["llm", "running", "tool:mail", "running"]


@pytest.mark.parametrize("blank", ["", " \n", "\u200b"])
def test_extraction_from_nothing_is_not_tried(completed: Done, failed: Bad, blank: str) -> None:
    """No model is asked to take parameters from white space; a prompt that says something is asked alone."""
    model = ScriptedModel()
    config = {"tool_name": "mail", "extract_params": {"from": "{{a}}"}}
    outcome = failed(config, model=model, tools=(FunctionTool("mail"),), inputs={"a": blank})
    assert (outcome.code, model.requests) == ("invalid_node", [])
    assert "extract_params.from" in outcome.error
    model = ScriptedModel(reply("", call("mail", {"to": "x"})))
    config["extract_params"] = {"from": "{{a}}", "llm_config": {"prompt": "Write to x"}}
    completed(config, model=model, tools=(FunctionTool("mail"),), inputs={"a": blank})
    assert model.requests[0].turns == (UserTurn("Write to x"),)


def test_extraction_is_corrected_at_most_twice(completed: Done, failed: Bad) -> None:
    """The model hears what was wrong with its parameters."""
    tool = FunctionTool("mail", schema=MAIL)
    model = ScriptedModel(reply("", call("mail", {})), reply("I can't"), reply("", call("mail", {"to": "bob"}, "c3")))
    outcome = completed(EXTRACT, model=model, tools=(tool,), inputs={"who": "Bob"})
    assert (tool.calls, outcome.usage) == ([{"to": "bob"}], Usage(30, 15))
    told = model.requests[1].turns[-1]
    assert isinstance(told, ToolTurn)
    assert told.results[0].is_error
    assert "'to' is a required property" in told.results[0].text
    assert isinstance(model.requests[2].turns[-1], UserTurn)

    model = ScriptedModel(*(reply("", call("mail", problem="cut off")) for _ in range(3)))
    outcome_bad = failed(EXTRACT, model=model, tools=(tool,), inputs={"who": "Bob"})
    assert (outcome_bad.code, outcome_bad.usage) == ("llm_bad_response", Usage(30, 15))
    assert "cut off" in outcome_bad.error
    assert len(tool.calls) == 1


def test_parameters_nested_beyond_reach_are_no_accident(failed: Bad) -> None:
    """What a model nests too deeply to be copied is its own failure: here it lacks the name of whom to write to."""
    deep: dict[str, Any] = {}
    for _ in range(700):
        deep = {"a": deep}
    model = ScriptedModel(*(reply("", call("mail", {"to": None, "more": deep})) for _ in range(3)))
    outcome = failed(EXTRACT, model=model, tools=(FunctionTool("mail", schema=MAIL),), inputs={"who": "Bob"})
    assert outcome.code == "llm_bad_response", outcome


def test_explicit_parameter_that_does_not_fit_costs_no_model_call(failed: Bad) -> None:
    """What the author wrote is checked before a model is asked for the rest."""
    model = ScriptedModel()
    config = {**EXTRACT, "tool_params": {"copies": "many"}}
    outcome = failed(config, model=model, tools=(FunctionTool("mail", schema=MAIL),), inputs={"who": "Bob"})
    assert (outcome.code, model.requests) == ("invalid_node", [])


def test_failed_model_call_is_counted(failed: Bad) -> None:
    """Its code is the node's; no usage is known."""
    run_context = SeenRunContext()
    model = ScriptedModel(ModelUnavailable("down"))
    outcome = failed(
        EXTRACT, model=model, tools=(FunctionTool("mail", schema=MAIL),), inputs={"who": "B"}, run_context=run_context
    )
    assert (outcome.code, outcome.usage) == ("llm_unavailable", Usage())
    assert run_context.models == [("small", None)]
