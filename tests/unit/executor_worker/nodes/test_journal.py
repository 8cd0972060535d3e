"""Runs that are interrupted at every point there is, and go on where they stopped."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from executor_worker.errors import Interrupt, NodeError, NodeTimeout, Parked, ToolUnavailable
from executor_worker.nodes.journal import Record, ended, report
from executor_worker.outcome import Completed, Failed, Outcome, Usage
from executor_worker.providers.base import ModelReply, ModelRequest, ToolTurn, UserTurn
from executor_worker.run_context import Circuit, RunContext
from executor_worker.tools.base import Answer, Effects, OnProgress
from tests.unit.executor_worker.nodes.conftest import execute
from tests.unit.executor_worker.nodes.doubles import FunctionTool, ScriptedModel, SeenRunContext, call, reply


class Killed(Interrupt):
    """The worker dies here; nobody makes anything of it."""


@dataclass
class Life:
    """How many things may still happen in a run before it is killed."""

    left: int = 10**9

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


@dataclass
class Kept:
    """A journal as it is stored, as JSON; writing it may be the last thing a run does."""

    life: Life = field(default_factory=Life)
    stored: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    content: bool = False
    start_told: bool = False

    def read(self) -> list[Record]:
        return [json.loads(text) for text in self.stored]

    def append(self, records: Sequence[Record], *, anew: bool = False) -> None:
        self.life.spend()
        self.stored = [*([] if anew else self.stored), *(json.dumps(record) for record in records)]
        self.life.spend()

    def tell(self, record: Record) -> None:
        self.told.append(record["step"])

    def steps(self) -> list[str]:
        return [record["step"] for record in self.read()]


class Model(ScriptedModel):
    """Answers by how far the conversation has got; dies before or after it has answered."""

    def __init__(self, life: Life, *answers: ModelReply) -> None:
        super().__init__()
        self._life = life
        self._said = answers

    def complete(self, request: ModelRequest, run_context: Any) -> ModelReply:
        self._life.spend()
        self.requests.append(request)
        answer = self._said[sum(not isinstance(turn, UserTurn | ToolTurn) for turn in request.turns)]
        self._life.spend()
        return answer


def tool(name: str, life: Life, effects: Effects | None, done: Counter[str]) -> FunctionTool:
    """A tool that may be the death of its run, before or after it has taken effect."""

    def body(**_: Any) -> Any:
        life.spend()
        done[name] += 1
        life.spend()
        return "done"

    return FunctionTool(name, body, effects=effects)


AGENT = {"llm_config": {"prompt": "Do {{it}}"}, "tools": ["look", "mail", "count"]}
ANSWERS = (
    reply("First.", call("look", {"q": 1}, "1"), call("mail", {"to": "ada"}, "2")),
    reply("Then.", call("count", {"n": 2**70}, "3")),
    reply("Done."),
)


def lives(
    config: dict[str, Any], answers: Sequence[ModelReply], effects: dict[str, Effects | None]
) -> Iterator[tuple[Outcome, Model, Counter[str]]]:
    """Kill a run at one point after the other, and let the next one come to its end; yields what came of each."""
    for point in count():
        life, done = Life(point), Counter[str]()
        kept = Kept(life)
        tools = tuple(tool(name, life, kind, done) for name, kind in effects.items())
        model = Model(life, *answers)
        try:
            execute(config, model=model, tools=tools, inputs={"it": "this"}, journal=kept)
            return  # it has come to its end: there is no further point
        except Killed:
            life.left = 10**9
        yield execute(config, model=model, tools=tools, inputs={"it": "that now"}, journal=kept), model, done


def test_agent_resumes_wherever_it_was_killed() -> None:
    """No answer that was heard is paid again, and what must not happen twice does not."""
    points = 0
    for outcome, model, done in lives(AGENT, ANSWERS, {"look": "none", "mail": "unsafe", "count": None}):
        points += 1
        assert isinstance(outcome, Completed)
        assert outcome.output["result"] == "Done." and outcome.output["iterations"] == 3
        assert outcome.output["usage"] == {"input_tokens": 30, "output_tokens": 15}
        assert len(model.requests) <= 4, "only the call in flight is made again"
        assert done["mail"] <= 1 and done["count"] <= 1 and done["look"] <= 2
        assert {made["name"] for made in outcome.output["tool_calls"]} == {"look", "mail", "count"}
        texts = [turn.text for request in model.requests for turn in request.turns[:1] if isinstance(turn, UserTurn)]
        assert set(texts[-1:]) <= {"Do this", "Do that now"}
        assert len(set(texts[1:])) <= 1, "a conversation keeps the opening it began with"
    assert points > 20


def test_what_was_sent_and_never_answered_is_told_as_unknown() -> None:
    """The model learns that nobody knows, and the call is not made again."""
    life = Life()
    kept = Kept(life)
    mail = FunctionTool("mail", effects="unsafe")
    mail.call = _dies  # type: ignore[method-assign, assignment]
    model = Model(life, *ANSWERS)
    others = (FunctionTool("look", effects="none"), FunctionTool("count"))
    with pytest.raises(Killed):
        execute(AGENT, model=model, tools=(mail, *others), inputs={"it": "this"}, journal=kept)
    assert kept.steps() == ["began", "replied", "sent", "answered", "sent"]
    outcome = execute(AGENT, model=model, tools=(mail, *others), inputs={"it": "this"}, journal=kept)
    assert isinstance(outcome, Completed)
    results = model.requests[1].turns[2]
    assert isinstance(results, ToolTurn)
    assert results.results[1].is_error and "outcome of this call is unknown" in results.results[1].text
    assert [made["ok"] for made in outcome.output["tool_calls"]] == [True, False, True]
    assert "tool_uncertain" in kept.stored[5], "and it stays unknown in any further run"


@pytest.mark.parametrize("effects", [None, "unsafe", "idempotent"])
def test_call_that_could_not_be_sent_and_waited_is_made_later(effects: Effects | None) -> None:
    """Its tool was held back: it was not sent, so its outcome is not unknown; no model is asked again."""
    life, done, kept = Life(), Counter[str](), Kept()

    class HeldBack(RunContext):
        away = 2  # in two runs

        def tool_unanswered(self, circuits: Sequence[Circuit], error: NodeError) -> None:
            HeldBack.away -= 1
            raise Parked("dago:breaker:tool:p:mail")

    def body(**_: Any) -> Any:
        if HeldBack.away:
            raise ToolUnavailable("its server is away")
        done["mail"] += 1
        return "done"

    model = Model(life, reply("First.", call("mail", {"to": "ada"}, "1")), reply("Done."))
    config = {"llm_config": {"prompt": "Do it"}, "tools": ["mail"]}
    for _ in range(2):
        with pytest.raises(Parked):
            execute(
                config, model=model, tools=(FunctionTool("mail", body, effects=effects),), journal=kept,
                run_context=HeldBack(time.monotonic() + 60),
            )  # fmt: skip
    outcome = execute(config, model=model, tools=(FunctionTool("mail", body, effects=effects),), journal=kept)
    assert isinstance(outcome, Completed) and outcome.output["tool_calls"][0]["ok"]
    assert done["mail"] == 1 and len(model.requests) == 2
    assert kept.steps() == [
        "began", "replied", "sent", "unsent", "sent", "unsent", "sent", "answered", "replied",
    ]  # fmt: skip
    usage, detail = report(kept.read()[:4])
    assert usage is not None and detail["tool_calls"] == []


def test_on_uncertain_fail_stops_for_a_person() -> None:
    """The node ends with `tool_uncertain`, with what was done by then."""
    life = Life()
    kept = Kept(life)
    mail = FunctionTool("mail", effects="unsafe")
    mail.call = _dies  # type: ignore[method-assign, assignment]
    config = {**AGENT, "on_uncertain": "fail"}
    others = (FunctionTool("look", effects="none"), FunctionTool("count"))
    with pytest.raises(Killed):
        execute(config, model=Model(life, *ANSWERS), tools=(mail, *others), inputs={"it": 1}, journal=kept)
    outcome = execute(config, model=Model(life, *ANSWERS), tools=(mail, *others), inputs={"it": 1}, journal=kept)
    assert isinstance(outcome, Failed) and outcome.code == "tool_uncertain"
    assert [made["name"] for made in outcome.detail["tool_calls"]] == ["look", "mail"]


def _dies(*_: Any) -> Answer:
    raise Killed


@pytest.mark.parametrize(("effects", "again"), [("unsafe", False), ("none", True), ("idempotent", True), (None, True)])
def test_tool_node_whose_worker_died_in_mid_call(effects: Effects | None, again: bool) -> None:
    """Only an unsafe tool's call is not made again; the node then says that nobody knows."""
    kept = Kept()
    mail = FunctionTool("mail", effects=effects)
    honest = mail.call
    mail.call = _dies  # type: ignore[method-assign, assignment]
    with pytest.raises(Killed):
        execute({"tool_name": "mail"}, tools=(mail,), journal=kept)
    mail.call = honest  # type: ignore[method-assign]
    outcome = execute({"tool_name": "mail"}, tools=(mail,), journal=kept)
    assert len(mail.calls) == again
    assert isinstance(outcome, Completed) if again else isinstance(outcome, Failed) and outcome.code == "tool_uncertain"
    assert kept.stored == [] if again else kept.steps() == ["began", "sent", "answered"]


