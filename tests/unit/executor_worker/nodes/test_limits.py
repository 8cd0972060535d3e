"""An agent's limits: money, time, going round in a circle; and what is left when one is reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from executor_worker.errors import Cancelled, NodeTimeout
from executor_worker.nodes.agent.limits import kept_back_s
from executor_worker.nodes.agent.repetition import ENDED_AT, TOLD_AT, Repetition
from executor_worker.outcome import Completed, Failed, Outcome, Usage
from executor_worker.providers.base import ModelReply, ModelRequest, ToolResult, ToolTurn, UserTurn
from executor_worker.providers.prices import Price, Prices
from tests.unit.executor_worker.nodes.conftest import execute
from tests.unit.executor_worker.nodes.doubles import FunctionTool, ScriptedModel, SeenRunContext, call, reply
from tests.unit.executor_worker.nodes.test_journal import Kept

Done = Callable[..., Completed]
Bad = Callable[..., Failed]

# A dollar for each token of the prompt, two for each of the answer.
PRICES = Prices({"model-1": Price(1e6, 2e6, 1e5, 1.25e6)})


def agent(*tools: str, **more: Any) -> dict[str, Any]:
    return {"llm_config": {}, "task": "Do it", "tools": list(tools or ("search",)), **more}


def search(body: Callable[..., Any] = lambda **_: "found") -> FunctionTool:
    return FunctionTool("search", body)


def asks(**arguments: Any) -> ModelReply:
    return reply("", call("search", arguments))


def last_turn(request: ModelRequest) -> ToolTurn:
    turn = request.turns[-1]
    assert isinstance(turn, ToolTurn)
    return turn


# -- money --------------------------------------------------------------------------------------------


def test_money_is_counted_and_limited(failed: Bad, completed: Done) -> None:
    """Each reply costs 10 + 5 * 2 = 20 dollars; the third would be beyond 40."""
    model = ScriptedModel(*(asks(n=n) for n in range(9)))
    outcome = failed(agent(budget={"usd": 40}), model=model, tools=(search(),), prices=PRICES)
    assert outcome.code == "budget_exceeded"
    assert "40" in outcome.error
    assert outcome.usage is not None
    assert outcome.usage.as_json() == {"input_tokens": 20, "output_tokens": 10, "cost_usd": 40.0}
    assert (len(model.requests), outcome.detail["iterations"]) == (2, 2)
    assert outcome.detail["tool_calls"] == [{"name": "search", "ok": True, "duration_ms": 0}]
    model = ScriptedModel(asks(), reply("end"))
    output = completed(agent(budget={"usd": 40.5}), model=model, tools=(search(),), prices=PRICES).output
    assert (output["result"], output["usage"]["cost_usd"]) == ("end", 40.0)


def test_budget_in_money_without_a_price_is_refused_before_anything_is_called(failed: Bad) -> None:
    """It could not be kept; the model's name is told."""
    model = ScriptedModel()
    for config in (agent(budget={"usd": 1}), {**agent(budget={"usd": 1}), "llm_config": {"model": "other"}}):
        outcome = failed(
            config, model=model, tools=(search(),), prices=Prices() if config["llm_config"] == {} else PRICES
        )
        assert (outcome.code, model.requests) == ("invalid_node", [])
        assert "LLM_PRICES" in outcome.error
    assert "'other'" in outcome.error


@pytest.mark.parametrize("budget", [{"usd": 0}, {"usd": -1}, {"usd": "1"}, {"usd": True}])
def test_a_budget_that_is_no_sum_is_invalid(failed: Bad, budget: Any) -> None:
    """The field is named."""
    outcome = failed(agent(budget=budget), tools=(search(),), prices=PRICES)
    assert (outcome.code, outcome.error.partition(" ")[0]) == ("invalid_node", "budget.usd")


def test_cached_tokens_count_at_their_own_price_and_as_tokens(failed: Bad) -> None:
    """`total_tokens` is all that went through the model."""
    cached = ModelReply("", asks().turn, "tool_use", Usage(1, 1, 100, 10), "model-1-20260101", asks().tool_calls)
    config = agent(budget={"total_tokens": 112})
    outcome = failed(config, model=ScriptedModel(cached), tools=(search(),), prices=PRICES)
    assert outcome.code == "budget_exceeded"
    assert outcome.usage is not None
    assert outcome.usage.cost_usd == pytest.approx(1 + 2 + 10 + 12.5)


def test_an_llm_node_tells_its_cost_too(completed: Done) -> None:
    """Where there is a price; a model of another name costs what was asked for."""
    named = ModelReply("hi", reply("hi").turn, "end_turn", Usage(10, 5), "provider/model-one")
    assert completed({"prompt": "p"}, model=ScriptedModel(named), prices=PRICES).output["usage"]["cost_usd"] == 20
    assert "cost_usd" not in completed({"prompt": "p"}, model=ScriptedModel(reply("hi"))).output["usage"]


