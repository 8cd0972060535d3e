"""Agents: the loop, what they may call, what they are told, and how they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from executor_worker.errors import (
    Abandoned,
    Cancelled,
    ModelUnavailable,
    NodeTimeout,
    Overdue,
    ToolFailed,
    ToolTimeout,
    ToolUnavailable,
    ToolUncertain,
)
from executor_worker.outcome import Completed, Failed, Usage
from executor_worker.providers.base import ModelRequest, StopReason, ToolResult, ToolTurn, UserTurn
from executor_worker.tools.base import Answer
from tests.unit.executor_worker.nodes.conftest import execute
from tests.unit.executor_worker.nodes.doubles import Box, FunctionTool, ScriptedModel, SeenRunContext, call, reply

Done = Callable[..., Completed]
Bad = Callable[..., Failed]

SEARCH = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}


def agent(*tools: str, **more: Any) -> dict[str, Any]:
    return {"llm_config": {}, "task": "Do it", "tools": list(tools or ("search",)), **more}


def search(body: Callable[..., Any] = lambda q: f"found {q}", **more: Any) -> FunctionTool:
    return FunctionTool("search", body, SEARCH, **more)


def raising(error: BaseException) -> Callable[..., Any]:
    def body(**arguments: Any) -> Any:
        raise error

    return body


def told(request: ModelRequest) -> tuple[ToolResult, ...]:
    turn = request.turns[-1]
    assert isinstance(turn, ToolTurn)
    return turn.results


def asks(q: str = "x", call_id: str = "c1") -> Any:
    return reply("", call("search", {"q": q}, call_id))


def test_agent_calls_tools_until_it_answers(completed: Done) -> None:
    """The conversation grows by the model's turn as it came, and the results in order."""
    first = reply("Let me look.", call("search", {"q": "a"}, "1"), call("add", {"n": 2}, "2"))
    model = ScriptedModel(first, asks("b", "3"), reply("Done."))
    tools = (search(), FunctionTool("add", lambda n: {"sum": n + 1}))
    run_context = SeenRunContext()
    outcome = completed(agent("search", "add"), model=model, tools=tools, run_context=run_context)
    assert outcome == Completed(
        {
            "result": "Done.",
            "iterations": 3,
            "usage": {"input_tokens": 30, "output_tokens": 15},
            "tool_calls": [{"name": name, "ok": True, "duration_ms": 0} for name in ("search", "add", "search")],
        },
        "agent",
        Usage(30, 15),
    )
    assert run_context.shown == [("agent", 0, 0), ("agent", 1, 10), ("agent", 2, 10), ("agent", 3, 10)]
    assert model.requests[1].turns == (
        UserTurn("Do it"),
        first.turn,
        ToolTurn((ToolResult("1", "found a"), ToolResult("2", '{"sum": 3}'))),
    )
    assert [spec.name for spec in model.requests[0].tools] == ["search", "add"]
    assert tools[0].keys + tools[1].keys == ["run-1:1.0", "run-1:2.0", "run-1:1.1"]
    assert [name for name, _, _ in run_context.phases[::2]] == [
        "llm",
        "tool:search",
        "tool:add",
        "llm",
        "tool:search",
        "llm",
    ]
    assert run_context.tools == [("search", True), ("add", True), ("search", True)]


def test_task_is_a_template_and_defaults_to_the_inputs(completed: Done) -> None:
    """Without a task the model gets the graph's inputs as JSON."""
    model = ScriptedModel(reply("a"), reply("b"))
    completed({**agent(), "task": "About {{x}}"}, model=model, tools=(search(),), inputs={"x": 2**70})
    completed({"llm_config": {}, "tools": ["search"]}, model=model, tools=(search(),), inputs={"x": 2**70})
    assert model.requests[0].turns == (UserTurn(f"About {2**70}"),)
    assert model.requests[1].turns == (UserTurn(f'{{"x":{2**70}}}'),)


@pytest.mark.parametrize("blank", ["", " \n", "\u200b"])
def test_task_that_renders_to_nothing_is_none(completed: Done, blank: str) -> None:
    """What else is said to the model stands alone; nothing at all, and it gets the inputs."""
    inputs = {"a": blank}
    for said, expected in (({"prompt": "Go"}, "Go"), ({"prompt": "{{a}}", "system": "{{a}}"}, None)):
        model = ScriptedModel(reply("x"))
        config = {"llm_config": said, "task": "{{a}} ", "tools": ["search"]}
        completed(config, model=model, tools=(search(),), inputs=inputs)
        (turn,) = model.requests[0].turns
        assert isinstance(turn, UserTurn)
        assert turn.text == expected if expected else json.loads(turn.text) == inputs
        assert model.requests[0].system is None


