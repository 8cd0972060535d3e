"""Records of jobs in PostgreSQL: exact, each the latest there is, and bad ones leave the others alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from executor_worker.errors import HistoryRefused
from orchestrator.history import jobs, migrations
from orchestrator.history.database import Database
from tests.kit import PostgresServer


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
    assert migrations.missing(database) == ["0001_jobs"]
    assert migrations.migrate(database) == ["0001_jobs"]
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
