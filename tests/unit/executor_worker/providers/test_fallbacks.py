"""Another model answers where the first one can't: which, when, and how that is told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from executor_worker.errors import (
    ConfigError,
    ModelBadResponse,
    ModelError,
    ModelNotFound,
    ModelRateLimited,
    ModelRefused,
    ModelRejected,
    ModelUnavailable,
    Parked,
)
from executor_worker.nodes.executor import Executor, Task
from executor_worker.outcome import Completed, Failed
from executor_worker.providers import Models, ModelSettings
from executor_worker.providers.base import Choice, ModelRequest, ModelTurn, UserTurn
from executor_worker.providers.fallbacks import choices
from executor_worker.providers.throttle import Wait
from executor_worker.run_context import RunContext
from tests.unit.executor_worker.nodes.doubles import Box, FunctionTool, SeenRunContext
from tests.unit.executor_worker.providers.dialects import KEY, Dialect, asked, run_context
from tests.unit.executor_worker.providers.fault_server import FaultServer, Handler, Reply, failure, page, reset, stream

ANTHROPIC, OPENAI = Dialect("anthropic"), Dialect("openai")


def says(dialect: Dialect, text: str = "here") -> Reply:
    return stream(dialect.begin(), dialect.text(text), dialect.end())


def by_model(**replies: Reply) -> Reply:
    """Reply as told for the model that is asked for; underscores in names stand for hyphens."""

    def reply(handler: Handler) -> None:
        replies[handler.server_state.requests[-1]["model"].replace("-", "_")](handler)

    return reply


@pytest.fixture
def other() -> Iterator[FaultServer]:
    """A second provider's server."""
    server = FaultServer()
    yield server
    server.close()


@pytest.fixture
def models(faulty: FaultServer, other: FaultServer) -> Iterator[Models]:
    """Anthropic at *faulty*, openai for fallbacks at *other*."""
    settings = ModelSettings(
        api_key=KEY, base_url=faulty.url, timeout_s=5, max_retries=0,
        keys={"openai": "sk-other"}, base_urls={"openai": other.url},
    )  # fmt: skip
    made = Models(settings)
    yield made
    made.close()


def request(*fallbacks: Choice, **fields: Any) -> ModelRequest:
    return replace(asked(), model="first", fallbacks=fallbacks, **fields)


def sent(server: FaultServer) -> list[str]:
    return [body["model"] for body in server.requests]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (failure(429, "rate_limit_error", retry_after="5000"), "llm_rate_limited"),
        (failure(529, "overloaded_error"), "llm_unavailable"),
        (failure(500), "llm_unavailable"),
        (failure(408, "timeout_error"), "llm_timeout"),
        (failure(404, "not_found_error", "model: first"), "llm_rejected"),
        (reset(), "llm_unavailable"),
    ],
)
def test_the_next_model_answers(models: Models, faulty: FaultServer, fault: Reply, reason: str) -> None:
    """Where the first is throttled for too long, away, slow or retired; the reply says so."""
    faulty.will(by_model(first=fault, second=says(ANTHROPIC)))
    reply = models.complete(request(Choice("second")), run_context(60))
    assert reply.text == "here" and sent(faulty) == ["first", "second"]
    assert reply.fallback is not None
    told = reply.fallback.as_json()
    assert (told["model"], told["provider"]) == ("second", "anthropic")
    assert (told["fallback"]["from"], told["fallback"]["reason"]) == ("anthropic/first", reason)
    assert "first" in told["fallback"]["error"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (failure(400, "invalid_request_error", "no"), ModelRejected),
        (failure(401, "authentication_error", "bad key"), ModelRefused),
        (page(200, "<html>", "text/html"), ModelBadResponse),
    ],
)
def test_what_another_model_would_not_mend_is_an_error(
    models: Models, faulty: FaultServer, fault: Reply, error: type[Exception]
) -> None:
    """A bad request, a wrong key, a server that is none: nothing else is called."""
    faulty.will(by_model(first=fault, second=says(ANTHROPIC)))
    with pytest.raises(error):
        models.complete(request(Choice("second")), run_context(60))
    assert sent(faulty) == ["first"]


def test_a_refusal_is_an_answer(models: Models, faulty: FaultServer) -> None:
    """The next model is not asked to do what this one would not."""
    from tests.unit.executor_worker.providers.dialects import event

    refused = event("message_delta", delta={"stop_reason": "refusal"}, usage={"output_tokens": 1})
    faulty.will(stream(ANTHROPIC.begin(), refused, event("message_stop")))
    assert models.complete(request(Choice("second")), run_context(60)).stop_reason == "refusal"
    assert sent(faulty) == ["first"]