def test_star_stands_for_all_tools(completed: Done) -> None:
    """A further name is looked up on its own."""
    model = ScriptedModel(reply("x"))
    completed(agent("*"), model=model, tools=(search(), FunctionTool("add")))
    assert [spec.name for spec in model.requests[0].tools] == ["search", "add"]


def test_tool_is_known_by_the_name_the_node_uses(completed: Done) -> None:
    """`server.tool` may find a tool that calls itself otherwise."""
    tool = search()
    box = Box()
    box.tools["web.search"] = tool
    model = ScriptedModel(reply("", call("web.search", {"q": "a"})), reply("x"))
    output = completed(agent("web.search"), model=model, tools=box).output
    assert (tool.calls, output["tool_calls"][0]["name"]) == ([{"q": "a"}], "web.search")
    assert model.requests[0].tools[0].name == "web.search"


def test_tools_that_are_missing_fail_before_any_model_call(failed: Bad) -> None:
    """A wrong name and an unreachable server have their own codes."""
    model = ScriptedModel()
    assert failed(agent("nope"), model=model).code == "unknown_tool"
    away = Box(missing={"search": ToolUnavailable("never reached")})
    outcome = failed(agent(), model=model, tools=away)
    assert (outcome.code, model.requests, outcome.detail) == ("tool_unavailable", [], {})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (call("delete", {}), "There is no tool 'delete'. You may call: search."),
        (call("search", problem="Unterminated string"), "The arguments were not a JSON object: Unterminated string."),
        (call("search", {}), "The arguments do not fit the tool's schema: 'q' is a required property."),
        (call("search", {"q": 1}), "The arguments do not fit the tool's schema: q: 1 is not of type 'string'."),
    ],
)
def test_call_that_can_not_be_made_is_told_to_the_model(completed: Done, asked: Any, said: str) -> None:
    """Nothing is called; the model may correct itself, the node goes on."""
    tool, other = search(), FunctionTool("delete")
    model = ScriptedModel(reply("", asked), reply("sorry"))
    run_context = SeenRunContext()
    output = completed(agent(), model=model, tools=(tool, other), run_context=run_context).output
    assert told(model.requests[1]) == (ToolResult("c1", said, is_error=True),)
    assert (output["result"], tool.calls, other.calls, run_context.tools) == ("sorry", [], [], [])
    assert output["tool_calls"] == [{"name": asked.name, "ok": False, "duration_ms": 0}]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (raising(ToolFailed("disk full")), "disk full"),
        (raising(ToolTimeout("search gave no answer within 5 s")), "search gave no answer within 5 s"),
        (raising(ToolUnavailable("server gone")), "server gone"),
        (raising(ValueError("bad")), "search broke with ValueError: bad"),
        (raising(SystemExit()), "search broke with SystemExit"),
        (lambda q: Answer(None, "no such page", is_error=True), "no such page"),
    ],
)
def test_failing_tool_is_told_to_the_model_and_not_to_the_user(completed: Done, body: Any, said: str) -> None:
    """The other calls of the turn are made all the same."""
    first = reply("", call("search", {"q": "a"}, "1"), call("ok", {}, "2"))
    model = ScriptedModel(first, reply("then not"))
    output = completed(agent("search", "ok"), model=model, tools=(search(body), FunctionTool("ok"))).output
    assert told(model.requests[1]) == (ToolResult("1", said, is_error=True), ToolResult("2", "{}"))
    assert [made["ok"] for made in output["tool_calls"]] == [False, True]
    assert output["result"] == "then not"


def test_images_and_links_are_carried_over(completed: Done) -> None:
    """Blocks go to the model beside the text."""
    image = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
    model = ScriptedModel(asks(), reply("seen"))
    completed(agent(), model=model, tools=(search(lambda q: Answer([image], "an image", (image,))),))
    assert told(model.requests[1])[0].blocks == (image,)


def test_unknown_outcome_is_told_or_fails_as_the_node_asks(completed: Done, failed: Bad) -> None:
    """`on_uncertain`: tell is the default."""
    lost = raising(ToolUncertain("the connection was lost after the call was sent"))
    model = ScriptedModel(asks(), reply("checked"))
    completed(agent(), model=model, tools=(search(lost),))
    (result,) = told(model.requests[1])
    assert result.is_error
    assert "outcome of this call is unknown" in result.text
    outcome = failed(agent(on_uncertain="fail"), model=ScriptedModel(asks()), tools=(search(lost),))
    assert (outcome.code, outcome.usage) == ("tool_uncertain", Usage(10, 5))
    assert outcome.detail["tool_calls"] == [{"name": "search", "ok": False, "duration_ms": 0}]


