"""An agent's limits as they hold in a pool: money by a table of prices, time, loops."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.wire import Json, Wire
from tests.kit import RedisServer, wait_until

USED = {"input_tokens": 1000, "output_tokens": 100, "cache_read_tokens": 2000, "cache_write_tokens": 400}
COST = (1000 * 3 + 100 * 15 + 2000 * 0.3 + 400 * 3.75) / 1e6


@pytest.fixture(scope="module")
def wire(start: Callable[..., Wire], shared_redis: RedisServer, room: Path) -> Wire:
    """A pool that knows what the model `priced` costs."""
    prices = room / "prices.json"
    prices.write_text(json.dumps({"priced": {"input": 3, "output": 15, "cache_read": 0.3, "cache_write": 3.75}}))
    return start(shared_redis, workers=1, LLM_PRICES=str(prices), LLM_MODEL="priced")


def script(*rules: Json) -> str:
    return json.dumps({"script": list(rules)})


def calling(tool: str, arguments: Json | None = None, **more: Any) -> Json:
    return {"tool_calls": [{"name": tool, "arguments": arguments or {}}], "usage": USED, **more}


def test_a_budget_in_money(wire: Wire) -> None:
    """Checked before each call; what was spent is told, and counted with the tokens by their kind."""
    config = {"llm_config": {"prompt": script(calling("renamed", repeat=True))}, "tools": ["renamed"]}
    data = wire.run(config | {"budget": {"usd": 1.5 * COST}})
    assert (data["error_code"], data["iterations"]) == ("budget_exceeded", 2)
    assert data["usage"] == {name: 2 * tokens for name, tokens in USED.items()} | {"cost_usd": pytest.approx(2 * COST)}
    assert data["tool_calls"] == [{"name": "renamed", "ok": True, "duration_ms": data["tool_calls"][0]["duration_ms"]}]
    wait_until(lambda: wire.pool.metrics().get('dago_llm_cost_usd_total{model="priced"}'), 10, "the cost is counted")
    shown = wire.pool.metrics()
    assert shown['dago_llm_cost_usd_total{model="priced"}'] == pytest.approx(2 * COST)
    for kind in ("input", "output", "cache_read", "cache_write"):
        counted = f'dago_llm_tokens_total{{model="priced",type="{kind}"}}'
        assert shown[counted] == 2 * USED[f"{kind}_tokens"]


def test_a_budget_in_money_needs_a_price(wire: Wire) -> None:
    """The model's name and the setting are told."""
    config = {"llm_config": {"model": "other", "prompt": "p"}, "tools": ["renamed"], "budget": {"usd": 1}}
    code, said = wire.error(config)
    assert code == "invalid_node"
    assert "'other'" in said and "LLM_PRICES" in said


@pytest.mark.parametrize(("on_limit", "said"), [("finalize", "I had to stop."), ("partial", "I wait.")])
def test_time_is_up_in_a_tool_and_the_agent_ends_as_asked(wire: Wire, gate: Path, on_limit: str, said: str) -> None:
    """The tool is broken off in time, the worker goes on."""
    before = wire.pool.worker_pid()
    first = calling("wait_for_file", {"path": str(gate)}, reply="I wait.")
    prompt = script(first, {"reply": "I had to stop.", "usage": USED})
    config = {"llm_config": {"prompt": prompt}, "tools": ["wait_for_file"], "on_limit": on_limit, "timeout": 3}
    output = wire.output(config)
    assert (output["result"], output["stop_reason"]) == (said, "node_timeout")
    assert [made["ok"] for made in output["tool_calls"]] == [False]
    assert wire.pool.worker_pid() == before


def test_a_loop_is_ended_long_before_the_limit_on_calls(wire: Wire) -> None:
    """`max_iterations`, and it says that it was a loop."""
    config = {"llm_config": {"prompt": script(calling("renamed", repeat=True))}, "tools": ["renamed"]}
    data = wire.run(config | {"max_iterations": 500})
    assert (data["error_code"], data["iterations"]) == ("max_iterations", 10)
    assert "a loop" in data["error"]


def test_a_table_that_can_not_be_used_is_refused(
    start: Callable[..., Wire], shared_redis: RedisServer, room: Path
) -> None:
    """At the start, with status 78, the variable and the place in the file."""
    prices = room / "wrong.json"
    prices.write_text('{"m": {"input": "3"}}')
    pool = start(shared_redis, workers=1, wait=False, LLM_PRICES=str(prices)).pool
    assert pool.wait() == 78
    assert "LLM_PRICES" in pool.said() and "'m'" in pool.said()
