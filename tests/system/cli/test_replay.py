"""`once --record`, LLM_PROVIDER=replay and `replay`: runs again, from what was written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.kit import Pool, RedisServer, wait_until
from tests.system.cli.conftest import Run

SCRIPT = [
    {"tool_calls": [{"name": "calculate", "arguments": {"expression": "6*7"}}], "usage": {"input_tokens": 7}},
    {"tool_calls": [{"name": "current_time", "arguments": {}}], "usage": {"input_tokens": 8}},
    {"reply": "It is 42.", "usage": {"input_tokens": 9}},
]
AGENT = {"llm_config": {"prompt": "How much? {{inputs.ask}}"}, "tools": ["calculate", "current_time"]}
INPUTS = {"ask": json.dumps({"script": SCRIPT})}


def settled(server: RedisServer, config: dict[str, Any], graph: str = "g", **more: Any) -> None:
    """Have a node run by the pool."""
    client = server.client()
    item = {"graph_id": graph, "node_id": "n", "node_type": "x", "config": config, "inputs": INPUTS, **more}
    client.xadd("executor.work", {"data": json.dumps(item)})
    wait_until(lambda: client.get(f"dago:state:{graph}"), 15, f"{graph} is settled")
    client.close()


def test_recording_answers_without_a_model(run: Run, folder: Path) -> None:
    """What a model said once is a test without a key from then on; tools are called for real."""
    (folder / "node.json").write_text(json.dumps({"config": AGENT, "inputs": INPUTS}))
    first = run("once", "node.json", "--record", "answers.jsonl")
    assert first.status == 0 and first.json["output"]["result"] == "It is 42."
    steps = [json.loads(line)["step"] for line in (folder / "answers.jsonl").read_text().splitlines()]
    assert steps == ["began", "replied", "sent", "answered", "replied", "sent", "answered", "replied"]
    again = run("once", "node.json", LLM_PROVIDER="replay", LLM_SCRIPT="answers.jsonl")
    assert again.json["output"]["result"] == "It is 42." and again.json["usage"] == first.json["usage"]
    (folder / "other.json").write_text(json.dumps({"llm_config": {"prompt": "Something else"}}))
    other = run("once", "other.json", LLM_PROVIDER="replay", LLM_SCRIPT="answers.jsonl")
    assert other.status == 1 and other.json["error_code"] == "llm_rejected" and "record it anew" in other.json["error"]


def test_recordings_that_are_none(run: Run, folder: Path) -> None:
    """A sentence that names the setting."""
    (folder / "node.json").write_text(json.dumps({"llm_config": {"prompt": "x"}}))
    (folder / "wrong.jsonl").write_text('{"step":"replied"}\n')
    for script in ("", "gone.jsonl", "wrong.jsonl"):
        done = run("once", "node.json", LLM_PROVIDER="replay", LLM_SCRIPT=script)
        assert "LLM_SCRIPT" in done.out + done.err and "--record" in done.out + done.err, (script, done)
    assert run("once", "node.json", "--record", "no/such/folder").status == 2


def test_replay_runs_a_node_again_from_its_journal(
    redis_server: RedisServer, executor: Callable[..., Pool], run: Run
) -> None:
    """Offline, all of it; or live from a step, with another model where that is asked for."""
    pool = executor(redis_server, workers=1)
    settled(redis_server, AGENT)
    env = redis_server.env
    offline = run("replay", "g", "n", "--steps", **env)
    assert offline.status == 0, offline.err
    assert offline.json["output"]["result"] == "It is 42." and offline.json["output"]["usage"]["input_tokens"] == 24
    assert offline.err.count("journal  ") == 7 and "now  " not in offline.err
    live = run("replay", "g", "n", "--from-step", "1", "--steps", **env)
    assert live.json["output"]["result"] == "It is 42.", live
    assert live.err.count("journal  ") == 3 and live.err.count("now  ") == 4
    other = run("replay", "g", "n", "--from-step", "2", "--model", "another", "--steps", **env)
    assert "another end_turn" in other.err and other.json["status"] == "completed", other
    last = run("replay", "g", "n", "--from-step", "3", **env)
    assert last.status == 0 and last.json["output"]["result"] == "It is 42."
    beyond = run("replay", "g", "n", "--from-step", "4", "--model", "another", **env)
    assert (beyond.status, beyond.out) == (1, "")
    assert "--from-step 4 is beyond the run of g/n, which has 3 answers of the model; keep 0 to 3" in beyond.err
    client = redis_server.client()
    assert client.xlen("dago:events:node.completed") == 1, "nothing of it is settled"
    client.close()
    assert pool.drain() == 0


def test_replay_finds_items_by_their_envelope_and_while_they_run(
    redis_server: RedisServer, executor: Callable[..., Pool], run: Run
) -> None:
    """Whatever names the item; what is not finished ends where it is."""
    pool = executor(redis_server, workers=1)
    settled(redis_server, AGENT, id="item-1")
    assert run("replay", "g", "n", **redis_server.env).status == 0
    client = redis_server.client()
    client.set("dago:state:slow", json.dumps({"graph_id": "slow", "inputs": {}, "node_states": {}}))
    script = json.dumps({"script": [SCRIPT[0], {"delay_s": 60, "reply": "late"}]})
    item = {"graph_id": "slow", "node_id": "n", "config": {**AGENT, "llm_config": {"prompt": script}}}
    entry = str(client.xadd("executor.work", {"data": json.dumps(item)}), "ascii")  # type: ignore[arg-type]
    wait_until(lambda: client.llen(f"dago:journal:executor.work/{entry}") == 4, 15, "it has come to its second answer")
    client.close()
    done = run("replay", "slow", "n", **redis_server.env)
    assert done.status == 1 and done.json["error_code"] == "llm_unavailable" and "the journal ends here" in done.out
    pool.close()


def test_replay_of_what_was_never_written_down(
    redis_server: RedisServer, executor: Callable[..., Pool], run: Run
) -> None:
    """A sentence that says why."""
    executor(redis_server, workers=1)
    settled(redis_server, {"tool_name": "calculate", "tool_params": {"expression": "1"}})
    for graph, said in {"g": "there is no journal", "nobody": "no state of the graph"}.items():
        done = run("replay", graph, "n", **redis_server.env)
        assert done.status == 1 and said in done.err
