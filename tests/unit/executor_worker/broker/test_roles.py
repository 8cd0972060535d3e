"""Roles' jobs in Redis: whose record stays, which updates are trimmed, how much waits and who else reads."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from executor_worker.broker import Claim, Consumer, Link
from executor_worker.broker.names import ROLE_GROUP, UPDATES_STREAM
from executor_worker.broker.queue import trim
from executor_worker.broker.queue.source import Sources
from executor_worker.broker.roles.jobs import add_job, read_job
from executor_worker.broker.roles.outlook import look_at_queues
from executor_worker.broker.roles.source import JobCommit, RoleQueue, role_source
from tests.kit.waiting import wait_until
from tests.unit.executor_worker.broker.acts import Client

STREAM = "jobs:a"
SOURCES = Sources(role_source([RoleQueue("a", STREAM)], ttl_s=60, start="0"))

Make = Callable[..., Consumer]


def settle(claim: Claim, output: str) -> None:
    record = {"entry_id": claim.held.entry, "status": "completed", "output": output}
    raw = json.dumps(record, separators=(",", ":")).encode()
    claim.settle(JobCommit("dago:job:same", raw, "dago:executor:cancelled:same", 60, {"x": "y"}), take_next=False)


def test_of_two_jobs_of_one_id_the_later_entrys_record_stays(db: Client, consumer: Make, link: Link) -> None:
    """Both are run, in whatever order they end."""
    fields = {"jobId": "same", "task": "x"}
    for _ in range(2):
        add_job(link, "a", STREAM, fields, now=1e9, ttl_s=60)
    later_entry = db.xrevrange(STREAM, count=1)[0][0].decode()
    pending = json.loads(read_job(link, "same") or b"")
    assert (pending["status"], pending["entry_id"]) == ("pending", later_entry)
    earlier, later = (consumer(f"p.{slot}", sources=SOURCES).take() for slot in (1, 2))
    assert earlier is not None and later is not None
    assert json.loads(read_job(link, "same") or b"")["status"] == "running"
    settle(later, "later's")
    settle(earlier, "earlier's")
    assert json.loads(read_job(link, "same") or b"")["output"] == "later's"
    assert db.xlen(STREAM) == 0 and db.xlen(UPDATES_STREAM) == 2


def test_a_job_that_is_no_text_has_a_record_while_it_runs(db: Client, consumer: Make) -> None:
    """Bytes that are no UTF-8 stand as escapes; texts of all scripts as they are."""
    texts = {"task": 'ü ß 中 😀 \\ " \t', "x": b"\xff\x80a", "y": "ü".encode("latin-1")}
    db.xadd(STREAM, {"jobId": "odd", **texts})
    assert consumer("p.1", sources=SOURCES).take() is not None
    fields = json.loads(db.get("dago:job:odd") or b"")["fields"]
    assert fields == {"jobId": "odd", "task": texts["task"], "x": "\\xff\\x80a", "y": "\\xfc"}


def test_updates_wait_for_groups_that_are_there_and_for_no_others(
    db: Client, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group none of whose consumers came for a day keeps nothing."""
    for number in range(500):
        db.xadd(UPDATES_STREAM, {"n": str(number)})
    db.xgroup_create(UPDATES_STREAM, "hub", "0")
    db.xreadgroup("hub", "c", {UPDATES_STREAM: ">"}, count=1)
    assert trim.trim(link, 10, streams=(UPDATES_STREAM,)) == 0
    monkeypatch.setattr(trim, "DESERTED_S", 0.001)
    wait_until(lambda: trim.trim(link, 10, streams=(UPDATES_STREAM,)), 5, "it is trimmed")


def test_an_outlook_counts_what_waits_and_finds_others(db: Client, consumer: Make, link: Link) -> None:
    """Before the group is there all of it waits; then what the group has not read; ours are no others."""
    [none] = look_at_queues(link, [STREAM])
    assert (none.entries, none.waiting, none.grouped, none.left, none.foreign) == (0, 0, False, 0, [])
    for number in range(4):
        db.xadd(STREAM, {"jobId": str(number), "task": "x"})
    [old] = look_at_queues(link, [STREAM])
    assert (old.entries, old.waiting, old.grouped) == (4, 4, False)
    ours = consumer("p.1", sources=SOURCES).take()
    assert ours is not None
    db.set("dago:workers:p.1", "{}")
    db.xreadgroup(ROLE_GROUP, "executor-consumer", {STREAM: ">"}, count=2)
    [found] = look_at_queues(link, [STREAM])
    assert (found.waiting, found.grouped, found.left, found.foreign) == (1, True, 2, ["executor-consumer"])
