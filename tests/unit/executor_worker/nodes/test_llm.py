"""Llm nodes: one question, one answer, of the form that was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from executor_worker.errors import ModelRateLimited
from executor_worker.outcome import Completed, Failed, Usage
from executor_worker.providers.base import ModelTurn, StopReason, UserTurn
from tests.unit.executor_worker.nodes.doubles import ScriptedModel, SeenRunContext, reply

Done = Callable[..., Completed]
Bad = Callable[..., Failed]

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
ASK = {"llm_config": {"prompt": "How old?", "output_schema": SCHEMA}}


def test_prompt_and_system_are_rendered_and_sent(completed: Done) -> None:
    """What the config says about the model goes along; the answer and its cost are the output."""
    model = ScriptedModel(reply("Blue."))
    config = {
        "model": "m",
        "prompt": "Colour of {{thing}}?",
        "system": "For {{user}}",
        "temperature": 0,
        "max_tokens": 9,
    }
    run_context = SeenRunContext()
    outcome = completed(config, model=model, inputs={"thing": "sky", "user": {"id": 1}}, run_context=run_context)
    assert outcome.output == {"content": "Blue.", "usage": {"input_tokens": 10, "output_tokens": 5}}
    assert (outcome.mode, outcome.usage) == ("llm", Usage(10, 5))
    (request,) = model.requests
    assert request.turns == (UserTurn("Colour of sky?"),)
    assert (request.model, request.system, request.temperature, request.max_tokens) == ("m", 'For {"id":1}', 0, 9)
    assert (request.tools, request.output_schema) == ((), None)
    assert run_context.phases == [("llm", 1000.0, "node_timeout"), ("running", 1000.0, "node_timeout")]
    assert run_context.models == [("m", Usage(10, 5))]


def test_default_model_is_used_where_none_is_named(completed: Done) -> None:
    """LLM_MODEL, that is."""
    model = ScriptedModel(reply("x"))
    completed({"prompt": "p"}, model=model)
    assert model.requests[0].model == "model-1"


def test_no_model_at_all_is_an_invalid_node(failed: Bad) -> None:
    """Where neither the node nor LLM_MODEL names one, and the provider has no default: nobody is asked."""
    model = ScriptedModel()
    outcome = failed({"prompt": "p"}, model=model, default_model="")
    assert outcome.code == "invalid_node" and "LLM_MODEL is not set" in outcome.error and model.requests == []


@pytest.mark.parametrize("stop", ["max_tokens", "context_window_exceeded"])
def test_answer_that_was_cut_says_so(completed: Done, stop: StopReason) -> None:
    """`stop_reason` stands only where the model had not finished."""
    assert completed({"prompt": "p"}, model=ScriptedModel(reply("half", stop=stop))).output["stop_reason"] == stop


@pytest.mark.parametrize("stop", ["end_turn", "stop_sequence"])
def test_finished_answer_has_no_stop_reason(completed: Done, stop: StopReason) -> None:
    """It would tell nobody anything."""
    assert "stop_reason" not in completed({"prompt": "p"}, model=ScriptedModel(reply("all", stop=stop))).output


def test_refusal_is_rejected_with_its_cost(failed: Bad) -> None:
    """A refusal is no answer, and was paid."""
    outcome = failed({"prompt": "p"}, model=ScriptedModel(reply("I won't", stop="refusal")))
    assert (outcome.code, outcome.usage) == ("llm_rejected", Usage(10, 5))
    assert "I won't" in outcome.error


@pytest.mark.parametrize("stop", ["end_turn", "max_tokens", "context_window_exceeded", "tool_use"])
def test_empty_answer_is_a_bad_response(failed: Bad, stop: StopReason) -> None:
    """Nothing to go on with, whyever the model stopped."""
    outcome = failed({"prompt": "p"}, model=ScriptedModel(reply("", stop=stop)))
    assert (outcome.code, stop in outcome.error) == ("llm_bad_response", True)


def test_error_of_the_provider_keeps_its_code(failed: Bad) -> None:
    """The provider says why; the node repeats it."""
    outcome = failed({"prompt": "p"}, model=ScriptedModel(ModelRateLimited("m: 429", retry_after=9)))
    assert (outcome.code, outcome.error, outcome.mode) == ("llm_rate_limited", "m: 429", "llm")


def test_pause_goes_on_with_the_same_conversation(completed: Done) -> None:
    """The texts together are the answer, the costs its cost."""
    model = ScriptedModel(reply("Once ", stop="pause_turn"), reply("upon"))
    outcome = completed({"prompt": "p"}, model=model)
    assert outcome.output == {"content": "Once upon", "usage": {"input_tokens": 20, "output_tokens": 10}}
    assert model.requests[1].turns == (UserTurn("p"), reply("Once ").turn)


def test_endless_pauses_end(failed: Bad) -> None:
    """A model that only ever pauses is not asked for ever."""
    model = ScriptedModel(*(reply("", stop="pause_turn") for _ in range(50)))
    assert failed({"prompt": "p"}, model=model).code == "llm_bad_response"
    assert len(model.requests) == 10


@pytest.mark.parametrize("text", ['{"age": 7}', '```json\n{"age": 7}\n```', ' \n{"age":7.0} '])
def test_answer_that_follows_the_schema_is_parsed(completed: Done, text: str) -> None:
    """Also where the model put it into a code fence; the text stays as it came."""
    model = ScriptedModel(reply(text))
    output = completed(ASK, model=model).output
    assert (output["content"], output["parsed"]) == (text, {"age": 7})
    assert model.requests[0].output_schema == SCHEMA


@pytest.mark.parametrize(
    "before",
    [
        "<think>a name is wanted</think>\n",
        '<think>\nit says {"age": 1},\nso</think>\n\n',
        "<thinking>hm</thinking>",
        "<Thought>hm</Thought>\n",
        "<reasoning>hm</reasoning>\n",
        "<seed:think>hm</seed:think>",
        "it was opened in the template of the prompt\n</think>\n\n",
        "</think>\n",
        "<think></think>\n<think>again</think>",
        "[THINK]hm[/THINK]",
        "◁think▷hm◁/think▷",
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>",
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>",
    ],
)
@pytest.mark.parametrize("answer", ['{"age": 7}', '```json\n{"age": 7}\n```\n'])
def test_thoughts_before_the_answer_are_set_aside(completed: Done, before: str, answer: str) -> None:
    """They were not asked for, and neither is the answer again; the text stays as it came."""
    output = completed(ASK, model=ScriptedModel(reply(before + answer))).output
    assert (output["content"], output["parsed"]) == (before + answer, {"age": 7})


@pytest.mark.parametrize(
    "text", ["<think>only thoughts", "<think>a</think>", '<div>x</div>{"age": 7}', "<think>" * 9999]
)
def test_thoughts_without_an_answer_are_none(completed: Done, text: str) -> None:
    """The model is asked again; and what is no thought is not taken for one."""
    model = ScriptedModel(reply(text), reply('{"age": 7}'))
    assert completed(ASK, model=model).output["parsed"] == {"age": 7}
    assert len(model.requests) == 2


def test_thoughts_inside_the_answer_stay(completed: Done) -> None:
    """They are what was asked for."""
    config = {"prompt": "p", "output_schema": {"type": "string"}}
    text = '"<think>a</think>b"'
    assert completed(config, model=ScriptedModel(reply(text))).output["parsed"] == "<think>a</think>b"


BLANK = ["", " ", "\n\t\r\n", "\u00a0\u2003", "\ufeff \u200b"]


@pytest.mark.parametrize("blank", BLANK)
def test_prompt_that_renders_to_nothing_is_none(completed: Done, blank: str) -> None:
    """The inputs as JSON stand for it, as for a prompt that is left out; a system prompt is left out."""
    inputs = {"a": blank, "b": 1}
    configs = [
        {"prompt": "{{a}}", "system": "{{a}}"},
        {"prompt": " {{a}}\n", "system_prompt": "{{a}}{{a}}"},
        {"llm_config": {"prompt": blank, "system": blank}},
        {"llm_config": {}},
    ]
    for config in configs:
        model = ScriptedModel(reply("x"))
        completed(config, model=model, inputs=inputs)
        (request,) = model.requests
        assert request.system is None
        (turn,) = request.turns
        assert isinstance(turn, UserTurn)
        assert json.loads(turn.text) == inputs


def test_parsed_integers_are_exact(completed: Done) -> None:
    """Whatever their size."""
    assert completed(ASK, model=ScriptedModel(reply(f'{{"age": {2**90}}}'))).output["parsed"] == {"age": 2**90}


@pytest.mark.parametrize("bad", ["seven", '{"age": "7"}', "{}", '{"age": NaN}', "", "[" * 100_000, '{"age": 1} {}'])
def test_answer_is_repaired(completed: Done, bad: str) -> None:
    """The model hears what was wrong and answers again; all of it is paid."""
    model = ScriptedModel(reply(bad), reply('{"age": 7}'))
    output = completed(ASK, model=model).output
    assert output["parsed"] == {"age": 7}
    assert output["usage"] == {"input_tokens": 20, "output_tokens": 10}
    first, answer, repair = model.requests[1].turns
    assert first == UserTurn("How old?")
    assert isinstance(answer, ModelTurn)
    assert isinstance(repair, UserTurn)
    assert "can't be used" in repair.text
    assert '"age"' in repair.text


def test_answer_is_repaired_at_most_twice(failed: Bad) -> None:
    """Then it is a bad response, with the last problem."""
    model = ScriptedModel(*(reply('{"age": "old"}') for _ in range(5)))
    outcome = failed(ASK, model=model)
    assert (outcome.code, len(model.requests), outcome.usage) == ("llm_bad_response", 3, Usage(30, 15))
    assert "age: 'old' is not of type 'integer'" in outcome.error


def test_answer_cut_at_max_tokens_is_not_asked_for_again(failed: Bad) -> None:
    """It would be cut at the same place."""
    model = ScriptedModel(reply('{"age": ', stop="max_tokens"))
    outcome = failed(ASK, model=model)
    assert (outcome.code, len(model.requests)) == ("llm_bad_response", 1)
    assert "max_tokens" in outcome.error


def test_schema_that_is_none_costs_no_call(failed: Bad) -> None:
    """The author's mistake is found before a model is asked."""
    model = ScriptedModel()
    outcome = failed({"llm_config": {"prompt": "p", "output_schema": {"type": "strnig"}}}, model=model)
    assert (outcome.code, model.requests) == ("invalid_node", [])
    assert outcome.error.startswith("llm_config.output_schema")


def test_half_characters_do_not_reach_the_provider(completed: Done) -> None:
    """A lone surrogate can be in a state; no request could carry it."""
    model = ScriptedModel(reply("x"))
    completed({"prompt": "{{a}}", "system": "{{a}}"}, model=model, inputs={"a": "\ud83d"})
    assert (model.requests[0].turns, model.requests[0].system) == ((UserTurn("?"),), "?")
