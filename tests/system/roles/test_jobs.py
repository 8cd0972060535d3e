"""Jobs of the three roles, from a producer that knows nothing of us to a hub that knows as little."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.kit import ModelServer, Pool, Stopwatch, wait_until
from tests.kit.paths import ROOT
from tests.system.roles.conftest import GROUP, NINE, OLD_CONSUMER, Hub, Roles
from tests.unit.executor_worker.providers.fault_server import FaultServer, by_model, page


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
    model_server.answer("slowly", "ok", latency=6000)
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


SAID_NOTHING = {
    "null, finished": {"message": {"content": None}, "finish_reason": "stop"},
    "null, cut": {"message": {"role": "assistant", "content": None}, "finish_reason": "length"},
    "null": {"message": {"content": None}},
    "empty, cut": {"message": {"content": ""}, "finish_reason": "length"},
    "absent": {"message": {"role": "assistant"}, "finish_reason": None},
}


def test_an_answer_without_content_is_a_bad_response(roles: Roles, serve: Callable[..., Pool]) -> None:
    """Whyever the model stopped; the job fails at once, and its hub is told."""
    pages = {name: [page(200, json.dumps({"choices": [choice]}))] for name, choice in SAID_NOTHING.items()}
    with closing(FaultServer()) as server:
        server.will(by_model(pages))
        own_model = json.dumps({"roles": {"manager": {"model_from_job": True}}})
        serve(ROLES="manager", ROLES_CONFIG=own_model, LLM_ENDPOINT=f"{server.url}/v1/chat/completions")
        jobs = {name: roles.add("manager", task="x", model=name) for name in pages}
        records = {name: roles.wait(job, seconds=60) for name, job in jobs.items()}
        assert {name: (one["error_code"], one["output"]) for name, one in records.items()} == dict.fromkeys(
            pages, ("llm_bad_response", None)
        )
        assert [one["Type"] for job in jobs.values() for one in roles.updates(job)] == ["error"] * len(pages)
        assert len(server.requests) == len(pages), "asked once each"


CONFIG = """
[roles.director]
model = "d"
system = "You direct {{projectId}}."
message = "{{fields.mood}}: {{task}}"
temperature = 0.5
limit = 1

[roles.judge]
message = { code = "{{payload}}", of = "{{userId}}" }
output_schema = { type = "object", properties = { ok = { type = "boolean" } }, required = ["ok"] }

