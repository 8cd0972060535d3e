"""
Jobs of roles: one question to a model each, or an agent where the role has tools.

A role is data; its job becomes the config of a node, and goes the way of all nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from executor_worker.broker import Claim, JournalKeys, Settlement, added_at
from executor_worker.broker.queue.source import Source
from executor_worker.broker.roles.jobs import cancel_key, record_key
from executor_worker.broker.roles.source import JobCommit
from executor_worker.envelopes.role_job import (
    RoleJob,
    check_size,
    decode_job,
    letter_fields,
    record,
    update,
)
from executor_worker.errors import InvalidItem
from executor_worker.nodes.executor import Task
from executor_worker.nodes.templates import Scope
from executor_worker.outcome import Failed
from executor_worker.worker.journal import LAST_RECORD
from executor_worker.worker.kinds.kind import Draft, Kind
from executor_worker.worker.kinds.telling import failed_instead, letter_of
from executor_worker.worker.limits import Limits
from executor_worker.worker.poisoned import answer_of_history
from executor_worker.worker.stages import Conclusion, Decision, Run, Stamp, Work

NOT_RUN = "the job was cancelled before it was run"


@dataclass(frozen=True, slots=True)
class RoleSpec:
    """
    The node that a role asks for.

    Attributes:
        model: Named by the role or by its pool.
        message: A template, or an object of templates, which becomes JSON text.
        needs_payload: A job without a task runs if it has a payload.
    """

    name: str
    stream: str
    model: str
    message: str | dict[str, Any]
    system: str = ""
    max_tokens: int | None = None
    temperature: float | None = None
    tools: tuple[str, ...] = ()
    output_schema: dict[str, Any] | None = None
    model_from_job: bool = False
    needs_payload: bool = False

    def config(self, job: RoleJob) -> dict[str, Any]:
        """Write the config of the node that a job is."""
        model = (job.fields.get("model") if self.model_from_job else "") or self.model
        asked = {
            "model": model,
            "prompt": self.message if isinstance(self.message, str) else None,
            "system": self.system or None,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "output_schema": self.output_schema,
        }
        config: dict[str, Any] = {"llm_config": {name: value for name, value in asked.items() if value is not None}}
        return {**config, "tools": list(self.tools)} if self.tools else config


@dataclass(slots=True)
class JobWork(Work):
    """A job and the role it is for."""

    job: RoleJob | None = None
    role: RoleSpec | None = None


class RoleKind(Kind[JobWork]):
    """
    Args:
        ttl_s: Of records and journals.
    """

    def __init__(self, roles: Sequence[RoleSpec], source: Source, limits: Limits, ttl_s: float) -> None:
        self.source = source
        self._roles = {role.stream: role for role in roles}
        self._limits = limits
        self._ttl_s = ttl_s

    def begin(self, claim: Claim, taken_at: float, began: float) -> JobWork:
        return JobWork(claim, claim.held, claim.held.attempt, taken_at, began)

    def read(self, work: JobWork) -> None:
        held = work.held
        work.role = role = self._roles[held.stream]
        work.job = job = decode_job(role.name, held.stream, held.entry, work.claim.delivery.fields)
        work.graph_id, work.node_id, work.node_type = role.name, job.job_id, "role"
        work.execution_id = job.workflow_id
        with suppress(UnicodeDecodeError):  # else no keeper can look for it
            work.watched = cancel_key(_raw_id(work)).decode()
        work.config = role.config(job)

    def decide(self, work: JobWork, failure_code: str) -> Decision:
        assert work.job is not None
        assert work.role is not None
        job, role = work.job, work.role
        try:
            check_size(work.claim.delivery.fields, self._limits.max_item_bytes)
            if not job.task.strip() and not (role.needs_payload and job.payload is not None):
                wanted = "neither a task nor a payload" if role.needs_payload else "no task"
                raise InvalidItem(f"the job has {wanted}: there is nothing to ask the model")
        except InvalidItem as error:
            return Conclusion(Failed.of(error), "invalid_item")
        if work.claim.delivery.brought:
            return Conclusion(Failed(NOT_RUN, "cancelled"))
        answer = answer_of_history(work.held.attempt, failure_code, self._limits)
        return answer or Run(_task(role, job, work.config or {}), self._limits.node_timeout_s)

    def give_up(self, work: JobWork, error: str) -> Conclusion:
        return Conclusion(Failed(error, "internal"), "invalid_item" if work.job is None else None)

    def journal(self, work: JobWork) -> JournalKeys:
        return work.claim.journal(ttl_s=self._ttl_s)

    def is_cancelled(self, work: JobWork) -> bool:
        return bool(work.claim.ask(lambda link: link.call("EXISTS", cancel_key(_raw_id(work)))))

    def draft(self, work: JobWork, conclusion: Conclusion, stamp: Stamp) -> Draft:
        return _JobDraft(work, conclusion, stamp, self._ttl_s)


def _raw_id(work: JobWork) -> bytes:
    """The job's id as Redis has it."""
    held = work.held
    return work.claim.delivery.fields.get(b"jobId") or f"{held.stream}/{held.entry}".encode()


def _task(role: RoleSpec, job: RoleJob, config: dict[str, Any]) -> Task:
    """
    Prepare the node that a job is.

    Raises:
        TemplateError: The role's message names what a job has not.
    """
    inputs = job.inputs
    message = Scope(inputs, {}).value(role.message, "message") if isinstance(role.message, dict) else None
    return Task(role.name, job.job_id, "role", config, inputs, {}, message=message)


class _JobDraft(Draft):
    """A job's record, its update, and its dead letter where it is dead."""

    def __init__(self, work: JobWork, conclusion: Conclusion, stamp: Stamp, ttl_s: float) -> None:
        self.conclusion = conclusion
        self._work = work
        self._stamp = stamp
        self._ttl_s = ttl_s

    def commit(self) -> JobCommit:
        try:
            return self._commit()
        except ValueError as error:
            text = f"the job's output can't be written as JSON: {error}"
            self.conclusion = failed_instead(self.conclusion, text, "llm_bad_response")
            return self._commit()

    def heed(self, answer: Settlement) -> bool:
        return False

    def _commit(self) -> JobCommit:
        work, stamp, outcome = self._work, self._stamp, self.conclusion.outcome
        job = work.job
        assert job is not None
        assert outcome is not None, "a job always comes to something"
        letter = letter_of(work, self.conclusion, stamp)
        return JobCommit(
            record_key=record_key(_raw_id(work)),
            record=record(
                job,
                outcome,
                status="failed" if isinstance(outcome, Failed) else "completed",
                worker_id=stamp.worker_id,
                attempt=work.last_attempt(self.conclusion),
                created_at=added_at(work.held.entry),
                started_at=work.taken_at,
                completed_at=stamp.now,
            ),
            cancel_key=cancel_key(_raw_id(work)),
            ttl_s=self._ttl_s,
            update=update(job, outcome, stamp.now),
            letter=letter_fields(work.claim.delivery.fields, letter) if letter is not None else [],
            journal=self.conclusion.journal,
            last_record=LAST_RECORD,
        )
