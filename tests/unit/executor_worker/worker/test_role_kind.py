"""From a role's job to the node it is, or to what it comes to without a run; no Redis here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from executor_worker.broker import Claim, Delivery, Held
from executor_worker.broker.roles.source import JobCommit
from executor_worker.outcome import Completed, Failed
from executor_worker.program.role_queues import role_kind
from executor_worker.settings import Settings
from executor_worker.worker.item import Intake
from executor_worker.worker.kinds import by_name
from executor_worker.worker.limits import Limits
from executor_worker.worker.stages import Conclusion, Run, Stamp, Work
from tests.unit.executor_worker.worker.holders import StubHolder

NOW = 1_800_000_000.0
CONFIG = """
[roles.director]
system = "You direct {{projectId}}."
message = "{{fields.more}}: {{task}} of {{payload.of}}"
temperature = 0.5
model_from_job = true

[roles.crew]
tools = ["calculate"]
model = "m"

[roles.judge]
message = { about = "{{payload}}", list = ["{{fields.more}}", 1] }
output_schema = { type = "object" }
"""


class Desk:
    """A worker that serves all roles of CONFIG and those built in."""

    def __init__(self, folder: Path, **variables: str) -> None:
        roles = "manager,inspector,agent,director,crew,judge"
        env = {"LLM_PROVIDER": "scripted", "ROLES": roles, "ROLES_CONFIG": CONFIG, **variables}
        self._kinds = by_name(role_kind(Settings.load(env, cwd=folder), Limits(900.0, 2, 500)))
        self._kind = self._kinds["role"]

    def open(self, role: str, count: Any = 1, **fields: str) -> Work:
        """Read a job at its *count*-th delivery."""
        flat = {name.encode(): value.encode() for name, value in fields.items()}
        held = Held(f"jobs:{role}", "1-1", count, "w.1", 0)
        return Intake(self._kinds, wall=lambda: NOW).open(Claim(Delivery(held, flat, "role"), StubHolder()))

    def config(self, role: str, **fields: str) -> dict[str, Any]:
        work = self.open(role, **fields)
        assert isinstance(work.decision, Run), work.decision
        return work.decision.task.config

    def commit(self, work: Work, conclusion: Conclusion | None = None) -> JobCommit:
        concluded = conclusion or work.decision
        assert isinstance(concluded, Conclusion)
        commit = self._kind.draft(work, concluded, Stamp("w.1", NOW, 1.0)).commit()
        assert isinstance(commit, JobCommit)
        return commit


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_job_becomes_the_node_that_its_role_says(desk: Desk) -> None:
    """Nothing is asked of the model that the role does not say; templates see the job and its fields."""
    assert desk.config("manager", task="t") == {
        "llm_config": {"model": "trt-llm-manager", "prompt": "{{task}}", "max_tokens": 256}
    }
    work = desk.open("inspector", task="{{task}}", payload='{"b":1,"a":2}')
    assert isinstance(work.decision, Run)
    assert list(work.decision.task.message.items()) == [("code", {"b": 1, "a": 2}), ("task", "{{task}}")]
    assert desk.config("director", task="t", payload='{"of":1}', more="x") == {
        "llm_config": {
            "model": "",
            "prompt": "{{fields.more}}: {{task}} of {{payload.of}}",
            "system": "You direct {{projectId}}.",
            "temperature": 0.5,
        }
    }
    assert desk.config("crew", task="t") == {"llm_config": {"model": "m", "prompt": "{{task}}"}, "tools": ["calculate"]}
    judged = desk.open("judge", payload="[1]", more="m")
    assert isinstance(judged.decision, Run)
    assert judged.decision.task.message == {"about": [1], "list": ["m", 1]}
    assert judged.decision.task.config["llm_config"]["output_schema"] == {"type": "object"}


def test_the_model_is_the_jobs_only_where_its_role_says_so(tmp_path: Path) -> None:
    """Then the table's, then that of the settings, then the role's own."""
    plain, chosen = Desk(tmp_path), Desk(tmp_path, DEFAULT_MODEL="d")

    def model(desk: Desk, role: str, **fields: str) -> str:
        return str(desk.config(role, task="t", payload='{"of":1}', more="", **fields)["llm_config"]["model"])

    assert [model(plain, role, model="j") for role in ("manager", "crew", "director")] == ["trt-llm-manager", "m", "j"]
    assert [model(chosen, role) for role in ("manager", "crew", "director")] == ["d", "m", "d"]
    assert model(chosen, "director", model="") == "d"


@pytest.mark.parametrize(
    ("role", "fields", "runs"),
    [
        ("manager", {"task": " "}, False),
        ("manager", {"payload": '{"a":1}'}, False),
        ("agent", {}, False),
        ("inspector", {"payload": '{"a":1}'}, True),
        ("inspector", {"payload": "text"}, True),
        ("inspector", {"task": "t"}, True),
        ("inspector", {}, False),
        ("judge", {"payload": "1", "more": ""}, True),
    ],
)
def test_a_job_without_a_task_runs_only_on_its_payload(
    desk: Desk, role: str, fields: dict[str, str], runs: bool
) -> None:
    work = desk.open(role, **fields)
    if runs:
        assert isinstance(work.decision, Run)
        return
    assert isinstance(work.decision, Conclusion) and isinstance(work.decision.outcome, Failed)
    assert (work.decision.outcome.code, work.decision.dead_reason) == ("invalid_item", "invalid_item")


def test_what_can_not_be_run_has_a_letter_an_update_and_a_record(desk: Desk) -> None:
    """Too large, and poisoned, which is its reason; the job's own fields stand in the letter as they came."""
    large = desk.open("agent", jobId="j", task="x" * 500)
    poisoned = desk.open("agent", count=3, jobId="j", task="x", reason="mine")
    for work, code, deliveries in ((large, "invalid_item", "1"), (poisoned, "poisoned", "2")):
        commit = desk.commit(work)
        kept, told = json.loads(commit.record), commit.update
        assert (kept["status"], kept["error_code"], told["Type"]) == ("failed", code, "error")
        assert json.loads(told["Payload"])["error_code"] == code
        letter = dict(zip(commit.letter[::2], commit.letter[1::2], strict=True))
        about = ("original_id", "reason", "deliveries", "consumer")
        assert [letter[name] for name in about] == ["1-1", code, deliveries, "w.1"]
        assert letter[b"jobId"] == b"j"
    assert letter[b"job.reason"] == b"mine"


def test_a_failure_is_no_dead_letter_and_an_odd_output_is_a_failure(desk: Desk) -> None:
    work = desk.open("agent", jobId="j", task="x")
    failed = desk.commit(work, Conclusion(Failed("away", "llm_unavailable")))
    assert failed.letter == [] and failed.update["Type"] == "error"
    odd = desk.commit(work, Conclusion(Completed({"result": {1}}, "agent")))
    assert json.loads(odd.record)["error_code"] == "llm_bad_response"


def test_a_long_id_is_kept_under_its_hash(desk: Desk) -> None:
    short, long = (desk.commit(desk.open("agent", jobId="x" * many, task="")) for many in (200, 201))
    assert short.record_key == b"dago:job:" + b"x" * 200
    assert long.record_key == b"dago:job:4b18791347c9db92f62f44a2dfe9c51a9cd2b11d"
