"""The source of roles' jobs in Redis, and what settling one writes there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.script import LuaText
from executor_worker.broker.names import (
    MARKERS,
    RESETS,
    ROLE_GROUP,
    UPDATES_STREAM,
    dead_stream,
)
from executor_worker.broker.queue.commit import Terms
from executor_worker.broker.queue.delivery import Held
from executor_worker.broker.queue.source import SettleScript, Source, quoted
from executor_worker.broker.roles.unwritten import record_parts

SETTLE_JOB = SettleScript("roles/settle")


@dataclass(frozen=True, slots=True)
class RoleQueue:
    """
    A role as Redis has to know it.

    Attributes:
        limits: Names of the limits its jobs are under.
    """

    role: str
    stream: str
    limits: tuple[str, ...] = ()


def role_source(queues: Sequence[RoleQueue], *, ttl_s: float, start: str, history: bool = False) -> Source:
    """
    Args:
        ttl_s: Of records.
        start: Where a group begins that is not there yet.
        history: Records are written to a database too.
    """
    lines = [_entry(one) for one in queues]
    lines.append(f"record_ttl_ms = {int(ttl_s * 1000)}")
    return Source(
        "role",
        tuple(one.stream for one in queues),
        (*record_parts(history), "kinds/role", LuaText("roles", "\n".join(lines))),
        (SETTLE_JOB,),
        group=ROLE_GROUP,
        start=start,
    )


def _entry(queue: RoleQueue) -> str:
    limits = ", ".join(map(quoted, queue.limits))
    kept = f", limits = {{{limits}}}" if limits else ""
    return f"roles[{quoted(queue.stream)}] = {{name = {quoted(queue.role)}{kept}}}"


@dataclass(slots=True)
class JobCommit:
    """
    The commit that settles a job.

    Attributes:
        record: As it is now; laid down unless a later job of the same id has its own.
        update: Names and values of the entry that the hub reads.
        letter: The same of a dead letter; empty if the job is not dead.
        journal: The run's; None if none was kept.
    """

    record_key: bytes | str
    record: bytes
    cancel_key: bytes | str
    ttl_s: float
    update: dict[str, bytes | str] = field(default_factory=dict)
    letter: list[bytes | str] = field(default_factory=list)
    journal: str | None = None
    last_record: bytes = b""

    @property
    def script(self) -> SettleScript:
        return SETTLE_JOB

    def words(self, held: Held, terms: Terms) -> tuple[list[Word], list[Word]]:
        """KEYS and ARGV of roles/settle.lua; see `Commit`."""
        keys: list[Word] = [
            held.stream, MARKERS, RESETS, self.record_key, UPDATES_STREAM, dead_stream(held.stream),
            self.journal or MARKERS, self.cancel_key,
        ]  # fmt: skip
        update: list[Word] = [word for pair in self.update.items() for word in pair]
        words: list[Word] = [
            terms.group, held.consumer, held.entry, held.count, self.record, int(self.ttl_s * 1000),
            b"1" if terms.delete_settled else b"", self.last_record if self.journal else b"",
            len(update), *update, len(self.letter), *self.letter,
        ]  # fmt: skip
        return keys, words
