"""
Scenario 34: whatever a model does, the node ends in time, with an answer or the right error.

The whole program against a model server with faults. All cases of a dialect run at once on one pool: each has a
model's name of its own, by which the server knows what to do to it and what it was asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.contract.wire import Json, Wire
from tests.unit.executor_worker.providers.dialects import KEY, Dialect
from tests.unit.executor_worker.providers.fault_server import (
    FaultServer,
    Handler,
    Reply,
    by_model,
    cut,
    failure,
    hang,
    mute,
    page,
    reset,
    stream,
)

# One place for all: they share what takes long to start.
pytestmark = [pytest.mark.xdist_group("model-faults"), pytest.mark.timeout(300)]

LLM_TIMEOUT_S = 3.0  # a test process that has no core for so long answers late, which is no fault it was told to make
NODE_TIMEOUT_S = 60.0
LIMIT_S = 3 * LLM_TIMEOUT_S + 1.5 + 10.0  # three attempts, the longest waits between them, a slow machine
HTML = "<html><head><title>Login</title></head><body>Please log in</body></html>"
SECOND_S = 0.8

Speech = Callable[[Dialect], Reply]


@dataclass(frozen=True)
class Case:
    """
    Attributes:
        says: What the server does, one reply a request, the last one for ever.
        calls: How often the model must have been called.
        code: Error code; empty: the node completes.
        said: Part of the error, or of the answer.
        tools: It is an agent.
        made: The tool calls of its output: name, whether it went well.
        more: What else its output holds.
    """

    says: list[Speech]
    calls: int
    code: str = ""
    said: str = "fine"
    tools: tuple[str, ...] = ()
    made: tuple[tuple[str, bool], ...] = ()
    more: Json = field(default_factory=dict)


def plain(reply: Reply) -> Speech:
    return lambda dialect: reply


def good(dialect: Dialect) -> Reply:
    return stream(dialect.begin(), dialect.text("fine"), dialect.end())


def half(how: Callable[..., Reply]) -> Speech:
    return lambda dialect: how(dialect.begin(), dialect.text("half"))


def stopping(reason: str, text: str) -> Speech:
    return lambda dialect: stream(dialect.begin(), dialect.text(text), dialect.stopped(reason))


def calling(*calls: tuple[str, str]) -> Speech:
    return lambda dialect: stream(dialect.calling(*calls))


def empty(dialect: Dialect) -> Reply:
    return stream(dialect.begin(), dialect.end())


def on_and_on(dialect: Dialect) -> Reply:
    """Call the tool again and again, each time with something new."""
    numbers = iter(range(1000))

    def reply(handler: Handler) -> None:
        stream(dialect.calling(("give_back", json.dumps({"value": next(numbers)}))))(handler)

    return reply


ECHO = '{"value": 7}'
CASES = {
    "429-retry-after": Case([plain(failure(429, "rate_limit_error", retry_after=str(SECOND_S))), good], 2),
    "429-lasting": Case([plain(failure(429, "rate_limit_error"))], 3, "llm_rate_limited", "tried 3 times"),
    "429-too-long": Case([plain(failure(429, retry_after="600"))], 1, "llm_rate_limited", "asked to wait 600 s"),
    "529-once": Case([plain(failure(529, "overloaded_error")), good], 2),
    "529-lasting": Case([plain(failure(529, "overloaded_error"))], 3, "llm_unavailable", "HTTP 529 overloaded_error"),
    "500-once": Case([plain(failure(500)), good], 2),
    "500-lasting": Case([plain(failure(500))], 3, "llm_unavailable", "HTTP 500 api_error: injected (tried 3 times)"),
    "502-page": Case([plain(page(502, HTML, "text/html"))], 3, "llm_unavailable", "HTTP 502"),
    "reset-once": Case([plain(reset()), good], 2),
    "reset-lasting": Case([plain(reset())], 3, "llm_unavailable", "tried 3 times"),
    "mute": Case([plain(mute())], 3, "llm_timeout", "within LLM_TIMEOUT (tried 3 times)"),
    "silent-in-mid-stream": Case([half(hang)], 3, "llm_timeout", "within LLM_TIMEOUT (tried 3 times)"),
    "cut-once": Case([half(cut), good], 2),
    "cut-lasting": Case([half(cut)], 3, "llm_unavailable", "tried 3 times"),
    "ends-in-mid-stream": Case([half(stream)], 3, "llm_unavailable", "tried 3 times"),
    "html": Case([plain(page(200, HTML, "text/html"))], 3, "llm_bad_response", "its reply can't be used"),
    "nothing": Case([plain(page(200, "", "text/event-stream"))], 3, "llm_bad_response", "its reply can't be used"),
    "no-json": Case([plain(page(200, '{"model": '))], 3, "llm_bad_response", "its reply can't be used"),
    "quotes-key": Case([plain(failure(400, "invalid_request_error", f"bad key {KEY}"))], 1, "llm_rejected", "HTTP 400"),
    "bad-request": Case([plain(failure(400, "invalid_request_error", "too long"))], 1, "llm_rejected", "too long"),
    "refusal": Case([stopping("refusal", "I won't")], 1, "llm_rejected", "refused to answer"),
    "max-tokens": Case([stopping("max_tokens", "fine so f")], 1, more={"stop_reason": "max_tokens"}),
    "max-tokens-at-once": Case([stopping("max_tokens", "")], 1, "llm_bad_response", "it stopped at max_tokens"),
    "empty-answer-of-an-agent": Case([empty], 1, "llm_bad_response", "answered with nothing", ("give_back",)),
    "malformed-input": Case(
        [calling(("give_back", '{"value": [7')), good], 2, tools=("give_back",), made=(("give_back", False),)
    ),
    "unfit-input": Case(
        [calling(("give_back", '{"worth": 7}')), good], 2, tools=("give_back",), made=(("give_back", False),)
    ),
    "unknown-tool": Case([calling(("rm", ECHO)), good], 2, tools=("give_back",), made=(("rm", False),)),
    "two-tools": Case(
        [calling(("give_back", ECHO), ("plus", '{"a": 1}')), good],
        2,
        tools=("give_back", "plus"),
        made=(("give_back", True), ("plus", True)),
    ),
    "fault-in-mid-run": Case(
        [calling(("give_back", ECHO)), plain(failure(529)), half(cut), good],
        4,
        tools=("give_back",),
        made=(("give_back", True),),
    ),
    "endless": Case([on_and_on], 4, "max_iterations", "4 model calls", ("give_back",)),
}


class Play:
    """All cases of a dialect, put to one pool at once."""

    def __init__(self, dialect: Dialect, server: FaultServer, wire: Wire) -> None:
        self.dialect = dialect
        self.server = server
        self.wire = wire
        server.will(by_model({name: [speech(dialect) for speech in case.says] for name, case in CASES.items()}))
        for name, case in CASES.items():
            config: Json = {"llm_config": {"model": name, "prompt": "hello"}, "max_iterations": 4}
            if case.tools:
                config["tools"] = list(case.tools)
            wire.add({"graph_id": name, "node_id": "n", "config": config, "inputs": {}})

    def asked(self, name: str) -> list[Json]:
        return [body for body in list(self.server.requests) if body["model"] == name]


@pytest.fixture(scope="module", params=["anthropic", "openai"])
def play(request: pytest.FixtureRequest, shared_pool: Callable[..., Wire]) -> Iterator[Play]:
    """Both APIs, one after the other."""
    dialect, server = Dialect(request.param), FaultServer()
    wire = shared_pool(
        workers=6,
        LLM_PROVIDER=dialect.name,
        LLM_BASE_URL=server.url,
        LLM_API_KEY=KEY,
        LLM_MODEL="named-by-the-node",
        LLM_TIMEOUT=f"{LLM_TIMEOUT_S:g}",
        LLM_MAX_RETRIES="2",
        NODE_TIMEOUT=f"{NODE_TIMEOUT_S:g}",
        TOOL_MODULES="tests.contract.tools.contract_tools",
    )
    yield Play(dialect, server, wire)
    server.close()


@pytest.mark.parametrize("name", CASES)
def test_34_a_model_with_a_fault(play: Play, name: str) -> None:
    """The right answer or error, after the right number of calls, within the limits; the key is told nobody."""
    case = CASES[name]
    event = play.wire.wait_result(name, seconds=120)
    data = event["data"]
    assert data.get("error_code", "") == case.code, data
    assert len(play.asked(name)) == case.calls
    assert data["duration_ms"] < LIMIT_S * 1000
    assert data["attempt"] == 1
    assert KEY not in json.dumps(event)
    if case.code:
        assert case.said in data["error"], data["error"]
        assert play.wire.node_state(name)["status"] == "failed"
        return
    output = data["output"]
    assert case.said in output["result" if case.tools else "content"]
    assert output.items() >= case.more.items()
    assert [(call["name"], call["ok"]) for call in output.get("tool_calls", [])] == list(case.made)


def test_34_retry_after_is_waited_for_in_the_pool(play: Play) -> None:
    """Not a moment less than asked; the result has the usage of what was answered, once."""
    data = play.wire.wait_result("429-retry-after", seconds=60)["data"]
    assert data["duration_ms"] >= SECOND_S * 1000
    assert data["usage"] == {"input_tokens": 3, "output_tokens": 5}


def results_told(play: Play, name: str) -> list[Any]:
    """What the model was told of its calls, in the second request."""
    play.wire.wait_result(name, seconds=60)
    messages = play.asked(name)[1]["messages"]
    if play.dialect.name == "openai":
        return [(message["tool_call_id"], message["content"]) for message in messages if message["role"] == "tool"]
    blocks = messages[-1]["content"]
    return [(block["tool_use_id"], block["content"]) for block in blocks if block["type"] == "tool_result"]


def test_34_two_calls_are_answered_together_and_in_order(play: Play) -> None:
    """Each with its own id: a model that hears of one only would refuse to go on."""
    told = results_told(play, "two-tools")
    assert [name for name, _ in told] == ["t0", "t1"]
    assert "7" in json.dumps(told[0][1]) and "11" in json.dumps(told[1][1])


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("malformed-input", "were not a JSON object"),
        ("unfit-input", "'value' is a required property"),
        ("unknown-tool", "There is no tool 'rm'. You may call: give_back."),
    ],
)
def test_34_the_model_is_told_why_a_call_was_not_made(play: Play, name: str, why: str) -> None:
    """In a sentence from which it can do better."""
    ((call, said),) = results_told(play, name)
    assert call == "t0"
    assert why in json.dumps(said), said


def test_34_faults_are_seen_in_the_log_and_metrics_without_what_was_said(play: Play) -> None:
    """Each repeat is an event with its code; the workers are those that were started."""
    for name in CASES:
        play.wire.wait_result(name, seconds=60)
    retried = {row["error_code"] for row in play.wire.pool.seen("model.retried")}
    assert {"llm_rate_limited", "llm_unavailable", "llm_timeout", "llm_bad_response"} <= retried
    said = play.wire.pool.said(1000)
    assert KEY not in said and "injected" not in said and "Please log in" not in said
    assert not play.wire.pool.seen("slot.dead")
    assert play.wire.pool.metrics()['dago_llm_calls_total{model="500-lasting"}'] == 1, "one call, however often tried"
