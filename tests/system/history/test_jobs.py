"""Records of jobs in PostgreSQL: exact, each the latest there is, and bad ones leave the others alone."""

from __future__ import annotations

import json
import random
import string
from typing import Any

import pytest

from executor_worker.errors import HistoryError, HistoryRefused, HistoryUnavailable
from orchestrator.history import jobs, migrations
from orchestrator.history.database import Database
from tests.kit import PostgresServer

MIGRATIONS = ["0001_jobs", "0002_long_workflows"]


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.database()


def record(**changes: Any) -> bytes:
    whole = {
        "jobId": "j", "role": "agent", "entry_id": "1700000000000-9", "status": "completed", "output": "done",
        "error": None, "error_code": None, "usage": {"input_tokens": 10**20}, "task": "do", "workflowId": "w",
        "userId": "", "projectId": "12", "worker_id": "p.1", "attempt": 1, "created_at": "2026-01-01T00:00:00.001Z",
        "started_at": "2026-01-01T00:00:01.000Z", "completed_at": "2026-01-01T00:00:02.999Z", "fields": {"task": "do"},
    }  # fmt: skip
    return json.dumps({**whole, **changes}).encode()


def test_migrating_twice_and_at_once_does_it_once(url: str, postgres_server: PostgresServer) -> None:
    """What is missing is named before, nothing after."""
    database = Database(url)
    with pytest.raises(HistoryRefused) as refused:
        jobs.write(database, [record()])
    assert refused.value.unmigrated
    assert migrations.missing(database) == MIGRATIONS
    assert migrations.migrate(database) == MIGRATIONS
    assert migrations.migrate(database) == migrations.missing(database) == []
    database.close()


def test_a_record_comes_back_as_it_was_whatever_is_in_it(url: str) -> None:
    """Also what PostgreSQL has no room for: then U+FFFD stands for it."""
    database = Database(url)
    migrations.migrate(database)
    plain = record(output={"b": [1, 2.5, None], "a": "ü"}, fields={"task": "x", "n": "7"})
    jobs.write(database, [plain])
    assert jobs.read(database, "j") == json.loads(plain)
    odd = record(jobId="odd", task="a\0b", output="\ud800", fields={"\0": "\udfff"})
    jobs.write(database, [odd])
    found = jobs.read(database, "odd")
    assert found is not None
    assert (found["task"], found["output"], found["fields"]) == ("a\ufffdb", "\ufffd", {"\ufffd": "\ufffd"})
    assert jobs.read(database, "other") is None
    with pytest.raises(HistoryRefused) as refused:
        jobs.write(database, [b'{"jobId":"half"}'])
    assert refused.value.data
    database.close()


def test_ids_of_any_length_have_room(url: str) -> None:
    """What no index takes is named by its hash; the record keeps the id."""
    database = Database(url)
    migrations.migrate(database)
    for size in (2000, 2001, 50_000):
        long = "".join(random.Random(size).choices(string.ascii_letters, k=size))
        for status in ("running", "completed"):
            jobs.write(database, [record(jobId=long, workflowId=long, userId=long, status=status)])
        found = jobs.read(database, long)
        assert found is not None
        assert (found["jobId"], found["workflowId"], found["status"]) == (long, long, "completed")
    database.close()


FAULTS = {
    "53100": (HistoryUnavailable, "make room"),  # the disk is full
    "53200": (HistoryUnavailable, "make room"),
    "25006": (HistoryUnavailable, "takes writes"),
    "57014": (HistoryUnavailable, "is up"),  # a timeout of the server's own
    "55P03": (HistoryUnavailable, "is up"),
    "57P01": (HistoryUnavailable, "is up"),
    "42501": (HistoryRefused, "rights"),
}


def test_what_the_database_can_not_do_now_is_told_with_what_to_do(url: str, postgres_server: PostgresServer) -> None:
    """Nothing of it is laid to the rows; then it writes again by the same object."""
    database = Database(url)
    migrations.migrate(database)
    for state, (kind, fix) in FAULTS.items():
        postgres_server.fail_writes(url, "jobs", state)
        with pytest.raises(HistoryError) as failed:
            jobs.write(database, [record()])
        assert (type(failed.value), fix in failed.value.fix) == (kind, True), state
        assert not getattr(failed.value, "data", False)
        assert "said by the server" in str(failed.value)
    for state in ("22023", "23514", "54000"):
        postgres_server.fail_writes(url, "jobs", state)
        with pytest.raises(HistoryRefused) as refused:
            jobs.write(database, [record()])
        assert refused.value.data, "others are written"
    postgres_server.fail_writes(url, "jobs", "")
    jobs.write(database, [record()])
    assert jobs.read(database, "j") is not None
    database.close()


def test_a_database_that_takes_no_writes_is_seen_before_any(url: str, postgres_server: PostgresServer) -> None:
    """A standby, a user of too few rights, no connection left: each with what to do."""
    database = Database(url)
    migrations.migrate(database)
    jobs.must_be_writable(database)
    database.close()
    name = url.rpartition("/")[2]
    postgres_server.ask(url, f"CREATE USER {name}")
    poor = Database(postgres_server.url(name, user=name))
    postgres_server.ask(url, f"GRANT SELECT, INSERT ON jobs TO {name}")
    with pytest.raises(HistoryRefused, match="may not write") as refused:
        jobs.must_be_writable(poor)
    assert "docs/ROLES.md" in refused.value.fix
    postgres_server.ask(url, f"GRANT UPDATE ON jobs TO {name}")
    jobs.must_be_writable(poor)
    poor.close()
    postgres_server.ask(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    for look in (jobs.must_be_writable, lambda database: jobs.write(database, [record()])):
        with pytest.raises(HistoryUnavailable) as unavailable:
            look(poor)
        assert "takes writes" in unavailable.value.fix
    poor.close()
    postgres_server.ask(postgres_server.url(), f"ALTER DATABASE {name} CONNECTION LIMIT 0")
    with pytest.raises(HistoryUnavailable, match="too many connections"):
        jobs.must_be_writable(poor)


def test_a_late_writer_never_puts_back_what_was_overtaken(url: str) -> None:
    """A later entry, an end, a later run: each stands against what comes before it."""
    database = Database(url)
    migrations.migrate(database)
    running = {"status": "running", "output": None, "completed_at": None}
    states = [
        record(status="pending", attempt=0, output=None, started_at=None, completed_at=None),
        record(**running),
        record(**running, attempt=2),
        record(attempt=2, output="first"),
        record(**running, entry_id="1700000000000-10"),
        record(entry_id="1700000000001-0", output="last"),
    ]
    for number, state in enumerate(states):
        jobs.write(database, [state])
        for older in states[:number]:
            jobs.write(database, [older])
        assert jobs.read(database, "j") == json.loads(state)
    database.close()


def test_prune_deletes_what_ended_long_ago_and_nothing_else(url: str) -> None:
    database = Database(url)
    migrations.migrate(database)
    open_ = record(jobId="open", status="running", completed_at=None)
    fresh = record(jobId="fresh", completed_at="2999-01-01T00:00:00.000Z")
    jobs.write(database, [record(jobId="old"), open_, fresh])
    assert jobs.prune(database, 90 * 86400) == 1
    assert [jobs.read(database, name) is not None for name in ("old", "open", "fresh")] == [False, True, True]
    database.close()
