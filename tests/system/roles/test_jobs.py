"""Jobs of the three roles, from a producer that knows nothing of us to a hub that knows as little."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from tests.kit import ModelServer, Pool
from tests.system.roles.conftest import NINE, Hub, Roles


def test_a_job_of_each_role_reaches_its_model_its_record_and_its_hub(
    roles: Roles, serve: Callable[..., Pool], model_server: ModelServer
) -> None:
    """Requests as described, nothing else in them; the record and the one update say what the model said."""
    model_server.answer("plan it", "the plan")
    model_server.answer("look at it", "it is fine")
    model_server.answer("do it", "done")
    hub = Hub(roles.server)
    serve()
    jobs = {
        "manager": roles.add("manager", workflowId="w-1", task="plan it", payload="{}"),
        "inspector": roles.add("inspector", task="look at it", payload='{"b":1,"a":[2]}', userId="uid-1"),
        "agent": roles.add(
            "agent", task="do it", payload="not json", userId="u", projectId="12", connectionId="c-9", nodeId="n-4"
        ),
    }
    records = {role: roles.wait(job) for role, job in jobs.items()}
    assert {role: (one["status"], one["output"]) for role, one in records.items()} == {
        "manager": ("completed", "the plan"),
        "inspector": ("completed", "it is fine"),
        "agent": ("completed", "done"),
    }
    bodies = {one["body"]["model"]: one["body"] for one in model_server.requests()}
    assert {model: body["max_tokens"] for model, body in bodies.items()} == {
        "trt-llm-manager": 256,
        "trt-llm-inspector": 512,
        "trt-llm-agent": 128,
    }
    known = {"model", "messages", "max_tokens", "stream", "stream_options"}
    sent = {name for body in bodies.values() for name in body if not name.startswith("_")}
    assert sent <= known
    [asked] = bodies["trt-llm-inspector"]["messages"]
    assert asked == {"role": "user", "content": '{"code":{"b":1,"a":[2]},"task":"look at it"}'}

    assert hub.wait(jobs["manager"])[0] == ("group", "w-1")
    assert hub.wait(jobs["inspector"])[0] == ("user", "uid-1")
    route, update = hub.wait(jobs["agent"])
    assert route == ("connection", "c-9")
    assert (update["payload"], update["type"], update["nodeid"], update["projectid"]) == ("done", "result", "n-4", "12")
    assert all(len(roles.updates(job)) == 1 for job in jobs.values())

    record = records["agent"]
    assert record["fields"] == {
        "jobId": jobs["agent"],
        "task": "do it",
        "payload": "not json",
        "userId": "u",
        "projectId": "12",
        "connectionId": "c-9",
        "nodeId": "n-4",
    }
    assert (record["role"], record["workflowId"], record["attempt"]) == ("agent", "unknown", 1)
    assert record["worker_id"].endswith((".1", ".2"))
    times = [datetime.fromisoformat(record[name]) for name in ("created_at", "started_at", "completed_at")]
    assert times == sorted(times)
    left_ms: Any = roles.redis.pttl(f"dago:job:{jobs['agent']}")
    assert 0 < left_ms <= 86_400_000
    assert roles.redis.xlen("jobs:agent") == 0, "what is settled is deleted"


def test_a_running_job_says_so_in_its_record(
    roles: Roles, serve: Callable[..., Pool], model_server: ModelServer
) -> None:
    """The record is written in the step that takes it, its texts as they came."""
    model_server.answer("slowly", "ok", latency=1500)
    serve()
    text = 'slowly "quoted" \\ / ü \t line'
    job = roles.add("manager", task=text, userId="ü", extra="x/y")
    running = roles.wait(job, "running")
    assert (running["task"], running["userId"], running["output"]) == (text, "ü", None)
    assert running["fields"] == {"jobId": job, "task": text, "userId": "ü", "extra": "x/y"}
    done = roles.wait(job, "completed")
    assert {**done, "status": "", "output": "", "usage": "", "completed_at": "", "started_at": ""} == {
        **running, "status": "", "output": "", "usage": "", "completed_at": "", "started_at": ""
    }  # fmt: skip


def test_what_can_not_be_run_is_published_and_goes_to_the_dead_letters_flat(
    roles: Roles, serve: Callable[..., Pool]
) -> None:
    """A job without a task: an update of type error, a failed record, and its own fields in `:dead`."""
    serve()
    job = roles.add("manager", workflowId="w", payload='{"a":1}', consumer="theirs")
    record = roles.wait(job, "failed")
    assert record["error_code"] == "invalid_item"
    [update] = roles.updates(job)
    assert set(update) == {*NINE, "connectionId", "jobId"}
    assert update["Type"] == "error"
    assert json.loads(update["Payload"]) == {"error": record["error"], "error_code": "invalid_item"}
    letters: Any = roles.redis.xrange("jobs:manager:dead")
    [(_, letter)] = letters
    fields = {name.decode(): value.decode() for name, value in letter.items()}
    own = {"jobId": job, "workflowId": "w", "payload": '{"a":1}', "job.consumer": "theirs"}
    assert own.items() <= fields.items()
    assert set(fields) - set(own) == {"original_id", "failed_at", "reason", "error", "deliveries", "consumer"}
    assert fields["reason"] == "invalid_item"
