"""Long results and full contexts in a pool: one pool for each test, which alone takes its items."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.contract.wire import Json, Wire
from tests.kit import RedisServer
from tests.unit.executor_worker.providers.fault_server import FaultServer, Reply, failure, page


@pytest.fixture
def faulty() -> Iterator[FaultServer]:
    """A model server that replies as it is told."""
    server = FaultServer()
    yield server
    server.close()


def answer(blocks: list[Json], stop: str, **usage: int) -> Reply:
    """A whole message, as gateways send it that do not stream."""
    used = {"input_tokens": 10, "output_tokens": 1, **usage}
    message = {"type": "message", "model": "m", "content": blocks, "stop_reason": stop, "usage": used}
    return page(200, json.dumps(message))


def test_a_long_result_is_cut_and_read_on(start: Callable[..., Wire], shared_redis: RedisServer) -> None:
    """The model sees a beginning, and finds the rest with a tool of the agent's own."""
    wire = start(shared_redis, workers=1, TOOL_RESULT_CHARS="1000")
    hay = ["hay"] * 20_000 + ["a needle"] + ["hay"] * 20_000
    first = {"tool_calls": [{"name": "give_back", "arguments": {"value": "{{hay}}"}}]}
    second = {"tool_calls": [{"name": "read_result", "arguments": {"id": "1", "search": "needle"}}]}
    prompt = json.dumps({"script": [first, second]}).replace('"{{hay}}"', "{{hay}}")
    output = wire.output({"llm_config": {"prompt": prompt}, "tools": ["give_back"]}, inputs={"hay": hay})
    # As the scripted model sums up the last result it was shown.
    assert output["result"].startswith("scripted: read_result returned at 120") and "a needle" in output["result"]
    assert [made["name"] for made in output["tool_calls"]] == ["give_back", "read_result"]
    assert wire.pool.drain() == 0


def test_a_prompt_that_is_too_long_is_shortened(
    start: Callable[..., Wire], shared_redis: RedisServer, faulty: FaultServer
) -> None:
    """The model's server says so once; what was read from its cache is told."""
    wire = start(shared_redis, workers=1, LLM_PROVIDER="anthropic", LLM_API_KEY="k", LLM_BASE_URL=faulty.url)
    asked = {"type": "tool_use", "id": "t1", "name": "give_back", "input": {"value": "long " * 1000}}
    faulty.will(
        answer([asked], "tool_use"),
        failure(400, "invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"),
        answer([{"type": "text", "text": "Done."}], "end_turn", cache_read_input_tokens=300),
    )
    data = wire.run({"llm_config": {"prompt": "p"}, "tools": ["give_back"]})
    assert (data["output"]["result"], data["output"]["iterations"]) == ("Done.", 2), data
    assert data["usage"] == {"input_tokens": 20, "output_tokens": 2, "cache_read_tokens": 300}
    long, short = faulty.requests[1:]
    assert "long long" in json.dumps(long["messages"][2]) and "Cleared" not in json.dumps(long)
    assert "Cleared to save room" in json.dumps(short["messages"][2])
    assert [tool["name"] for tool in short["tools"]] == ["give_back", "read_result"]
    assert wire.pool.drain() == 0