@pytest.mark.parametrize(("error", "code"), [(NodeTimeout("up"), "node_timeout"), (Cancelled("graph"), "cancelled")])
def test_end_of_the_node_is_not_told_to_the_model(failed: Bad, error: BaseException, code: str) -> None:
    """Time and cancellation are the node's, whoever notices them."""
    model = ScriptedModel(asks())
    assert failed(agent(), model=model, tools=(search(raising(error)),)).code == code


@pytest.mark.parametrize("error", [Abandoned("given back"), Overdue("up")])
def test_interruption_goes_through_everything(error: BaseException) -> None:
    """What stops a run from outside is no outcome of it."""
    with pytest.raises(type(error)):
        execute(agent(), model=ScriptedModel(asks()), tools=(search(raising(error)),))


def test_failing_model_call_tells_what_was_done(failed: Bad) -> None:
    """Usage and calls up to then."""
    outcome = failed(agent(), model=ScriptedModel(asks(), ModelUnavailable("down")), tools=(search(),))
    assert (outcome.code, outcome.usage, outcome.mode) == ("llm_unavailable", Usage(10, 5), "agent")
    assert outcome.detail == {"iterations": 1, "tool_calls": [{"name": "search", "ok": True, "duration_ms": 0}]}


# -- limits -------------------------------------------------------------------------------------------


def test_endless_loop_ends_at_max_iterations(failed: Bad) -> None:
    """Model calls are counted; tools whose results nobody could read are not called any more."""
    tool = search()
    model = ScriptedModel(*(asks() for _ in range(9)))
    outcome = failed(agent(max_iterations=3), model=model, tools=(tool,))
    assert (outcome.code, len(model.requests), len(tool.calls)) == ("max_iterations", 3, 2)
    assert (outcome.usage, outcome.detail["iterations"]) == (Usage(30, 15), 3)
    assert len(outcome.detail["tool_calls"]) == 2


def test_workers_limit_holds_where_the_node_names_none(failed: Bad) -> None:
    """MAX_ITERATIONS."""
    model = ScriptedModel(*(asks() for _ in range(9)))
    assert failed(agent(), model=model, tools=(search(),), max_iterations=2).code == "max_iterations"
    assert len(model.requests) == 2


def test_answer_in_the_last_iteration_counts(completed: Done) -> None:
    """The limit is on calls made, not on calls that would come."""
    assert (
        completed(agent(max_iterations=1), model=ScriptedModel(reply("x")), tools=(search(),)).output["iterations"] == 1
    )


def test_finalize_makes_one_more_call_without_tools(completed: Done) -> None:
    """Tools stay declared but are not allowed; open calls are answered as not run."""
    tool = search()
    model = ScriptedModel(
        asks(), reply("", call("search", {"q": "y"}, "c2"), call("search", {"q": "z"}, "c3")), reply("So far.")
    )
    output = completed(agent(max_iterations=2, on_limit="finalize"), model=model, tools=(tool,)).output
    assert (output["result"], output["stop_reason"], output["iterations"]) == ("So far.", "max_iterations", 3)
    assert (len(tool.calls), len(output["tool_calls"])) == (1, 1)
    last = model.requests[2]
    assert (last.tool_choice, last.tools) == ("none", model.requests[0].tools)
    assert [(result.call_id, result.is_error) for result in told(last)] == [("c2", True), ("c3", True)]
    assert isinstance(last.turns[-1], ToolTurn)
    assert "final answer" in last.turns[-1].text


def test_partial_gives_what_there_is(completed: Done) -> None:
    """The last thing the model said; no further call."""
    model = ScriptedModel(reply("I think it is blue.", call("search", {"q": "a"})), asks())
    output = completed(agent(max_iterations=2, on_limit="partial"), model=model, tools=(search(),)).output
    assert (output["result"], output["stop_reason"]) == ("I think it is blue.", "max_iterations")
    assert len(model.requests) == 2


def test_budget_is_checked_before_each_call(failed: Bad, completed: Done) -> None:
    """Spent tokens end the run as `on_limit` says."""
    spent = reply("", call("search", {"q": "a"}), tokens=(60, 40))
    outcome = failed(agent(budget={"total_tokens": 100}), model=ScriptedModel(spent), tools=(search(),))
    assert (outcome.code, outcome.usage) == ("budget_exceeded", Usage(60, 40))
    model = ScriptedModel(spent, reply("end"))
    output = completed(agent(budget={"total_tokens": 100}, on_limit="finalize"), model=model, tools=(search(),)).output
    assert (output["result"], output["stop_reason"]) == ("end", "budget_exceeded")
    model = ScriptedModel(spent, reply("end"))
    assert completed(agent(budget={"total_tokens": 101}), model=model, tools=(search(),)).output["result"] == "end"