EXTRACT = {"tool_name": "mail", "extract_params": {"from": "Mail {{it}}", "llm_config": {}}}


def test_extracted_parameters_are_paid_once() -> None:
    """A model's answer that fills a tool's parameters outlives the worker that asked for it."""
    answers = (reply("", call("mail", {"to": "ada"})),)
    for outcome, model, done in lives(EXTRACT, answers, {"mail": "unsafe"}):
        assert isinstance(outcome, Completed | Failed)
        assert len(model.requests) <= 2 and done["mail"] <= 1
        if isinstance(outcome, Failed):
            assert outcome.code == "tool_uncertain"
        else:
            assert outcome.output == "done" and outcome.usage is not None


def test_repairs_of_an_llm_node_are_paid_once() -> None:
    """Each turn towards the schema is kept."""
    config = {"llm_config": {"prompt": "x", "output_schema": {"type": "object", "required": ["a"]}}}
    answers = (reply("{}"), reply('{"b":1}'), reply('{"a":1}'))
    for outcome, model, _ in lives(config, answers, {}):
        assert isinstance(outcome, Completed) and outcome.output["parsed"] == {"a": 1}
        assert outcome.output["usage"]["input_tokens"] == 30 and len(model.requests) <= 4


@pytest.mark.parametrize("why", ["settled", "changed", "spoilt"])
def test_journal_of_another_run_is_not_gone_on_from(why: str) -> None:
    """A run that was settled, or whose config was changed on purpose, begins anew."""
    kept = Kept()
    config = {"llm_config": {"prompt": "x"}}
    execute(config, model=ScriptedModel(reply("first")), journal=kept)
    match why:
        case "settled":
            kept.stored.append(json.dumps(ended()))
        case "changed":
            config = {"llm_config": {"prompt": "y"}}
        case "spoilt":
            kept.stored = [json.dumps({"step": "unreadable"})]
    outcome = execute(config, model=ScriptedModel(reply("second")), journal=kept)
    assert isinstance(outcome, Completed) and outcome.output["content"] == "second"
    assert kept.steps() == ["began", "replied"] and "second" in kept.stored[1]


