"""Jobs from outside: put up, looked at, not wanted any more."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import script
from executor_worker.broker.names import CANCELLED_JOB_PREFIX, JOB_PREFIX
from executor_worker.broker.roles.unwritten import record_parts
from executor_worker.envelopes.role_job import decode_job, record
from executor_worker.json_text import dumps

LONGEST_ID = 200  # bytes
_PLACE = "0-0"  # stands for the entry's id until there is one


def record_key(job_id: bytes) -> bytes:
    """Return the key of a job's record: under its id, or its hash if that is long."""
    return JOB_PREFIX.encode() + _keyed(job_id)


def cancel_key(job_id: bytes) -> bytes:
    """Return the key that says that a job is not wanted any more."""
    return CANCELLED_JOB_PREFIX.encode() + _keyed(job_id)


def add_job(
    link: Link, role: str, stream: str, fields: Mapping[str, str], *, now: float, ttl_s: float, history: bool = False
) -> str:
    """
    Put a job with an id on its role's stream, its record beside it.

    Args:
        now: Seconds since the epoch.
        history: Records are written to a database too.

    Returns:
        The entry's id.

    Raises:
        StreamUnavailable: No reply, or Redis is full: it may have been added.
    """
    raw = {name.encode(): value.encode("utf-8", "replace") for name, value in fields.items()}
    job = replace(decode_job(role, stream, _PLACE, raw), entry=_PLACE)
    text = record(job, None, status="pending", worker_id=None, attempt=0, created_at=now)
    before, _, after = text.partition(b'"entry_id":"0-0"')
    words: list[Word] = [before + b'"entry_id":"', b'"' + after, int(ttl_s * 1000)]
    flat: list[Word] = [word for pair in raw.items() for word in pair]
    submit = script("roles/submit", "standing", *record_parts(history), flags="")
    entry: bytes = link.run(submit, [stream, record_key(raw[b"jobId"])], [*words, *flat])
    return entry.decode()


def read_job(link: Link, job_id: str) -> bytes | None:
    """
    Read a job's record; None if there is none.

    Raises:
        StreamUnavailable: No reply.
    """
    found: bytes | None = link.call("GET", record_key(job_id.encode()))
    return found


def cancel_job(link: Link, job_id: str, *, ttl_s: float) -> None:
    """
    Let a job be ended where it runs, and not be run where it waits.

    Raises:
        StreamUnavailable: No reply.
    """
    document = dumps({"graph_id": job_id, "status": "cancelled", "inputs": {}, "node_states": {}})
    link.call("SET", cancel_key(job_id.encode()), document, "PX", int(ttl_s * 1000))


def _keyed(job_id: bytes) -> bytes:
    long = len(job_id) > LONGEST_ID
    return hashlib.sha1(job_id, usedforsecurity=False).hexdigest().encode() if long else job_id
