"""Jobs in PostgreSQL, behind Redis: nothing lost while it is away, nothing twice, and read through to it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

from tests.kit import ModelServer, Pool, PostgresServer, alive, command_line, wait_until
from tests.system.roles.conftest import Hub, Roles

WAITING = "dago_history_waiting"
GRANTS = (
    "GRANT SELECT, INSERT, UPDATE ON jobs TO {user}",
    "GRANT SELECT ON dago_migrations TO {user}",
)


def rows(server: PostgresServer, url: str) -> dict[str, tuple[str, Any]]:
    """Status and output of each job there."""
    return {job: (status, output) for job, status, output in server.ask(url, "SELECT job_id, status, output FROM jobs")}


def process_of(pool: Pool, role: str) -> int:
    """The pool's process that calls itself so."""

    def one() -> list[int]:  # what was just forked calls itself as its parent does
        found = [pid for pid in pool.process.relatives() if f": {role}" in command_line(pid)]
        return found if len(found) == 1 else []

    return wait_until(one, 10, f"the one {role}")[0]


def test_jobs_are_written_behind_redis_whatever_becomes_of_the_database(
    roles: Roles,
    serve: Callable[..., Pool],
    model_server: ModelServer,
    postgres_server: PostgresServer,
    cli: Callable[..., Any],
) -> None:
    """No tables, away, its writer killed, its disk full: jobs go on, and a user of few rights writes them all."""
    model_server.answer("do it", "done")
    url = postgres_server.database()
    user = url.rpartition("/")[2].replace("d", "worker")
    postgres_server.ask(url, f"CREATE USER {user}")
    few_rights = url.replace("owner@", f"{user}@")
    pool = serve(DATABASE_URL=few_rights, STATE_TTL="2s", QUEUES="none")
    first = roles.add("agent", task="do it", payload='{"a":1}', userId="u")
    record = roles.wait(first)
    assert "migrate" in pool.wait_event("history.unwritten")["advice"]
    assert roles.redis.pttl(f"dago:job:{first}") == -1, "what is not written does not expire"
    checked = json.loads(cli("check", "--json", DATABASE_URL=url).stdout)
    assert [one["ok"] for one in checked if one["subject"] == "DATABASE_URL"] == [False]

    assert cli("history", "migrate", DATABASE_URL=url).stdout.split()[0] == "0001_jobs"
    for grant in GRANTS:
        postgres_server.ask(url, grant.format(user=user))
    wait_until(lambda: first in rows(postgres_server, url), 20, "it is written")
    wait_until(lambda: roles.redis.exists(f"dago:job:{first}") == 0, 20, "then it expires")
    assert json.loads(cli("job", first, DATABASE_URL=few_rights).stdout) == record
    checked = json.loads(cli("check", "--json", DATABASE_URL=few_rights).stdout)
    assert [one["ok"] for one in checked if one["subject"] == "DATABASE_URL"] == [True]

    postgres_server.kill()
    away = [roles.add("manager", task="do it") for _ in range(5)]
    failed = roles.add("manager", workflowId="no task")
    for job in (*away, failed):
        roles.wait(job)
    os.kill(writer := process_of(pool, "history"), signal.SIGKILL)
    wait_until(lambda: pool.metrics().get(WAITING) == 6, 20, "six wait to be written")
    asked = cli("job", first, DATABASE_URL=few_rights)
    assert (asked.returncode, asked.stdout) == (1, "")
    assert "the database can't be asked" in asked.stderr
    postgres_server.start()
    wait_until(lambda: pool.metrics().get(WAITING) == 0, 40, "all is written")
    found = rows(postgres_server, url)
    assert {job: found[job] for job in away} == dict.fromkeys(away, ("completed", "done"))
    assert found[failed] == ("failed", None)
    assert len(found) == 7
    os.kill(process_of(pool, "keeper"), signal.SIGKILL)
    last = cli("submit", "--role", "agent", "--task", "do it", DATABASE_URL=few_rights).stdout.strip()
    wait_until(lambda: rows(postgres_server, url).get(last) == ("completed", "done"), 30, "another keeper's writer")
    assert not alive(writer)

    postgres_server.fail_writes(url, "jobs", "53100")
    more = [roles.add("manager", task="do it") for _ in range(5)]
    for job in more:
        roles.wait(job)
    wait_until(
        lambda: any("make room" in one["advice"] for one in pool.seen("history.unwritten")), 20, "its disk is full"
    )
    wait_until(lambda: pool.metrics().get(WAITING) == 5, 20, "five wait to be written")
    assert {roles.redis.pttl(f"dago:job:{job}") for job in more} == {-1}
    postgres_server.fail_writes(url, "jobs", "")
    wait_until(
        lambda: {*more} <= {*rows(postgres_server, url)} and pool.metrics().get(WAITING) == 0, 40, "all is written"
    )
    assert len(rows(postgres_server, url)) == 13
    assert not pool.seen("history.refused")


def test_all_three_roles_reach_the_database_and_one_route_each(
    roles: Roles,
    serve: Callable[..., Pool],
    model_server: ModelServer,
    postgres_server: PostgresServer,
    cli: Callable[..., Any],
) -> None:
    """From a producer to model, record, table and hub: what is there is the same everywhere."""
    for task in ("plan it", "look at it", "do it"):
        model_server.answer(task, f"answer to {task}")
    url = postgres_server.database()
    cli("history", "migrate", DATABASE_URL=url)
    hub = Hub(roles.server)
    serve(DATABASE_URL=url, QUEUES="none")
    routes = {
        roles.add("manager", task="plan it", workflowId="w-1"): ("group", "w-1"),
        roles.add("inspector", task="look at it", payload='{"nodeId":"n-1"}', userId="uid", workflowId="w-2"): (
            "user",
            "uid",
        ),
        roles.add("agent", task="do it", connectionId="c-1", userId="uid", workflowId="w-3"): ("connection", "c-1"),
    }
    assert {job: hub.wait(job)[0] for job in routes} == routes
    assert sum(map(len, hub.delivered.values())) == 3
    wait_until(lambda: len(rows(postgres_server, url)) == 3, 20, "all are written")
    wait_until(lambda: not roles.redis.exists("dago:history:jobs"), 20, "none is left to be written")
    kept = {job: roles.wait(job) for job in routes}
    roles.redis.delete(*(f"dago:job:{job}" for job in routes))
    for job, record in kept.items():
        assert json.loads(cli("job", job, DATABASE_URL=url).stdout) == record
        assert record["output"] == f"answer to {record['task']}"


def test_history_commands_write_at_once_and_prune(
    roles: Roles, postgres_server: PostgresServer, cli: Callable[..., Any]
) -> None:
    """A pending job is a row too; `history write` writes by hand; without a database each says what to set."""
    url = postgres_server.database()
    assert cli("history", "migrate").returncode == 78
    cli("history", "migrate", DATABASE_URL=url)
    job = cli("submit", "--role", "agent", "--task", "later", DATABASE_URL=url).stdout.strip()
    assert cli("history", "write", DATABASE_URL=url).stdout.strip() == "1"
    assert rows(postgres_server, url) == {job: ("pending", None)}
    assert roles.redis.pttl(f"dago:job:{job}") > 0
    assert cli("history", "prune", "--older", "1s", DATABASE_URL=url).stdout.strip() == "0"
