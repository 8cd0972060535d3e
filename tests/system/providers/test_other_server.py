"""Both model APIs as a server that is not ours speaks them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from executor_worker.outcome import Usage
from executor_worker.providers.base import Provider, ToolResult, ToolSpec, ToolTurn
from executor_worker.run_context import RunContext
from tests.kit import ModelServer
from tests.unit.executor_worker.providers.dialects import Dialect, asked, run_context

WEATHER = ToolSpec("weather.now", "Tell the weather", {"type": "object", "properties": {"city": {"type": "string"}}})
CONTENT = "Hello yourself, this is somewhat longer than one chunk."


class Shown(RunContext):
    """Remembers what is shown."""

    def __init__(self, deadline: float) -> None:
        super().__init__(deadline)
        self.texts: list[str] = []
        self.calls: list[tuple[int, str, str]] = []

    def text_delta(self, text: str) -> None:
        self.texts.append(text)

    def call_delta(self, place: int, name: str, arguments: str) -> None:
        self.calls.append((place, name, arguments))


@pytest.fixture(scope="module")
def shared_aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """One aimock for a module; starting one for each test would take most of the time."""
    server = ModelServer(tmp_path_factory.mktemp("aimock"))
    yield server
    server.close()


@pytest.fixture
def aimock(shared_aimock: ModelServer) -> ModelServer:
    """A model server that is not ours, empty."""
    shared_aimock.reset()
    return shared_aimock


@pytest.fixture(params=["anthropic", "openai"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Both APIs, one after the other."""
    return Dialect(request.param)


@pytest.fixture
def model(dialect: Dialect, aimock: ModelServer) -> Iterator[Provider]:
    """The adapter of *dialect*, talking to aimock."""
    made = dialect.provider(aimock.url)
    yield made
    made.close()


def test_a_text_arrives_whole(dialect: Dialect, model: Provider, aimock: ModelServer) -> None:
    """Streamed in many pieces, with usage as asked for."""
    aimock.answer("hello", {"content": CONTENT, "usage": {"prompt_tokens": 11, "completion_tokens": 12}})
    reply = model.complete(asked("hello", system="Be brief.", temperature=0.5), run_context())
    assert (reply.text, reply.stop_reason) == (CONTENT, "end_turn")
    if dialect.name == "openai":
        assert reply.usage == Usage(11, 12)
        assert aimock.requests()[-1]["body"]["temperature"] == 0.5
    else:
        assert aimock.requests()[-1]["path"] == "/v1/messages"


def test_a_tool_loop_ends_with_an_answer(model: Provider, aimock: ModelServer) -> None:
    """The call comes back under the tool's own name, its result is taken, the answer follows."""
    aimock.calls_tool("weather", "weather_now", {"city": "Berlin"}, then="It is warm.")
    first = model.complete(asked("How is the weather?", tools=(WEATHER,)), run_context())
    assert first.stop_reason == "tool_use"
    (made,) = first.tool_calls
    assert (made.name, made.arguments, made.problem) == ("weather.now", {"city": "Berlin"}, "")
    result = ToolTurn((ToolResult(made.id, "28 °C"),))
    second = model.complete(asked("How is the weather?", tools=(WEATHER,), then=(first.turn, result)), run_context())
    assert (second.text, second.stop_reason) == ("It is warm.", "end_turn")


def test_what_comes_is_shown_as_it_comes(model: Provider, aimock: ModelServer) -> None:
    """A text in pieces, then a call under the tool's own name, its arguments growing."""
    shown = Shown(time.monotonic() + 60)
    aimock.answer("hello", CONTENT)
    model.complete(asked("hello"), shown)
    assert "".join(shown.texts) == CONTENT and len(shown.texts) > 1
    aimock.calls_tool("weather", "weather_now", {"city": "Berlin"}, then="It is warm.")
    model.complete(asked("How is the weather?", tools=(WEATHER,)), shown)
    assert {(place, name) for place, name, _ in shown.calls} == {(0, "weather.now")}
    assert json.loads("".join(arguments for *_, arguments in shown.calls)) == {"city": "Berlin"}


def test_a_fault_is_tried_again(dialect: Dialect, model: Provider, aimock: ModelServer) -> None:
    """One refusal for overload, then the answer."""
    status, kind = (529, "overloaded_error") if dialect.name == "anthropic" else (503, "server_error")
    aimock.answer("hello", "Hi.")
    aimock.fail_next(status, kind)
    assert model.complete(asked("hello"), run_context()).text == "Hi."
    assert [entry["response"]["status"] for entry in aimock.requests()] == [status, 200]
