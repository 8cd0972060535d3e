"""A job of a role: what its fields mean, what is kept of it, whom its hub tells; and dead letters of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from executor_worker.envelopes.role_job import (
    LETTER_FIELDS,
    RoleJob,
    decode_job,
    job_of_letter,
    letter_fields,
    output_of,
    record,
    update,
)
from executor_worker.outcome import Completed, Failed, Outcome, Usage

NOW = 1_800_000_000.0
NINE = (
    "MessageId",
    "NodeId",
    "ProjectId",
    "UserId",
    "ClientConnectionId",
    "WorkflowGroup",
    "Type",
    "Payload",
    "Timestamp",
)
TEXT = Completed({"content": "said"}, "llm")


def job(**fields: str) -> RoleJob:
    return decode_job("agent", "jobs:agent", "1-1", {name.encode(): value.encode() for name, value in fields.items()})


def test_what_is_missing_has_a_default_and_what_is_empty_stays_so() -> None:
    """Names are compared exactly; the id is the same at each delivery."""
    bare = job()
    assert (bare.job_id, bare.workflow_id, bare.user_id, bare.project_id, bare.connection_id, bare.task) == (
        "jobs:agent/1-1",
        "unknown",
        "",
        "",
        "",
        "",
    )
    assert bare.payload is None and bare.inputs["payload"] == {}
    assert job(jobId="", workflowId="").job_id == "jobs:agent/1-1"
    assert job(workflowId="").workflow_id == ""
    assert (job(Task="t", JOBID="x").task, job(TASK="t").job_id) == ("", "jobs:agent/1-1")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"b":1,"a":[2.50,null]}', {"b": 1, "a": [2.5, None]}),
        ("[1]", [1]),
        ("12345678901234567890123", 12345678901234567890123),
        ('"text"', "text"),
        ("no json", "no json"),
        ("{broken", "{broken"),
        ("", None),
    ],
)
def test_payload_is_its_json_value_or_its_text(text: str, value: Any) -> None:
    assert job(payload=text).payload == value


@pytest.mark.parametrize(
    ("fields", "node"),
    [
        ({"nodeId": "n", "payload": '{"nodeId":"p"}'}, "n"),
        ({"payload": '{"nodeId":"p","NodeId":"q"}'}, "p"),
        ({"payload": '{"NodeId":"q"}'}, "q"),
        ({"payload": '{"nodeId":7}'}, "7"),
        ({"NodeId": "other case"}, ""),
        ({"payload": "[1]"}, ""),
        ({}, ""),
    ],
)
def test_the_node_is_named_by_a_field_or_inside_the_payload(fields: dict[str, str], node: str) -> None:
    assert update(job(**fields), TEXT, NOW)["NodeId"] == node


@pytest.mark.parametrize(
    ("fields", "group"),
    [
        ({"workflowId": "w"}, "w"),
        ({"workflowId": "w", "userId": "u"}, ""),
        ({"workflowId": "w", "connectionId": "c"}, ""),
        ({"workflowId": "w", "connectionId": "c", "userId": "u", "workflowGroup": "g"}, "g"),
        ({"workflowId": "w", "workflowGroup": ""}, "w"),
        ({}, ""),
    ],
)
def test_a_workflow_is_a_group_only_where_nobody_else_is_named(fields: dict[str, str], group: str) -> None:
    """A group nobody joined swallows an update; "unknown" was never sent."""
    assert update(job(**fields), TEXT, NOW)["WorkflowGroup"] == group


def test_an_update_has_the_nine_fields_and_two_of_ours() -> None:
    """No two differ by case only, whatever the job brings."""
    told = update(job(jobId="j", connectionId="c", chatId="9", projectId="12", userId="u"), TEXT, NOW)
    assert set(told) == {*NINE, "connectionId", "jobId"}
    assert len({name.lower() for name in told}) == len(told)
    assert (told["MessageId"], told["jobId"], told["ClientConnectionId"], told["connectionId"]) == ("j", "j", "c", "c")
    assert (told["ProjectId"], told["UserId"], told["Type"]) == ("12", "u", "result")
    assert told["Timestamp"] == "2027-01-15T08:00:00.000Z"


@pytest.mark.parametrize(
    ("outcome", "output", "payload"),
    [
        (Completed({"content": "said", "usage": {}}, "llm"), "said", "said"),
        (Completed({"content": '{"a":1}', "parsed": {"a": 1}}, "llm"), {"a": 1}, '{"a":1}'),
        (Completed({"result": "done", "iterations": 2, "tool_calls": []}, "agent"), "done", "done"),
        (Completed({"result": {"x": [1]}, "iterations": 2}, "agent"), {"x": [1]}, '{"x":[1]}'),
        (Failed("it broke", "llm_unavailable"), None, '{"error":"it broke","error_code":"llm_unavailable"}'),
    ],
)
def test_output_is_the_text_the_value_or_the_agents_result(outcome: Outcome, output: Any, payload: str) -> None:
    """A text is published as it is, all else as JSON."""
    assert output_of(outcome) == output
    said = update(job(), outcome, NOW)["Payload"]
    assert (said.decode() if isinstance(said, bytes) else said) == payload
    kept = json.loads(record(job(), outcome, status="completed", worker_id="w", attempt=1, created_at=NOW))
    assert kept["output"] == output


def test_a_record_holds_the_names_it_is_known_by() -> None:
    """In their order, all of them always; and all fields as they came."""
    usage = Usage(input_tokens=3, output_tokens=2)
    kept = json.loads(
        record(
            job(jobId="j", task="t", model="m"),
            Failed("no", "llm_timeout", "llm", usage),
            status="failed",
            worker_id="p.1",
            attempt=2,
            created_at=NOW,
            started_at=NOW,
            completed_at=NOW + 1,
        )
    )
    assert {**kept, "usage": {name: kept["usage"][name] for name in ("input_tokens", "output_tokens")}} == {
        "jobId": "j",
        "role": "agent",
        "entry_id": "1-1",
        "status": "failed",
        "output": None,
        "error": "no",
        "error_code": "llm_timeout",
        "usage": {"input_tokens": 3, "output_tokens": 2},
        "task": "t",
        "workflowId": "unknown",
        "userId": "",
        "projectId": "",
        "worker_id": "p.1",
        "attempt": 2,
        "created_at": "2027-01-15T08:00:00.000Z",
        "started_at": "2027-01-15T08:00:00.000Z",
        "completed_at": "2027-01-15T08:00:01.000Z",
        "fields": {"jobId": "j", "task": "t", "model": "m"},
    }


def test_a_dead_letter_holds_the_jobs_own_fields_and_gives_them_back() -> None:
    """Names that a letter has itself are kept beside them."""
    fields = {b"jobId": b"j", b"error": b"theirs", b"reason": b"", b"job.x": b"1", b"bin\xff": b"\xfe"}
    about = dict.fromkeys(LETTER_FIELDS, "ours")
    words = letter_fields(fields, about)
    letter = {
        name.encode() if isinstance(name, str) else name: value
        for name, value in zip(words[::2], words[1::2], strict=True)
    }
    assert letter[b"error"] == "ours" and letter[b"job.error"] == b"theirs" and letter[b"job.reason"] == b""
    kept = {
        name.decode("utf-8", "surrogateescape"): value if isinstance(value, bytes) else value.encode()
        for name, value in letter.items()
    }
    back = job_of_letter(kept)
    assert dict(zip(back[::2], back[1::2], strict=True)) == {
        name.decode("utf-8", "surrogateescape"): value for name, value in fields.items()
    }