# -- time ---------------------------------------------------------------------------------------------


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Timed(SeenRunContext):
    """A watch of 100 s."""

    def __init__(self) -> None:
        self.time = Clock()
        super().__init__(100.0, self.time)

    def passing(self, seconds: float, then: Callable[[], Any]) -> Callable[..., Any]:
        """Let time pass in a call, which ends as tools do when their time is up."""

        def body(*_: Any, **__: Any) -> Any:
            self.time.now += seconds
            if self.left() <= 0:
                raise NodeTimeout("the node's time is up")
            return then()

        return body


def run_out_in_a_tool(on_limit: str) -> tuple[Outcome, ScriptedModel]:
    """Two calls of 30 s fit into 100 s; the third of 90 s does not, the fourth is never made."""
    run_context = Timed()
    quick, slow = run_context.passing(30, lambda: "done"), run_context.passing(90, lambda: "late")
    tool = search(lambda q: (slow if q == 2 else quick)())
    four = reply("Working.", *(call("search", {"q": q}, str(q)) for q in range(4)))
    model = ScriptedModel(four)
    return execute(agent(on_limit=on_limit), model=model, tools=(tool,), run_context=run_context), model


def test_time_is_up_and_the_node_fails() -> None:
    """With what it has cost and done."""
    outcome, _ = run_out_in_a_tool("fail")
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.usage) == ("node_timeout", Usage(10, 5))
    assert [made["ok"] for made in outcome.detail["tool_calls"]] == [True, True, False]


def test_time_is_up_and_there_is_a_partial_answer() -> None:
    """What the model had said; nothing more is called."""
    outcome, model = run_out_in_a_tool("partial")
    assert isinstance(outcome, Completed)
    assert (outcome.output["result"], outcome.output["stop_reason"]) == ("Working.", "node_timeout")
    assert (len(model.requests), len(outcome.output["tool_calls"])) == (1, 3)


def test_time_is_up_and_a_last_answer_is_asked_for() -> None:
    """What was done is told, what was cut off and what was not run too: each call has its answer."""
    run_context = Timed()
    late = run_context.passing(90, lambda: "late")
    tool = search(lambda q: late() if q == 1 else "done")
    three = reply("", *(call("search", {"q": q}, str(q)) for q in range(3)))
    outcome = execute(
        agent(on_limit="finalize"),
        model=(model := ScriptedModel(three, reply("End."))),
        tools=(tool,),
        run_context=run_context,
    )
    assert isinstance(outcome, Completed)
    assert (outcome.output["result"], outcome.output["stop_reason"]) == ("End.", "node_timeout")
    turn = last_turn(model.requests[1])
    assert turn.results[0] == ToolResult("0", "done")
    assert [result.call_id for result in turn.results] == ["0", "1", "2"]
    assert "outcome is unknown" in turn.results[1].text and turn.results[2].text.startswith("Not run")
    assert "final answer" in turn.text
    assert model.requests[1].tool_choice == "none"
    phase, seconds, _ = run_context.phases[-2]
    assert (phase, seconds) == ("llm", 10.0)  # so much is left of the 20 s kept back


def test_a_run_interrupted_after_its_last_answer_comes_to_the_same() -> None:
    """What was not run when time was up is not run after the answer: the next run has time again, and needs none."""
    run_context, kept = Timed(), Kept()
    late = run_context.passing(90, lambda: "late")
    tool = search(lambda q: late() if q == 1 else "done")
    three = reply("", *(call("search", {"q": q}, str(q)) for q in range(3)))
    config = agent(on_limit="finalize")
    first = execute(
        config, model=ScriptedModel(three, reply("End.")), tools=(tool,), run_context=run_context, journal=kept
    )
    again = execute(config, model=(model := ScriptedModel()), tools=(tool,), journal=kept)
    assert isinstance(first, Completed) and isinstance(again, Completed)
    for name in ("result", "stop_reason", "iterations", "usage"):
        assert again.output[name] == first.output[name]
    assert (model.requests, [arguments["q"] for arguments in tool.calls]) == ([], [0, 1])


def test_time_is_up_in_the_model_call() -> None:
    """The last answer is asked for in the same conversation."""
    run_context = Timed()
    slow = run_context.passing(85, lambda: reply("never"))
    model = ScriptedModel(slow, reply("Short."))
    outcome = execute(agent(on_limit="finalize"), model=model, tools=(search(),), run_context=run_context)
    assert isinstance(outcome, Completed)
    assert (outcome.output["result"], outcome.output["iterations"]) == ("Short.", 1)
    task, asked = model.requests[1].turns
    assert task == UserTurn("Do it")
    assert isinstance(asked, UserTurn) and asked.text.startswith("The limit is reached: the node's time is up.")


