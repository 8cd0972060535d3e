"""Scenario 33: runs that are interrupted between any two of their steps, and go on where they stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.stage import Stage, pids_of
from tests.kit import PROGRAM, ModelServer, Pool, Proxy, RedisServer, alive, descendants, kill_all, wait_until

TASK = "Send the report"
DONE = "The report is sent."


class Agent:
    """An agent that has one mail sent, by a tool that tells how often it really was, and a model that counts."""

    def __init__(self, stage: Stage, model: ModelServer, tool: str = "mail") -> None:
        self.stage = stage
        self.model = model
        self.tool = tool
        model.calls_tool(TASK, tool, {"mark": "g"}, DONE)

    def pool(self, **settings: Any) -> Pool:
        return self.stage.pool(**{"workers": 2, **self.model.openai_env, **settings})

    def push(self, **more: Any) -> str:
        config = {"llm_config": {"prompt": TASK}, "tools": [self.tool], **more.pop("config", {})}
        item = {"graph_id": "g", "node_id": "n", "node_type": "agent", "config": config, "inputs": {}, **more}
        return self.stage.push_raw(json.dumps(item).encode())

    def calls(self) -> int:
        """How often the model was really called."""
        return len(self.model.requests())

    def told(self) -> list[str]:
        """What the model was told of its tool calls, last of all."""
        last = self.model.requests()[-1]["body"]["messages"]
        return [message["content"] for message in last if message["role"] == "tool"]

    def assert_done(self, *, calls: int, sent: int, seconds: float = 45.0) -> dict[str, Any]:
        """Wait for its one result; the model and the tool were called so often in all."""
        event = self.stage.result(seconds=seconds)
        assert event["type"] == "node.completed", event
        assert event["data"]["output"]["result"] == DONE
        self.stage.assert_settled_once(["g"])
        assert (self.calls(), len(self.stage.journal.starts("g"))) == (calls, sent)
        data: dict[str, Any] = event["data"]
        return data


@pytest.fixture
def agent(stage: Stage, model_server: ModelServer) -> Agent:
    return Agent(stage, model_server)


def kill_at(line: Proxy, pid: int, step: str) -> Callable[[], bool]:
    """Kill the worker when it writes that step down, before it is written; tells whether that has happened."""
    done: list[int] = []

    def on_request(chunk: bytes) -> None:
        if f'"step":"{step}"'.encode() in chunk and not done:
            done.append(pid)
            line.black_hole = True
            os.kill(pid, signal.SIGKILL)

    def happened() -> bool:
        if done and not alive(pid):
            line.black_hole = False
            line.cut()
            return True
        return False

    line.on_request = on_request
    return happened


@pytest.mark.parametrize(
    ("step", "calls", "sent", "told"),
    [
        ("replied", 3, 1, "sent"),  # the one answer in flight is asked for again
        ("sent", 2, 1, "sent"),
        ("answered", 2, 1, "unknown"),
    ],
)
def test_33_killed_before_a_step_is_written_down(
    agent: Agent, proxy: Callable[..., Proxy], step: str, calls: int, sent: int, told: str
) -> None:
    """After the model's answer, before the tool, after the tool: the mail is sent once, no answer paid twice."""
    line = proxy(agent.stage.server.port)
    pool = agent.pool(workers=1, REDIS_ADDR=line.addr, LEASE="30")
    killed = kill_at(line, pool.worker_pid(), step)
    agent.push()
    wait_until(killed, 15, f"a worker was killed at {step}")
    data = agent.assert_done(calls=calls, sent=sent)
    assert data["attempt"] == 2 and told in str(agent.told())
    assert data["output"]["iterations"] == 2 and [call["name"] for call in data["output"]["tool_calls"]] == ["mail"]


def test_33_killed_in_mid_call(agent: Agent) -> None:
    """An unsafe tool is not called again: the model is told that nobody knows."""
    agent.tool = "hold_unsafe"
    agent.model.reset()
    agent.model.calls_tool(TASK, "hold_unsafe", {"mark": "g"}, DONE)
    pool = agent.pool()
    agent.push()
    os.kill(agent.stage.started().pid, signal.SIGKILL)
    data = agent.assert_done(calls=2, sent=1)
    assert "outcome of this call is unknown" in str(agent.told())
    assert data["output"]["tool_calls"][0]["ok"] is False
    assert pool.wait_event("node.resumed")["model_calls"] == 1