def test_call_that_was_answered_needs_its_tool_no_more() -> None:
    """What `*` stood for may be another set now: what was done stays done."""
    kept = Kept()
    config = {**AGENT, "tools": "*"}
    look = FunctionTool("look", lambda **_: "seen")
    mail = FunctionTool("mail", effects="unsafe")
    mail.call = _dies  # type: ignore[method-assign, assignment]
    with pytest.raises(Killed):
        execute(config, model=Model(Life(), *ANSWERS), tools=(look, mail), inputs={"it": 1}, journal=kept)
    model = Model(Life(), *ANSWERS)
    outcome: Outcome = execute(config, model=model, tools=(), inputs={"it": 1}, journal=kept)
    assert isinstance(outcome, Completed)
    told = model.requests[0].turns[2]
    assert isinstance(told, ToolTurn)
    assert told.results[0].text == "seen" and "unknown" in told.results[1].text


def test_idempotency_key_stays_the_same() -> None:
    """A call that is made again carries the key it had, also where the item has another name by now."""
    kept = Kept()
    tool_ = FunctionTool("look", effects="idempotent")
    keys: list[str] = []
    fine = tool_.call

    def call_once(arguments: dict[str, Any], run_context: Any, key: str, on_progress: OnProgress) -> Answer:
        keys.append(key)
        if len(keys) == 1:
            raise Killed
        return fine(arguments, run_context, key)

    tool_.call = call_once  # type: ignore[assignment, method-assign]
    config = {"llm_config": {"prompt": "x"}, "tools": ["look"]}
    answers = (reply("", call("look", {}, "1")), reply("ok"))
    with pytest.raises(Killed):
        execute(config, model=Model(Life(), *answers), tools=(tool_,), journal=kept)
    stored = json.loads(kept.stored[0])
    stored["key"] = "its-former-name"
    kept.stored[0] = json.dumps(stored)
    execute(config, model=Model(Life(), *answers), tools=(tool_,), journal=kept)
    assert keys == ["run-1:1.0", "its-former-name:1.0"]