[roles.agent]
tools = ["calculate"]
model_from_job = true
"""


def test_roles_are_what_their_table_says(
    roles: Roles, serve: Callable[..., Pool], model_server: ModelServer, tmp_path: Path
) -> None:
    """Added ones and changed ones, from a file, on a Redis named as the other system names it."""
    (tmp_path / "roles.toml").write_text(CONFIG)
    model_server.answer("calmly: plan", "planned")
    model_server.answer('"code"', '{"ok":true}')
    model_server.calls_tool("count", "calculate", {"expression": "6*7"}, "42")
    address = roles.server.env["REDIS_ADDR"]
    pool = serve(
        ROLES="director,judge,agent",
        ROLES_CONFIG=str(tmp_path / "roles.toml"),
        REDIS_ADDR="",
        REDIS_CONNECTION=f"{address},abortConnect=false,defaultDatabase=0",
        DEFAULT_MODEL="m",
    )
    director = roles.wait(roles.add("director", task="plan", projectId="12", mood="calmly"))
    judge = roles.wait(roles.add("judge", payload='{"a":1}', userId="u"))
    agent = roles.wait(roles.add("agent", task="count", model="mine"))
    assert [one["output"] for one in (director, judge, agent)] == ["planned", {"ok": True}, "42"]
    assert [roles.updates(one["jobId"])[0]["Payload"] for one in (judge, agent)] == ['{"ok":true}', "42"]
    bodies = {one["body"]["model"]: one["body"] for one in model_server.requests()}
    assert set(bodies) == {"d", "m", "mine"}
    said = [(message["role"], message["content"]) for message in bodies["d"]["messages"]]
    assert said == [("system", "You direct 12."), ("user", "calmly: plan")]
    assert (bodies["d"]["temperature"], "max_tokens" in bodies["d"], bodies["mine"]["max_tokens"]) == (0.5, False, 128)
    assert bodies["m"]["messages"][-1]["content"] == '{"code":{"a":1},"of":"u"}'
    assert pool.metrics()['dago_limit_max{limit="role:director"}'] == 1


def test_a_job_left_pending_by_the_other_executor_is_adopted_uncounted(
    roles: Roles, serve: Callable[..., Pool], model_server: ModelServer
) -> None:
    """What `executor-consumer` had is run once nobody has touched it for a lease, as a first attempt."""
    model_server.answer("left behind", "ok")
    roles.redis.xgroup_create("jobs:manager", GROUP, "0", mkstream=True)
    job = roles.add("manager", task="left behind")
    for _ in range(3):
        roles.redis.xreadgroup(GROUP, OLD_CONSUMER, {"jobs:manager": ">"}, count=1)
        roles.redis.xautoclaim("jobs:manager", GROUP, OLD_CONSUMER, 0)
    pool = serve(LEASE="3s", MAX_DELIVERIES="1")
    found = pool.wait_event("role_queue.found")
    assert (found["stream"], found["waiting"], found["left_by_others"]) == ("jobs:manager", 0, 1)
    record = roles.wait(job, "completed")
    assert record["attempt"] == 1
    shared = pool.wait_event("role_queue.shared")
    assert (shared["stream"], shared["consumers"]) == ("jobs:manager", OLD_CONSUMER)
    assert "stop it" in shared["advice"]


def test_a_cancelled_job_ends_or_is_not_run(
    roles: Roles, serve: Callable[..., Pool], model_server: ModelServer, cli: Callable[..., Any]
) -> None:
    """`job --cancel`: the running one ends within two seconds, the waiting one is never asked of the model."""
    model_server.answer("slowly", "ok", latency=60_000)
    serve(WORKERS="1")
    running, waiting = (roles.add("manager", task="slowly") for _ in range(2))
    roles.wait(running, "running")
    assert cli("job", waiting, "--cancel").returncode == 1, "nothing is known of it yet"
    asked = Stopwatch()
    assert cli("job", running, "--cancel").returncode == 0
    assert [roles.wait(job, "failed", 10)["error_code"] for job in (running, waiting)] == ["cancelled", "cancelled"]
    assert asked.own_s() < 6
    assert len(model_server.requests()) <= 1
    assert [one["Type"] for one in roles.updates(waiting)] == ["error"]


def test_submit_puts_jobs_on_a_roles_queue_and_waits(
    roles: Roles, serve: Callable[..., Pool], model_server: ModelServer, cli: Callable[..., Any]
) -> None:
    """Ids a line; with --wait records; a job of the file keeps its own id; a waiting one is pending."""
    model_server.answer("one", "1")
    model_server.answer("two", "2")
    [job] = cli("submit", "--role", "agent", "--task", "one").stdout.split()
    assert roles.record(job) == roles.wait(job, "pending")
    serve()
    assert roles.wait(job, "completed")["output"] == "1"
    jobs = json.dumps([{"jobId": "mine", "task": "two", "payload": {"a": 1}}, {"payload": "{}"}])
    done = cli("submit", "--role", "agent", "-", "--wait", "--timeout", "30s", stdin=jobs)
    mine, failed = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, mine["jobId"], mine["output"]) == (1, "mine", "2")
    assert mine["fields"]["payload"] == '{"a":1}'
    assert failed["error_code"] == "invalid_item"
    assert json.loads(cli("job", "mine").stdout) == mine
    [letter] = json.loads(cli("dead", "list", "--json").stdout)
    assert letter["node_id"] == failed["jobId"]
    assert cli("dead", "requeue", letter["id"], ROLES="").returncode == 0
    # Until it is run again the record says what it said before.
    entry: Any = wait_until(lambda: roles.redis.xrange("jobs:agent:dead"), 30, "it is dead again")
    assert {name.decode() for name in entry[0][1]} >= {"jobId", "payload", "original_id"}


def test_queues_of_roles_are_seen_without_their_settings(
    roles: Roles, serve: Callable[..., Pool], cli: Callable[..., Any], tmp_path: Path
) -> None:
    """A shell without ROLES shows what any pool serves or was sent; whoever may not look at it does without."""
    config = tmp_path / "roles.toml"
    config.write_text('[roles.director]\nstream = "elsewhere"\n')
    serve(ROLES="manager,director", ROLES_CONFIG=str(config))
    cli("submit", "--role", "inspector", "--task", "waits")
    roles.redis.xadd("elsewhere", {"jobId": "bad"})
    roles.wait("bad", "failed")
    plain = {"ROLES": "", "ROLES_CONFIG": ""}

    def seen(**more: str) -> dict[str, int]:
        streams = json.loads(cli("status", "--json", **plain, **more).stdout)["streams"]
        return {one["stream"]: one["dead"] for one in streams if not one["stream"].endswith("executor.work")}

    assert seen() == {"elsewhere": 1, "jobs:inspector": 0, "jobs:manager": 0}
    [letter] = json.loads(cli("dead", "list", "--json", **plain).stdout)
    assert (letter["stream"], letter["node_id"]) == ("elsewhere", "bad")
    roles.redis.acl_setuser(
        "graphs",
        enabled=True,
        passwords=["+word"],
        keys=["executor.work*", "dago:*"],
        channels=["*"],
        categories=["+@all"],
    )
    limited = {"REDIS_USER": "graphs", "REDIS_PASS": "word"}
    assert seen(**limited) == {}
    assert json.loads(cli("dead", "list", "--json", **plain, **limited).stdout) == []
    assert cli("dead", "drop", letter["id"], **plain).returncode == 0
    assert not roles.redis.xlen("elsewhere:dead")


def test_check_finds_another_executor_old_entries_and_limits_of_no_use(roles: Roles, cli: Callable[..., Any]) -> None:
    """Each with what to do; what is meant so is no fault."""

    def checked(**settings: str) -> list[tuple[bool, str, str]]:
        found = json.loads(cli("check", "--json", **settings).stdout)
        of_roles = ("ROLES", "ROLES_START", "MAX_AGENT")
        return [(one["ok"], one["subject"], one["text"]) for one in found if one["subject"] in of_roles]

    roles.add("agent", task="old")
    [(fine, subject, text)] = checked()
    assert (fine, subject) == (False, "ROLES_START")
    assert "1 entries and no group yet: all of them would be run. Set ROLES_START=$" in text
    assert checked(ROLES_START="0") == [(True, "ROLES", "1 jobs wait in jobs:agent")]
    [(fine, _, text)] = checked(ROLES_START="$")
    assert fine and text.startswith("0 jobs wait in jobs:agent; 1 older ones are passed over")
    roles.redis.xgroup_create("jobs:agent", GROUP, "0")
    assert checked(MAX_AGENT="2", MAX_TOTAL="1") == [
        (
            False,
            "MAX_AGENT",
            "2 can never be reached: MAX_TOTAL lets 1 jobs of all roles run. Raise MAX_TOTAL, or lower it.",
        ),
        (True, "ROLES", "1 jobs wait in jobs:agent"),
    ]
    roles.redis.xreadgroup(GROUP, OLD_CONSUMER, {"jobs:agent": ">"})
    [(fine, _, text)] = checked()
    assert not fine and OLD_CONSUMER in text and text.endswith("It takes half of the jobs: stop it.")


def test_check_asks_for_roles_models_only_where_models_are_listed(
    roles: Roles, model_server: ModelServer, cli: Callable[..., Any]
) -> None:
    """An endpoint that is named by the path of its call is asked for nothing but whether it is there."""

    def checked(**settings: str) -> list[tuple[bool, str]]:
        found = json.loads(cli("check", "--json", **settings).stdout)
        return [(one["ok"], one["text"]) for one in found if one["subject"] in ("LLM_PROVIDER", "ROLES")]

    listing = {"LLM_PROVIDER": "openai", "LLM_BASE_URL": model_server.openai_url}
    advice = "Load it there, name another in ROLES_CONFIG, or one for all roles by LLM_MODEL."
    assert checked(**listing)[1:] == [
        (True, "openai answers"),
        (False, f"openai does not list trt-llm-agent, the model of the role agent. {advice}"),
    ]
    by_path = {"LLM_PROVIDER": "", "LLM_ENDPOINT": f"{model_server.openai_url}/chat/completions"}
    assert checked(**by_path)[1:] == [(True, "openai answers")]


def test_the_example_producer_gets_its_updates(
    roles: Roles, serve: Callable[..., Pool], model_server: ModelServer
) -> None:
    """All three, from the example as it stands."""
    for word in ("Plan the release", "Is this right", "Say hello"):
        model_server.answer(word, f"answer to {word}")
    serve()
    command = [sys.executable, str(ROOT / "examples" / "nodpt_producer.py"), roles.server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(line.partition(" ")[0] for line in done.stdout.splitlines()) == ["agent", "inspector", "manager"]