def test_33_on_uncertain_fail(agent: Agent) -> None:
    """The node stops for a person."""
    agent.model.reset()
    agent.model.calls_tool(TASK, "hold_unsafe", {"mark": "g"}, DONE)
    agent.pool()
    agent.push(config={"tools": ["hold_unsafe"], "on_uncertain": "fail"})
    os.kill(agent.stage.started().pid, signal.SIGKILL)
    data = agent.stage.result()["data"]
    assert data["error_code"] == "tool_uncertain" and "usage" in data
    assert agent.calls() == 1 and len(agent.stage.journal.starts("g")) == 1


@pytest.mark.parametrize(("tool", "again"), [("hold_unsafe", False), ("hold_safe", True), ("hold", True)])
def test_33_tool_node_killed_in_mid_call(stage: Stage, tool: str, again: bool) -> None:
    """Its declared effects decide; what declares nothing runs again, as queues do."""
    stage.pool(workers=2)
    stage.push(tool)
    os.kill(stage.started().pid, signal.SIGKILL)
    if again:
        stage.started(count=2)
        stage.journal.let_go("g")
    data = stage.result()["data"]
    assert data.get("error_code") == (None if again else "tool_uncertain")
    assert len(stage.journal.starts("g")) == 1 + again and data["attempt"] == 2
    stage.assert_settled_once(["g"])


def test_33_idempotent_call_keeps_its_key(agent: Agent) -> None:
    """It is made again, under the key it had."""
    agent.model.reset()
    agent.model.calls_tool(TASK, "hold_keyed", {"mark": "g"}, DONE)
    agent.pool()
    agent.push(config={"tools": ["hold_keyed"]}, id="item-7")
    os.kill(agent.stage.started().pid, signal.SIGKILL)
    agent.stage.started(count=2)
    agent.stage.journal.let_go("g")
    agent.assert_done(calls=2, sent=2)
    assert {fact.what for fact in agent.stage.journal.facts("g")} >= {"key=item-7:1.0"}
    assert len(agent.stage.journal.facts("g", "key=item-7:1.0")) == 2


def test_33_lost_host(agent: Agent) -> None:
    """Everything of a pool is killed at once: another pool goes on from the last step."""
    agent.model.reset()
    agent.model.calls_tool(TASK, "hold_safe", {"mark": "g"}, DONE)
    lost = agent.pool(LEASE="1")
    agent.push(config={"tools": ["hold_safe"]})
    agent.stage.started()
    kill_all([lost.process.pid, *descendants(lost.process.pid)])
    agent.pool(LEASE="1")
    agent.stage.started(count=2)
    agent.stage.journal.let_go("g")
    agent.assert_done(calls=2, sent=2)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGQUIT])
def test_33_drained_in_mid_run(agent: Agent, how: signal.Signals) -> None:
    """What is given back, at the end of a drain or at once, goes on elsewhere; no delivery is held against it."""
    agent.model.reset()
    agent.model.calls_tool(TASK, "hold_safe", {"mark": "g"}, DONE)
    first = agent.pool(DRAIN_TIMEOUT="1")
    agent.push(config={"tools": ["hold_safe"]})
    agent.stage.started()
    first.send(how)
    first.wait()
    assert how == signal.SIGTERM or first.seen("item.released", graph="g", node="n"), first.said()
    agent.pool()
    agent.stage.started(count=2)
    agent.stage.journal.let_go("g")
    assert agent.assert_done(calls=2, sent=2)["attempt"] == 1


