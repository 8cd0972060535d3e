"""Settings of role queues: which roles, as data, their limits, and the address in StackExchange's form."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from executor_worker.envelopes.role_job import decode_job
from executor_worker.nodes.templates import Scope
from executor_worker.program.place_limits import place_limits
from executor_worker.settings import ConfigErrors, Settings
from executor_worker.settings.role_table import BUILT_IN, Role
from executor_worker.settings.role_templates import PARTS, TEXTS

FILE = """
[roles.director]
model = "llama3.2:3b"
system = "You direct {{projectId}}."
limit = 2
temperature = 0.5

[roles.inspector]
stream = "jobs:looked-at"
message = { code = "{{payload}}", node = "{{fields.nodeId}}" }
output_schema = { type = "object" }

[roles.agent]
tools = ["calculate"]
model_from_job = true
max_tokens = 9
"""

EVERYTHING = {
    "texts": "{{task}} {{jobId}} {{ workflowId }} {{userId}}{{projectId}}{{inputs.connectionId}}",
    "inside": ["{{payload}}", {"a": "{{payload.a.0.b}} {{payload.a.b}}"}, "{{inputs.payload.a}}"],
    "fields": "{{fields}} {{fields.nodeId}} {{inputs.fields.dotted.name}} {{fields.}}",
    "all": "{{inputs}}",
    "no name": "{nodeId} }}",
}


def load(folder: Path, **variables: str) -> Settings:
    return Settings.load({"LLM_PROVIDER": "scripted", **variables}, cwd=folder)


def complaints(folder: Path, **variables: str) -> list[str]:
    """What is wrong, a line each, beginning with the variable."""
    with pytest.raises(ConfigErrors) as raised:
        load(folder, **variables)
    return [f"{one.variable}: {one}" for one in raised.value.problems]


def roles_of(settings: Settings) -> dict[str, Role]:
    return {role.name: role for role in settings.role_table}


def test_three_roles_are_built_in(tmp_path: Path) -> None:
    """Their streams, models, tokens and messages, as the other system has them."""
    roles = roles_of(load(tmp_path, ROLES="manager, inspector,agent"))
    assert {role.name: (role.stream, role.own_model, role.max_tokens, role.message) for role in roles.values()} == {
        "manager": ("jobs:manager", "trt-llm-manager", 256, "{{task}}"),
        "inspector": (
            "jobs:inspector",
            "trt-llm-inspector",
            512,
            {"code": "{{payload}}", "task": "{{task}}"},
        ),
        "agent": ("jobs:agent", "trt-llm-agent", 128, "{{task}}"),
    }
    assert list(roles["inspector"].message) == ["code", "task"]
    assert [role.needs_payload for role in roles.values()] == [False, True, False]


@pytest.mark.parametrize("form", ["toml file", "json file", "toml", "json"])
def test_config_changes_roles_and_adds_others(tmp_path: Path, form: str) -> None:
    """From a file or the variable itself; what it leaves out stays as it is built in."""
    text = FILE if form.startswith("toml") else json.dumps(tomllib.loads(FILE))
    (tmp_path / "roles").write_text(text)
    config = "roles" if form.endswith("file") else text
    roles = roles_of(load(tmp_path, ROLES="director,inspector,agent", ROLES_CONFIG=config))
    director, inspector, agent = roles["director"], roles["inspector"], roles["agent"]
    assert (director.stream, director.model, director.limit, director.temperature) == (
        "jobs:director",
        "llama3.2:3b",
        2,
        0.5,
    )
    assert (director.message, director.max_tokens) == ("{{task}}", None)
    assert (inspector.stream, inspector.max_tokens, inspector.output_schema) == (
        "jobs:looked-at",
        512,
        {"type": "object"},
    )
    assert (agent.tools, agent.model_from_job, agent.max_tokens, agent.stream) == (
        ("calculate",),
        True,
        9,
        "jobs:agent",
    )


def test_model_is_the_tables_then_the_settings_then_the_roles(tmp_path: Path) -> None:
    """LLM_MODEL and DEFAULT_MODEL count where they are set."""
    config = {"ROLES": "director,manager", "ROLES_CONFIG": '[roles.director]\nmodel = "its-own"'}
    for more, expected in (
        ({}, ["its-own", "trt-llm-manager"]),
        ({"LLM_MODEL": "m"}, ["its-own", "m"]),
        ({"DEFAULT_MODEL": "d"}, ["its-own", "d"]),
    ):
        settings = load(tmp_path, **config, **more)
        assert [role.model_beside(settings.llm_model) for role in settings.role_table] == expected


@pytest.mark.parametrize(
    ("message", "needs"),
    [
        ("{{payload}}", True),
        ("{{ payload.code.0 }}", True),
        ("{{fields.payload}}", True),
        ({"a": ["{{inputs.payload}}"]}, True),
        ("Of the payload: {{task}}", False),
        ({"payload": "{{task}}"}, False),
    ],
)
def test_a_message_is_made_of_the_payload_where_a_template_names_it(message: str | dict[str, Any], needs: bool) -> None:
    assert Role("x", "jobs:x", message=message).needs_payload is needs


@pytest.mark.parametrize(
    ("variables", "variable", "text"),
    [
        ({"ROLES": "manger"}, "ROLES", "'manger' is no role"),
        ({"ROLES": "Manager"}, "ROLES", "Manager"),
        ({"ROLES": "x", "ROLES_CONFIG": "missing.toml"}, "ROLES_CONFIG", "can't be read"),
        ({"ROLES": "x", "ROLES_CONFIG": "[roles.x]\nmodle = 1"}, "ROLES_CONFIG", "did you mean model?"),
        ({"ROLES": "x", "ROLES_CONFIG": "[roles.x]\nmax_tokens = 0"}, "ROLES_CONFIG", "at least 1"),
        ({"ROLES": "x", "ROLES_CONFIG": "[roles.x]\nmax_tokens = true"}, "ROLES_CONFIG", "whole number"),
        ({"ROLES": "x", "ROLES_CONFIG": "[roles.x]\nstream = 'a b'"}, "ROLES_CONFIG", "stream"),
        ({"ROLES": "x", "ROLES_CONFIG": "[roles.x]\nstream = 'executor.work'"}, "ROLES_CONFIG", "no other use"),
        ({"ROLES": "x", "ROLES_CONFIG": "[roles.x]\nstream = 'router.work'"}, "ROLES_CONFIG", "no other use"),
        ({"ROLES": "x", "ROLES_CONFIG": "[roles.x]\ntools = 'calculate'"}, "ROLES_CONFIG", "list"),
        ({"ROLES": "x", "ROLES_CONFIG": "[other.x]"}, "ROLES_CONFIG", "tables roles.<name>"),
        ({"ROLES": "total", "ROLES_CONFIG": "[roles.total]"}, "ROLES_CONFIG", "MAX_TOTAL is another setting"),
        ({"ROLES": "rss_mb", "ROLES_CONFIG": "[roles.rss_mb]"}, "ROLES_CONFIG", "MAX_RSS_MB is another setting"),
        (
            {"ROLES": "manager,x", "ROLES_CONFIG": "[roles.x]\nstream='jobs:manager'"},
            "ROLES_CONFIG",
            "two of the roles",
        ),
        ({"ROLES": "manager", "MAX_MANAGER": "-1"}, "MAX_MANAGER", "-1"),
        ({"ROLES": "manager", "MAX_TOTAL": "many"}, "MAX_TOTAL", "many"),
        ({"ROLES": "x", "ROLES_CONFIG": "[roles.x]", "MAX_X": "-2"}, "MAX_X", "-2"),
        ({"LIMITS": "a"}, "LIMITS", "name=n"),
        ({"LIMITS": "a=0"}, "LIMITS", "name=n"),
        ({"LIMITS": "a=1,a=2"}, "LIMITS", "name=n"),
        ({"LIMITS": "roles=1"}, "LIMITS", "name=n"),
        ({"ROLES_START": "now"}, "ROLES_START", "now"),
    ],
)
def test_what_can_not_be_used_is_told(tmp_path: Path, variables: dict[str, str], variable: str, text: str) -> None:
    """By the variable it stands in."""
    told = complaints(tmp_path, **variables)
    assert any(one.startswith(f"{variable}: ") and text in one for one in told), told


@pytest.mark.parametrize(
    ("table", "place", "name", "fix"),
    [
        ("message = '{{nodeId}}'", "message", "nodeId", "{{fields.nodeId}}"),
        ("message = 'Do {{task}} for {{userid}}'", "message", "userid", "{{userId}}"),
        (
            "message = {code = ['{{task}}', {x = '{{inputs.model}}'}]}",
            "message.code[1].x",
            "inputs.model",
            "{{fields.model}}",
        ),
        ("message = '{{task.0}}'", "message", "task.0", "{{task}}: it is a text"),
        ("system = 'Of {{nodes.a}}'", "system", "nodes.a", "{{fields.nodes}}"),
        ("system = 'Of {{payloads.a.b}}'", "system", "payloads.a.b", "{{payload.a.b}}"),
        ("message = '{{#if task}}x{{/if}}'", "message", "#if task", "{{task}}"),
        ("message = '{{ }}'", "message", "", "Name one of them"),
    ],
)
def test_a_template_that_names_what_no_job_has_is_refused(
    tmp_path: Path, table: str, place: str, name: str, fix: str
) -> None:
    """With its place, what there is and what was meant; it would fail each job."""
    told = complaints(tmp_path, ROLES="x", ROLES_CONFIG=f"[roles.x]\n{table}")
    found = next(one for one in told if f"{{{{{name}}}}}" in one)
    assert f": roles.x.{place} names {{{{{name}}}}}, which no job has; there are: task, jobId, " in found

    assert fix in found.partition(" inside the last two. ")[2]


def test_all_wrong_names_are_told_at_once(tmp_path: Path) -> None:
    """Of all roles of the file, built-in ones included."""
    text = "[roles.x]\nmessage='{{a}} {{b}} {{a}}'\nsystem='{{c}}'\n[roles.agent]\nmessage='{{d}}'"
    told = complaints(tmp_path, ROLES="x", ROLES_CONFIG=text)
    assert [one.partition(" names ")[2][:5] for one in told] == ["{{c}}", "{{a}}", "{{b}}", "{{d}}"]


@pytest.mark.parametrize(
    "role", [*BUILT_IN.values(), Role("x", "jobs:x", message=EVERYTHING, system=json.dumps(EVERYTHING))]
)
def test_what_a_job_can_have_is_taken_and_rendered(tmp_path: Path, role: Role) -> None:
    """The check and the job agree; what a job alone decides, inside payload and fields, is left to it."""
    config = json.dumps({"roles": {role.name: {"message": role.message, "system": role.system}}})
    (served,) = load(tmp_path, ROLES=role.name, ROLES_CONFIG=config).role_table
    payload = {"a": [{"b": 1}], "a.b": 2}
    fields = {"jobId": "j", "task": "t", "payload": json.dumps(payload), "nodeId": "n", "dotted.name": "d", "": "e"}
    job = decode_job(role.name, role.stream, "1-0", {name.encode(): text.encode() for name, text in fields.items()})
    scope = Scope(job.inputs, {})
    assert scope.value(served.message, "message") is not None
    assert "{{" not in scope.text(served.system, "system")


def test_names_of_the_check_are_those_of_a_job() -> None:
    assert {*TEXTS, *PARTS} == decode_job("x", "jobs:x", "1-0", {}).inputs.keys()


def test_limits_of_variables_go_before_those_of_the_table(tmp_path: Path) -> None:
    """Zero lifts one; LIMITS stands beside them; the total is there only where there are roles."""
    config = {
        "ROLES": "director,manager,agent",
        "ROLES_CONFIG": "[roles.director]\nlimit = 2\n[roles.agent]\nlimit = 3",
    }
    given = load(tmp_path, **config, MAX_DIRECTOR="5", MAX_AGENT="0", MAX_TOTAL="7", LIMITS="a=1, b.c=2")
    assert place_limits(given).most == {"role:director": 5, "roles": 7, "a": 1, "b.c": 2}
    assert place_limits(load(tmp_path, **config)).most == {"role:director": 2, "role:agent": 3}
    assert place_limits(load(tmp_path, MAX_TOTAL="7")).most == {}


def test_connection_of_stackexchange_names_redis(tmp_path: Path) -> None:
    """Options in any case; a password may hold `=`; it is a secret like any other; what has no effect is told."""
    settings = load(
        tmp_path,
        REDIS_CONNECTION="cache:7000 , Password=p=w1, user=bob,SSL=True,defaultDatabase=3,abortConnect=false,other:1",
    )
    assert (settings.redis_addr, settings.redis_user, settings.redis_pass, settings.redis_db) == (
        "rediss://cache:7000",
        "bob",
        "p=w1",
        3,
    )
    assert "p=w1" in settings.secrets
    assert "p=w1" not in repr(settings)
    told = [one for one in settings.warnings if "REDIS_CONNECTION" in one]
    assert ["abortconnect" in told[0], "other:1" in told[1]] == [True, True]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("redis", "redis:6379"),
        ("redis,ssl=true", "rediss://redis:6380"),
        ("[::1]:6390", "[::1]:6390"),
        ("10.0.0.1:6379,password=", "10.0.0.1:6379"),
    ],
)
def test_ports_of_a_connection_are_those_of_stackexchange(tmp_path: Path, text: str, address: str) -> None:
    assert load(tmp_path, REDIS_CONNECTION=text).redis_addr == address


@pytest.mark.parametrize(
    "text", ["password=pw1", "host:port,password=pw1", "redis://u:pw1@h", "h,ssl=maybe", "h,defaultDatabase=-1"]
)
def test_bad_connections_are_told_without_their_password(tmp_path: Path, text: str) -> None:
    [told] = complaints(tmp_path, REDIS_CONNECTION=text)
    assert told.startswith("REDIS_CONNECTION: ")
    assert "pw1" not in told


def test_address_goes_before_a_connection(tmp_path: Path) -> None:
    """And so does each variable of its own; the first is told, since the two may name different servers."""
    settings = load(tmp_path, REDIS_CONNECTION="cache:7000,password=a", REDIS_ADDR="here:6379")
    assert settings.redis_addr == "here:6379"
    [told] = settings.overridden
    assert (told.used, told.ignored) == ("REDIS_ADDR", "REDIS_CONNECTION") and "it is ignored" in told.problem
    own = load(tmp_path, REDIS_CONNECTION="cache:7000,password=a,user=u", REDIS_PASS="b")
    assert (own.redis_addr, own.redis_user, own.redis_pass) == ("cache:7000", "u", "b")
    [told] = own.overridden
    assert (told.used, told.ignored) == ("REDIS_PASS", "REDIS_CONNECTION")
    assert told.problem.startswith("its part for REDIS_PASS is ignored: ")