def test_no_time_is_left_for_the_last_answer() -> None:
    """Then it is a timeout after all, with what was done."""
    run_context = Timed()
    model = ScriptedModel(reply("", call("search", {})), run_context.passing(200, lambda: reply("never")))
    outcome = execute(agent(on_limit="finalize"), model=model, tools=(search(),), run_context=run_context)
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.detail["iterations"]) == ("node_timeout", 1)


def test_cancellation_is_no_limit(failed: Bad) -> None:
    """Nobody wants an answer any more."""

    def cancelled(**_: Any) -> Any:
        raise Cancelled("the graph was cancelled")

    for on_limit in ("finalize", "partial"):
        outcome = failed(agent(on_limit=on_limit), model=ScriptedModel(asks()), tools=(search(cancelled),))
        assert outcome.code == "cancelled"


def test_time_kept_back() -> None:
    """Enough for a model call, never most of what there is."""
    assert [kept_back_s("finalize", left) for left in (900, 100, 5)] == [60, 20, 1]
    assert [kept_back_s("partial", left) for left in (900, 10)] == [1, 0.5]
    assert kept_back_s("fail", 900) == 0


# -- going round in a circle --------------------------------------------------------------------------


def test_the_model_is_told_of_its_loop_and_may_leave_it(completed: Done) -> None:
    """From the third time on, beside the result."""
    model = ScriptedModel(asks(), asks(), asks(), reply("Something else."))
    output = completed(agent(), model=model, tools=(search(),)).output
    assert (output["result"], "stop_reason" in output) == ("Something else.", False)
    texts = [last_turn(request).text for request in model.requests[1:]]
    assert texts[:2] == ["", ""]
    assert texts[2].startswith("You have now made the same call 3 times in a row")


@pytest.mark.parametrize(("on_limit", "calls"), [("fail", ENDED_AT), ("finalize", ENDED_AT + 1), ("partial", ENDED_AT)])
def test_an_endless_loop_is_ended_as_the_node_asks(on_limit: str, calls: int) -> None:
    """Long before the limit on model calls; the sentence names it a loop."""
    model = ScriptedModel(*(asks() for _ in range(ENDED_AT)), reply("Well."))
    tool = search()
    outcome = execute(agent(on_limit=on_limit, max_iterations=99), model=model, tools=(tool,))
    assert (len(model.requests), len(tool.calls)) == (calls, ENDED_AT)
    if isinstance(outcome, Failed):
        assert (on_limit, outcome.code, outcome.detail["iterations"]) == ("fail", "max_iterations", ENDED_AT)
        assert "a loop: the model made the same call with the same result 10 times in a row" in outcome.error
    else:
        assert outcome.output["stop_reason"] == "max_iterations"
        assert outcome.output["result"] == ("Well." if on_limit == "finalize" else "")


def test_a_call_that_can_not_be_made_loops_as_well(failed: Bad) -> None:
    """An unknown tool, asked for again and again."""
    model = ScriptedModel(*(reply("", call("nope", {})) for _ in range(99)))
    outcome = failed(agent(max_iterations=99), model=model, tools=(search(),))
    assert (outcome.code, len(model.requests)) == ("max_iterations", ENDED_AT)


def results(*texts: str) -> list[ToolResult]:
    return [ToolResult(str(place), text) for place, text in enumerate(texts)]


def test_what_is_a_repetition() -> None:
    """The same calls with the same results, in any order; one that brings something new begins anew."""
    repetition = Repetition()
    a, b = call("f", {"x": 1, "y": 2}), call("g", {})
    for calls, texts, count in (
        ([a], ["1"], 1),
        ([call("f", {"y": 2, "x": 1}, "other id")], ["1"], 2),
        ([a, a], ["1", "1"], 3),
        ([a], ["2"], 1),
        ([a, b], ["2", "3"], 1),
        ([b, a], ["3", "2"], 2),
        ([b], ["3"], 1),
        ([call("g", problem="no JSON")], ["3"], 1),
    ):
        repetition.note(calls, results(*texts))
        assert repetition.count == count, (calls, texts)
        assert (repetition.advice != "") is (count >= TOLD_AT)
        assert repetition.limit is None


def test_arguments_nested_to_the_limit_of_a_parser_break_nothing() -> None:
    """They are taken for different."""
    deep: dict[str, Any] = {}
    other: dict[str, Any] = {}
    for _ in range(50_000):
        deep, other = {"x": deep}, {"x": other}
    repetition = Repetition()
    for arguments in (deep, other):
        repetition.note([call("f", arguments)], results("1"))
    assert repetition.count == 1