def test_another_providers_model_answers_with_its_own_key(
    models: Models, faulty: FaultServer, other: FaultServer
) -> None:
    """Neither key goes to the other's server."""
    faulty.will(failure(529, "overloaded_error"))
    other.will(says(OPENAI))
    reply = models.complete(request(Choice("gpt", "openai")), run_context(60))
    assert reply.fallback is not None and reply.fallback.provider == "openai"
    assert reply.turn.by == "openai/gpt"
    assert "sk-other" in json.dumps(other.headers) and KEY not in json.dumps(other.headers)
    assert "sk-other" not in json.dumps(faulty.headers)


def test_a_missing_key_is_told_and_passed_over(faulty: FaultServer) -> None:
    """The model after it answers; where there is none the error names the variable."""
    faulty.will(by_model(first=failure(529, "overloaded_error"), second=says(ANTHROPIC)))
    models = Models(ModelSettings(api_key=KEY, base_url=faulty.url, max_retries=0))
    assert models.complete(request(Choice("gpt", "openai"), Choice("second")), run_context(60)).text == "here"
    with pytest.raises(ModelUnavailable, match=r"LLM_API_KEY_OPENAI: it is not set"):
        models.complete(request(Choice("gpt", "openai")), run_context(60))
    with pytest.raises(ConfigError, match="LLM_API_KEY_OPENAI"):
        models.provider("openai")
    models.close()


def test_when_all_fail_the_first_error_counts(models: Models, faulty: FaultServer, other: FaultServer) -> None:
    """Its code, and what came of the others; each model is counted once."""
    faulty.will(failure(429, "rate_limit_error", retry_after="5000"))
    other.will(failure(500))
    seen = SeenRunContext(60)
    with pytest.raises(ModelRateLimited, match=r"first.*; fallback openai/gpt: .*HTTP 500"):
        models.complete(request(Choice("gpt", "openai")), seen)
    assert seen.models == [("gpt", None)], "the first is the caller's to count"


def test_who_was_sent_away_is_not_asked_again_too_soon(models: Models, faulty: FaultServer) -> None:
    """For as long as the provider asked: the next call goes to the fallback at once."""
    faulty.will(by_model(first=failure(429, retry_after="5000"), second=says(ANTHROPIC)))
    for _ in range(2):
        reply = models.complete(request(Choice("second")), run_context(60))
    assert sent(faulty) == ["first", "second", "second"]
    assert reply.fallback is not None and reply.fallback.reason == "llm_rate_limited"


def test_a_conversation_stays_with_its_provider() -> None:
    """In mid-run only that provider's models are asked, first the one that answered last."""
    fallbacks = (Choice("second"), Choice("gpt", "openai"), Choice("o", "openai"))

    def order(*turns: ModelTurn) -> list[str]:
        conversation = (UserTurn("q"), *turns)
        return [str(one) for one in choices(request(*fallbacks, turns=conversation), "anthropic")]

    assert order() == ["anthropic/first", "anthropic/second", "openai/gpt", "openai/o"]
    assert order(ModelTurn([])) == ["anthropic/first", "anthropic/second"]
    assert order(ModelTurn([], "anthropic/second")) == ["anthropic/second", "anthropic/first"]
    assert order(ModelTurn([]), ModelTurn({}, "openai/o")) == ["openai/o", "openai/gpt"]
    assert order(ModelTurn({}, "ollama/gone")) == ["ollama/gone"]


# -- in a node ------------------------------------------------------------------------------------


def ran(models: Models, config: dict[str, Any], tools: tuple[FunctionTool, ...] = ()) -> Completed | Failed:
    executor = Executor(models=models, tools=Box(tools), default_model="first")
    return executor.execute(Task("g", "n", "", config, {}, {}), run_context(60))


def test_the_result_says_which_model_answered_and_why(models: Models, faulty: FaultServer) -> None:
    """In the output and beside it; nothing is said where the first one answered."""
    faulty.will(by_model(first=failure(404, "not_found_error", "gone"), second=says(ANTHROPIC)))
    outcome = ran(models, {"llm_config": {"prompt": "q", "fallbacks": ["second"]}})
    assert isinstance(outcome, Completed)
    assert outcome.output["content"] == "here" and outcome.output["model"] == "second"
    assert outcome.output["fallback"]["from"] == "anthropic/first"
    assert outcome.detail["fallback"]["reason"] == "llm_rejected"
    faulty.will(says(ANTHROPIC))
    plain = ran(models, {"llm_config": {"prompt": "q", "fallbacks": ["second"]}})
    assert isinstance(plain, Completed) and "model" not in plain.output and plain.detail == {}


