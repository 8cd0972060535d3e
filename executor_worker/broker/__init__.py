"""
Redis, and the only place that knows it.

A worker has a `Consumer`, which gives out a `Claim` for each item; the keeper renews leases, sweeps, trims and keeps
the registry with the modules of those names.
"""

from executor_worker.broker.connection.endpoint import Endpoint
from executor_worker.broker.connection.link import Link
from executor_worker.broker.names import (
    COMPLETED_STREAM,
    FAILED_STREAM,
    GROUP,
    JOURNAL_PREFIX,
    RELEASED_CHANNEL,
    RESULT_STREAMS,
    STATE_PREFIX,
    WORK_STREAMS,
    dead_stream,
    own_journal,
)
from executor_worker.broker.queue.commit import Settled
from executor_worker.broker.queue.consumer import Consumer
from executor_worker.broker.queue.delivery import Claim, Delivery, Held, Settlement, added_at
from executor_worker.broker.queue.document import DocumentCommit
from executor_worker.broker.queue.group import Made, ensure_groups
from executor_worker.broker.queue.journal import JournalKeys, Kept

__all__ = [
    "COMPLETED_STREAM",
    "FAILED_STREAM",
    "GROUP",
    "JOURNAL_PREFIX",
    "RELEASED_CHANNEL",
    "RESULT_STREAMS",
    "STATE_PREFIX",
    "WORK_STREAMS",
    "Claim",
    "Consumer",
    "Delivery",
    "DocumentCommit",
    "Endpoint",
    "Held",
    "JournalKeys",
    "Kept",
    "Link",
    "Made",
    "Settled",
    "Settlement",
    "added_at",
    "dead_stream",
    "ensure_groups",
    "own_journal",
]