def test_33_killed_again_and_again(agent: Agent) -> None:
    """Five kills, and still one mail and one bill."""
    agent.model.reset()
    agent.model.answer(TASK, {"toolCalls": [{"name": "mail", "arguments": {"mark": "g"}}]}, match={"turnIndex": 0})
    call = {"toolCalls": [{"name": "hold_safe", "arguments": {"mark": "wait"}}]}
    agent.model.answer(TASK, call, match={"turnIndex": 1})
    agent.model.answer(TASK, DONE, match={"turnIndex": 2})
    agent.pool(MAX_DELIVERIES="10")
    agent.push(config={"tools": ["mail", "hold_safe"]})
    for kill in range(1, 6):
        os.kill(agent.stage.started("wait", kill).pid, signal.SIGKILL)
    agent.stage.started("wait", 6)
    agent.stage.journal.let_go("wait")
    assert agent.assert_done(calls=3, sent=1)["attempt"] == 6


def test_33_poisoned_and_requeued(agent: Agent) -> None:
    """A dead letter that is put up again goes on where its last run stopped."""
    agent.model.reset()
    agent.model.calls_tool(TASK, "crash_safe", {"mark": "g", "times": 2}, DONE)
    agent.pool(MAX_DELIVERIES="2")
    agent.push(config={"tools": ["crash_safe"]})
    data = agent.stage.result()["data"]
    assert data["error_code"] == "poisoned" and data["iterations"] == 1 and "usage" in data
    command = [str(PROGRAM), "dead", "requeue", "--all"]
    env = {**agent.stage.server.env, "LLM_PROVIDER": "scripted", "PATH": "/usr/bin:/bin"}
    subprocess.run(command, env=env, cwd=agent.stage.journal.folder, check=True, capture_output=True)
    wait_until(lambda: len(agent.stage.results("g")) == 2, 15, lambda: agent.stage.where())
    assert agent.stage.results("g")[-1]["type"] in ("node.completed", "node.failed")
    assert agent.stage.node()["output"]["result"] == DONE
    assert agent.calls() == 2


def test_33_ended_with_its_worker(agent: Agent) -> None:
    """A run that could not be interrupted still tells what it had cost and done."""
    agent.model.reset()
    agent.model.calls_tool(TASK, "hang", {"mark": "g", "how": "loop"}, DONE)
    agent.pool(NODE_TIMEOUT="6")
    agent.push(config={"tools": ["hang"], "on_limit": "partial"})
    data = agent.stage.result()["data"]
    assert data["error_code"] == "node_timeout" and data["usage"].keys() >= {"input_tokens", "output_tokens"}
    assert data["iterations"] == 1 and data["tool_calls"] == [{"name": "hang", "ok": False, "duration_ms": 0}]
    agent.stage.assert_settled_once(["g"])


def test_33_redis_away_between_two_steps(agent: Agent, redis_server: RedisServer) -> None:
    """A step waits for Redis to keep it, and the run goes on."""
    agent.model.reset()
    agent.model.calls_tool(TASK, "hold_unsafe", {"mark": "g"}, DONE)
    pool = agent.pool(LEASE="30")
    agent.push(config={"tools": ["hold_unsafe"]})
    agent.stage.started()
    before = pids_of(pool)
    redis_server.restart()
    agent.stage.journal.let_go("g")
    data = agent.assert_done(calls=2, sent=1)
    assert data["output"]["tool_calls"][0]["ok"] is True and pids_of(pool) == before


def test_33_progress_shows_each_step_once(agent: Agent) -> None:
    """What is seen of a run are its steps, and nothing of what was said."""
    agent.pool()
    agent.push(config={"tools": ["mail"]}, execution_id="run-1")
    agent.assert_done(calls=2, sent=1)
    events = [json.loads(fields[b"data"]) for _, fields in agent.stage.db.xrange("dago:events:node.progress")]
    assert [event["type"] for event in events] == [
        *("node.started", "llm.called", "tool.sent", "tool.called", "llm.called"),
    ]
    assert all((event["graph_id"], event["node_id"], event["execution_id"]) == ("g", "n", "run-1") for event in events)
    assert events[1]["data"]["tools"] == ["mail"] and set(events[1]["data"]["usage"]) == {
        "input_tokens",
        "output_tokens",
    }
    assert events[3]["data"]["ok"] is True and events[3]["data"]["call"] == "1.0"
    assert TASK not in json.dumps(events) and DONE not in json.dumps(events)