def test_an_agent_goes_on_with_the_model_that_stepped_in(
    models: Models, faulty: FaultServer, other: FaultServer
) -> None:
    """Its conversation is that provider's: the first is not asked again, and the reason is kept."""
    faulty.will(failure(529, "overloaded_error"))
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    from tests.unit.executor_worker.providers.dialects import chunk, sse

    wants = stream(
        chunk({"role": "assistant", "content": None, "tool_calls": [call]}), chunk({}, "tool_calls"), sse("[DONE]")
    )
    other.will(wants, says(OPENAI, "done"))
    config = {
        "task": "q", "tools": ["look"],
        "llm_config": {"fallbacks": [{"provider": "gpt", "model": "g-1"}]},
    }  # fmt: skip
    outcome = ran(models, config, (FunctionTool("look"),))
    assert isinstance(outcome, Completed), outcome
    assert outcome.output["result"] == "done" and outcome.output["model"] == "g-1"
    assert outcome.output["fallback"]["reason"] == "llm_unavailable"
    assert (len(faulty.requests), sent(other)) == (1, ["g-1", "g-1"])


@pytest.mark.parametrize(
    ("fallbacks", "said"),
    [
        ("second", r"llm_config\.fallbacks must be a list of models"),
        ([7], r"llm_config\.fallbacks\[0\]\.model must be a text"),
        (["a", {}], r"llm_config\.fallbacks\[1\] must name a model"),
        ([{"provider": "acme", "model": "m"}], r"llm_config\.fallbacks\[0\]\.provider: 'acme' is no provider"),
    ],
)
def test_fallbacks_that_can_not_be_read(models: Models, fallbacks: object, said: str) -> None:
    """The place and what was found there are named."""
    outcome = ran(models, {"llm_config": {"prompt": "q", "fallbacks": fallbacks}})
    assert isinstance(outcome, Failed) and outcome.code == "invalid_node"
    import re

    assert re.search(said, outcome.error), outcome.error


def test_a_model_that_is_not_there_is_told_apart(dialect: Dialect, faulty: FaultServer) -> None:
    """By its status, or by the code some servers give with another."""
    provider = dialect.provider(faulty.url, max_retries=0)
    unknown = page(400, json.dumps({"error": {"message": "no", "code": "model_not_found"}}))
    faulty.will(failure(404, "not_found_error"), unknown)
    for _ in range(2):
        with pytest.raises(ModelNotFound):
            provider.complete(asked(), run_context())
    provider.close()


class Closed:
    """A throttle that others' refusals close before some calls of one model; the item is given back then."""

    def __init__(self, model: str, before: list[int]) -> None:
        self.model, self.before, self.calls = model, before, 0

    def admit(self, model: str, _: RunContext) -> Wait | None:
        if model != self.model:
            return None
        if self.calls in self.before:
            self.before.remove(self.calls)
            return Wait(60.0, "throttle")
        self.calls += 1
        return None

    def ended(self, model: str, run_context: RunContext, error: ModelError | None, *, answered: bool) -> None:
        """Nothing is counted."""

    def refused(self, *_: object) -> None:
        """No key is."""

    def key(self, model: str) -> str:
        return "throttle"


class GivenBack(RunContext):
    """A run in a pool: it does not wait for a throttle."""

    def may_park(self, seconds: float, throttle_key: str) -> None:
        raise Parked(throttle_key, self.spent + self.tries)


@pytest.mark.parametrize(
    ("closed", "before"),
    [("second", [0]), ("second", [0, 0, 1]), ("first", [0, 1]), ("first", [1, 1]), ("second", [1]), ("third", [0])],
)
def test_a_model_that_was_given_up_is_not_asked_again_after_a_park(
    faulty: FaultServer, closed: str, before: list[int]
) -> None:
    """Each is asked as often as it may, however often the item was given back meanwhile, and for whichever of them."""
    gate = Closed(closed, before)
    settings = ModelSettings(api_key=KEY, base_url=faulty.url, timeout_s=5, max_retries=1)
    models = Models(settings, lambda *_: gate)
    faulty.will(by_model(first=failure(500), second=failure(500), third=says(ANTHROPIC)))
    tries = 0
    for _ in range(10):
        seen = GivenBack(time.monotonic() + 1000)
        seen.tries = tries
        try:
            reply = models.complete(request(Choice("second"), Choice("third")), seen)
            break
        except Parked as given_back:
            tries = given_back.refused
    assert sent(faulty) == ["first"] * 2 + ["second"] * 2 + ["third"]
    assert reply.fallback is not None and reply.fallback.model == "third"
    assert (seen.tries, seen.spent) == (0, 0), "the next call begins anew"
    models.close()
