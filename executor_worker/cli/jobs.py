"""`submit --role` and `job`: jobs onto a role's queue, and what has become of one."""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

from executor_worker.broker.connection.link import Link
from executor_worker.broker.queue.queues import note_role_queues
from executor_worker.broker.roles.jobs import add_job, cancel_job, read_job
from executor_worker.cli.display import print_json, print_json_line
from executor_worker.cli.exits import DONE, FAILED, USAGE, Quit
from executor_worker.cli.files import read_documents
from executor_worker.envelopes.role_job import MOST_FIELDS
from executor_worker.errors import HistoryError
from executor_worker.json_text import dumps, loads
from executor_worker.program.history import history_of
from executor_worker.program.wiring import connect
from executor_worker.settings import Settings
from executor_worker.settings.role_table import Role, read_roles

LOOK_S = 0.1
OVER = ("completed", "failed")
Json = dict[str, Any]


def submit(settings: Settings, args: argparse.Namespace) -> int:
    role, ttl_s = _role(settings, args.role), settings.state_ttl
    jobs = _jobs(args)
    with closing(connect(settings)) as link:
        link.batch(note_role_queues([role.stream]))
        for job in jobs:
            add_job(
                link, role.name, role.stream, job, now=time.time(), ttl_s=ttl_s, history=bool(settings.database_url)
            )
            if not args.wait:
                print(job["jobId"], flush=True)
        if not args.wait:
            return DONE
        deadline = _deadline(args.timeout)
        records = []
        for job in jobs:
            records.append(_wait(link, job["jobId"], deadline))
            print_json_line(records[-1])
    return FAILED if any(one["status"] == "failed" for one in records) else DONE


def job(settings: Settings, args: argparse.Namespace) -> int:
    with closing(connect(settings)) as link:
        record = _read(link, args.id) or _read_history(settings, args.id)
        if args.cancel and (record is None or record["status"] not in OVER):
            cancel_job(link, args.id, ttl_s=settings.state_ttl)
        elif args.cancel:
            assert record is not None
            print(f"it is {record['status']} already: there is nothing to cancel", file=sys.stderr)
        if args.wait and (record is None or record["status"] not in OVER):
            record = _wait(link, args.id, _deadline(args.timeout))
        if record is None:
            more = " It is not run where it still waits." if args.cancel else ""
            raise Quit(FAILED, f"nothing is known of a job {args.id!r}.{more}")
    print_json(record)
    return FAILED if record["status"] == "failed" else DONE


def _role(settings: Settings, name: str) -> Role:
    known = read_roles(settings.roles_config, Path.cwd(), frozenset(), [])
    if name not in known:
        raise Quit(USAGE, f"{name!r} is no role; there are {', '.join(known)}, and those of ROLES_CONFIG.")
    return known[name]


def _jobs(args: argparse.Namespace) -> list[dict[str, str]]:
    """
    Read the jobs, each with an id.

    Raises:
        Quit: There are none, or one is no job.
    """
    given = {name: value for name, value in (("task", args.task), ("payload", args.payload)) if value is not None}
    if args.file is None and not given:
        raise Quit(USAGE, "name a FILE, or --task or --payload.")
    documents = read_documents(args.file) if args.file is not None else [b"{}"]
    return [_job(number, document, given) for number, document in enumerate(documents, 1)]


def _job(number: int, document: bytes, given: Json) -> dict[str, str]:
    value = loads(document)
    if not isinstance(value, dict) or len(value) > MOST_FIELDS:
        raise Quit(FAILED, f"job {number} must be an object of at most {MOST_FIELDS} fields.", "Nothing was submitted.")
    fields = {name: _text(one) for name, one in {**value, **given}.items() if one is not None}
    return {"jobId": fields.pop("jobId", "") or str(uuid.uuid4()), **fields}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value).decode()


def _deadline(timeout_s: float | None) -> float:
    return time.monotonic() + timeout_s if timeout_s is not None else float("inf")


def _read(link: Link, job_id: str) -> Json | None:
    raw = read_job(link, job_id)
    try:
        found = loads(raw) if raw is not None else None
    except ValueError:
        found = None
    return found if isinstance(found, dict) and "status" in found else None


def _read_history(settings: Settings, job_id: str) -> Json | None:
    """Read what Redis has forgotten; None if there is no database."""
    if not settings.database_url:
        return None
    with closing(history_of(settings)) as history:
        try:
            return history.job(job_id)
        except HistoryError as error:
            raise Quit(FAILED, f"Redis knows of no job {job_id!r}, and the database can't be asked: {error}.") from None


def _wait(link: Link, job_id: str, deadline: float) -> Json:
    while True:
        record = _read(link, job_id)
        if record is not None and record["status"] in OVER:
            return record
        if time.monotonic() >= deadline:
            raise Quit(FAILED, f"the job {job_id!r} has not ended in time.")
        time.sleep(LOOK_S)
