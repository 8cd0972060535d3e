"""A job of a role: what comes in flat fields, the record kept of it, and the update its hub delivers; no Redis here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from executor_worker.envelopes.events import rfc3339
from executor_worker.errors import InvalidItem
from executor_worker.json_text import dumps, loads
from executor_worker.outcome import Completed, Failed, Outcome

UNKNOWN_WORKFLOW = "unknown"
MOST_FIELDS = 1000
LETTER_FIELDS = ("original_id", "failed_at", "reason", "error", "deliveries", "consumer")
"""What a dead letter holds beside the job's own fields."""
_RENAMED = "job."


@dataclass(slots=True)
class RoleJob:
    """
    One job, as it came and as it is meant.

    Attributes:
        job_id: Derived from the entry if the job brings none.
        payload: Its JSON value; the text if it is no JSON; None if there is none.
        fields: All of it, bytes that are no text as escapes.
    """

    role: str
    entry: str
    job_id: str
    workflow_id: str
    user_id: str
    project_id: str
    connection_id: str
    task: str
    payload: Any
    fields: dict[str, str] = field(repr=False)

    @property
    def node_id(self) -> str:
        """The editor's node it is for; "" if none is named."""
        if self.fields.get("nodeId"):
            return self.fields["nodeId"]
        inside = self.payload if isinstance(self.payload, dict) else {}
        found = inside.get("nodeId") or inside.get("NodeId")
        return found if isinstance(found, str) else "" if found is None else dumps(found).decode()

    @property
    def workflow_group(self) -> str:
        """
        The hub's group that gets its update.

        A group that was never joined swallows an update, so a workflow stands for one only if there is no other way.
        """
        if self.fields.get("workflowGroup"):
            return self.fields["workflowGroup"]
        return "" if self.connection_id or self.user_id else self.fields.get("workflowId", "")

    @property
    def inputs(self) -> dict[str, Any]:
        """The inputs that a role's templates can name."""
        return {
            "jobId": self.job_id,
            "workflowId": self.workflow_id,
            "userId": self.user_id,
            "projectId": self.project_id,
            "connectionId": self.connection_id,
            "task": self.task,
            "payload": {} if self.payload is None else self.payload,
            "fields": self.fields,
        }


def decode_job(role: str, stream: str, entry: str, fields: Mapping[bytes, bytes]) -> RoleJob:
    """Read a job; whatever it holds is one."""
    known = {readable(name): readable(value) for name, value in fields.items()}
    return RoleJob(
        role=role,
        entry=entry,
        job_id=known.get("jobId") or derived_id(stream, entry),
        workflow_id=known.get("workflowId", UNKNOWN_WORKFLOW),
        user_id=known.get("userId", ""),
        project_id=known.get("projectId", ""),
        connection_id=known.get("connectionId", ""),
        task=known.get("task", ""),
        payload=_payload(known.get("payload", "")),
        fields=known,
    )


def derived_id(stream: str, entry: str) -> str:
    """Name a job that brings no name: the same at each delivery."""
    return f"{stream}/{entry}"


def check_size(fields: Mapping[bytes, bytes], most_bytes: int) -> None:
    """
    Raises:
        InvalidItem: It is larger than items may be.
    """
    size = sum(len(name) + len(value) for name, value in fields.items())
    if size > most_bytes:
        raise InvalidItem(f"the job has {size} bytes, the limit is {most_bytes}")
    if len(fields) > MOST_FIELDS:
        raise InvalidItem(f"the job has {len(fields)} fields, the limit is {MOST_FIELDS}")


def output_of(outcome: Outcome) -> Any:
    """The answer of a job's model: text, a value if a schema was asked for, an agent's result."""
    if not isinstance(outcome, Completed):
        return None
    output = outcome.output
    if not isinstance(output, dict):
        return output
    return next((output[name] for name in ("parsed", "result", "content") if name in output), output)


def record(
    job: RoleJob,
    outcome: Outcome | None,
    *,
    status: str,
    worker_id: str | None,
    attempt: int,
    created_at: float,
    started_at: float | None = None,
    completed_at: float | None = None,
) -> bytes:
    """
    Write what is kept of a job; times in seconds since the epoch.

    `entry_id` stands before whatever the job brings: the scripts look for its first place.

    Raises:
        ValueError: The output is no JSON value.
    """
    failed = outcome if isinstance(outcome, Failed) else None
    usage = outcome.usage if outcome is not None else None
    return dumps(
        {
            "jobId": job.job_id,
            "role": job.role,
            "entry_id": job.entry,
            "status": status,
            "output": output_of(outcome) if outcome is not None else None,
            "error": failed.error if failed else None,
            "error_code": failed.code if failed else None,
            "usage": usage.as_json() if usage is not None else None,
            "task": job.task,
            "workflowId": job.workflow_id,
            "userId": job.user_id,
            "projectId": job.project_id,
            "worker_id": worker_id,
            "attempt": attempt,
            "created_at": rfc3339(created_at),
            "started_at": rfc3339(started_at) if started_at is not None else None,
            "completed_at": rfc3339(completed_at) if completed_at is not None else None,
            "fields": job.fields,
        }
    )


def update(job: RoleJob, outcome: Outcome, now: float) -> dict[str, bytes | str]:
    """
    Write the fields that the hub reads, all nine of them, and two names of ours that it passes over.

    Raises:
        ValueError: The output is no JSON value.
    """
    return {
        "MessageId": job.job_id,
        "NodeId": job.node_id,
        "ProjectId": job.project_id,
        "UserId": job.user_id,
        "ClientConnectionId": job.connection_id,
        "WorkflowGroup": job.workflow_group,
        "Type": "result" if isinstance(outcome, Completed) else "error",
        "Payload": _said(outcome),
        "Timestamp": rfc3339(now),
        "connectionId": job.connection_id,
        "jobId": job.job_id,
    }


def letter_fields(fields: Mapping[bytes, bytes], about: Mapping[str, bytes | str]) -> list[bytes | str]:
    """Names and values of a dead letter: the job's own as they came, and what is said *about* it."""
    words: list[bytes | str] = []
    for name, value in fields.items():
        taken = name.decode("utf-8", "replace") in LETTER_FIELDS
        words += (_RENAMED.encode() + name if taken else name, value)
    return words + [word for pair in about.items() for word in pair]


def job_of_letter(fields: Mapping[str, bytes]) -> list[Any]:
    """Names and values of the job that a dead letter was."""
    own = ((name, value) for name, value in fields.items() if name not in LETTER_FIELDS)
    return [word for name, value in own for word in (_own_name(name), value)]


def _own_name(name: str) -> str:
    bare = name.removeprefix(_RENAMED)
    return bare if bare in LETTER_FIELDS else name


def _payload(text: str) -> Any:
    if not text:
        return None
    try:
        return loads(text.encode())
    except ValueError:
        return text


def _said(outcome: Outcome) -> bytes | str:
    if isinstance(outcome, Failed):
        return dumps({"error": outcome.error, "error_code": outcome.code})
    output = output_of(outcome)
    return output if isinstance(output, str) else dumps(output)


def readable(data: bytes) -> str:
    """*data* as text; bytes that are none as escapes."""
    return data.decode("utf-8", "backslashreplace")