# -- ways to stop -------------------------------------------------------------------------------------


def test_pause_continues(completed: Done) -> None:
    """The paused turn is handed back as it came; its text belongs to the answer."""
    model = ScriptedModel(reply("Half ", stop="pause_turn"), reply("whole"))
    output = completed(agent(), model=model, tools=(search(),)).output
    assert (output["result"], output["iterations"]) == ("Half whole", 2)
    assert model.requests[1].turns == (UserTurn("Do it"), reply("Half ").turn)


@pytest.mark.parametrize("stop", ["max_tokens", "context_window_exceeded"])
def test_cut_answer_says_so_and_its_half_calls_are_not_made(completed: Done, stop: StopReason) -> None:
    """The last call of a cut turn may lack half of its arguments."""
    tool = search()
    model = ScriptedModel(reply("Half", call("search", {"q": "a"}), stop=stop))
    output = completed(agent(), model=model, tools=(tool,)).output
    assert (output["result"], output["stop_reason"], tool.calls) == ("Half", stop, [])


def test_calls_are_made_whatever_the_stop_reason_is_called(completed: Done) -> None:
    """Some compatible endpoints say `stop` beside tool calls."""
    tool = search()
    model = ScriptedModel(reply("", call("search", {"q": "a"}), stop="end_turn"), reply("x"))
    completed(agent(), model=model, tools=(tool,))
    assert tool.calls == [{"q": "a"}]


def test_refusal_in_mid_run_is_rejected(failed: Bad) -> None:
    """With what it has cost until then."""
    outcome = failed(agent(), model=ScriptedModel(asks(), reply("no", stop="refusal")), tools=(search(),))
    assert (outcome.code, outcome.usage) == ("llm_rejected", Usage(20, 10))


@pytest.mark.parametrize("stop", ["end_turn", "tool_use", "max_tokens", "context_window_exceeded"])
def test_nothing_at_all_is_a_bad_response(failed: Bad, stop: StopReason) -> None:
    """No text, no tool, no work done."""
    assert failed(agent(), model=ScriptedModel(reply("", stop=stop)), tools=(search(),)).code == "llm_bad_response"


@pytest.mark.parametrize(("stop", "told"), [("end_turn", {}), ("max_tokens", {"stop_reason": "max_tokens"})])
def test_silence_after_the_work_is_an_answer(completed: Done, stop: StopReason, told: dict[str, str]) -> None:
    """The tools were called: failing now would have it all done again."""
    output = completed(agent(), model=ScriptedModel(asks(), reply("", stop=stop)), tools=(search(),)).output
    assert (output["result"], len(output["tool_calls"])) == ("", 1)
    assert output.items() >= told.items()


# -- output_schema ------------------------------------------------------------------------------------

FORM = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
FORMED = {"llm_config": {"output_schema": FORM}, "task": "t", "tools": ["search"]}


def test_agents_answer_is_parsed_and_repaired(completed: Done) -> None:
    """As an llm node's; its corrections count as iterations."""
    model = ScriptedModel(asks(), reply("n is 3"), reply('{"n": 3}'))
    output = completed(FORMED, model=model, tools=(search(),)).output
    assert (output["parsed"], output["result"], output["iterations"]) == ({"n": 3}, '{"n": 3}', 3)
    assert all(request.output_schema == FORM for request in model.requests)


def test_agents_answer_is_repaired_at_most_twice(failed: Bad) -> None:
    """Then it is a bad response."""
    model = ScriptedModel(*(reply("n") for _ in range(9)))
    assert failed(FORMED, model=model, tools=(search(),)).code == "llm_bad_response"
    assert len(model.requests) == 3


def test_finalized_answer_must_follow_the_schema_too(completed: Done, failed: Bad) -> None:
    """There is no call left to repair it with."""
    config = {**FORMED, "max_iterations": 1, "on_limit": "finalize"}
    output = completed(config, model=ScriptedModel(asks(), reply('{"n": 1}')), tools=(search(),)).output
    assert (output["parsed"], output["stop_reason"]) == ({"n": 1}, "max_iterations")
    assert failed(config, model=ScriptedModel(asks(), reply("n")), tools=(search(),)).code == "llm_bad_response"


def test_conversation_is_plain_data(completed: Done) -> None:
    """Everything a run has to remember can be written down."""
    model = ScriptedModel(asks(), reply("Done."))
    output = completed(agent(), model=model, tools=(search(),)).output
    for turn in model.requests[-1].turns:
        shown = {name: getattr(turn, name) for name in turn.__slots__}
        json.dumps(shown, default=lambda result: {name: getattr(result, name) for name in result.__slots__})
    json.dumps(output)