def test_what_a_tool_says_of_itself_is_told(completed: Callable[..., Completed]) -> None:
    """Not each word of it: the first, the last, and some between."""
    kept = Kept()
    run_context = RunContext(time.monotonic() + 60)
    tool_ = FunctionTool("look")

    def call_(arguments: dict[str, Any], run_context: RunContext, key: str, on_progress: OnProgress) -> Answer:
        for done in range(1001):
            on_progress(done, 1000)
        return Answer(1, "1")

    tool_.call = call_  # type: ignore[assignment, method-assign]
    completed({"tool_name": "look"}, tools=(tool_,), journal=kept, run_context=run_context)
    assert 2 <= kept.told.count("progressed") < 100


def test_progress_is_told_where_nothing_is_kept(completed: Callable[..., Completed]) -> None:
    """A tool node's one call shows, though nothing of it is written down."""
    kept, whole = Kept(), Kept(content=True)
    seen, shown = SeenRunContext(), SeenRunContext()
    for journal, run_context in ((kept, seen), (whole, shown)):
        completed({"tool_name": "look"}, tools=(FunctionTool("look"),), journal=journal, run_context=run_context)
    assert kept.told == ["started"] and seen.untold == ("0.0", "look", True, 0.0) and kept.stored == []
    assert whole.told == ["started", "sent", "answered"] and shown.untold is None and whole.stored == []


@pytest.mark.parametrize(("effects", "rides"), [("idempotent", True), ("unsafe", False)])
def test_a_call_is_shown_once(effects: Effects, rides: bool, completed: Callable[..., Completed]) -> None:
    """What is written down is shown with that; and a call that has failed is shown as such."""
    kept, seen, config = Kept(), SeenRunContext(), {"tool_name": "look"}
    completed(config, tools=(FunctionTool("look", effects=effects),), journal=kept, run_context=seen)
    assert (seen.untold is not None) == rides

    def fail() -> None:
        raise ToolUnavailable("it is away")

    kept, seen = Kept(), SeenRunContext()
    execute(config, tools=(FunctionTool("look", fail),), journal=kept, run_context=seen)
    assert (kept.told, seen.untold) == (["started", "answered"], None)


class StoppedLate(RunContext):
    """A watch that ends the run at its first look after the model has answered."""

    def __init__(self) -> None:
        super().__init__(time.monotonic() + 60)
        self.answered = False

    def check(self) -> None:
        if self.answered:
            raise NodeTimeout("the node's time is up")

    def model_called(self, model: str, seconds: float, usage: Usage | None) -> None:
        self.answered = True


def test_call_that_a_stopped_run_did_not_make_is_not_called_uncertain() -> None:
    """Whoever goes on makes it: it was not written down as sent before it could be."""
    kept, done = Kept(), Counter[str]()
    mail = tool("mail", Life(), "unsafe", done)
    config = AGENT | {"tools": ["mail"]}
    answers = (reply("First.", call("mail", {"to": "ada"}, "1")), reply("Done."))

    def run(run_context: RunContext | None = None) -> Outcome:
        model = Model(Life(), *answers)
        return execute(config, model=model, tools=(mail,), inputs={"it": "x"}, journal=kept, run_context=run_context)

    stopped = run(StoppedLate())
    assert isinstance(stopped, Failed) and "sent" not in kept.steps()
    kept.stored = [text for text in kept.stored if json.loads(text)["step"] != "ended"]
    assert isinstance(run(), Completed) and done["mail"] == 1
