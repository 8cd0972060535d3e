"""Kinds of work that a pool serves, and the consumer that takes it for a worker or the keeper."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from executor_worker.broker import Consumer, Link, Made
from executor_worker.broker.queue.source import Sources
from executor_worker.envelopes.queue_name import NOTHING
from executor_worker.program.place_limits import place_limits
from executor_worker.program.role_queues import chat_kind, role_kind
from executor_worker.settings import Settings
from executor_worker.settings.role_table import CHAT
from executor_worker.telemetry import logs
from executor_worker.worker.kinds import Kind, Kinds, by_name, sources_of
from executor_worker.worker.kinds.document import DocumentKind
from executor_worker.worker.kinds.document_cases import Read
from executor_worker.worker.kinds.run import RunKind
from executor_worker.worker.limits import Limits
from executor_worker.worker.output import rendered
from supervisor.scoreboard.scoreboard import Head


def kinds_of(settings: Settings, insist: Callable[[Read], bytes | None] = lambda read: read()) -> Kinds:
    """The kinds of work served; if several would read an entry the first has it."""
    named = frozenset(settings.limits)
    limits = Limits(settings.node_timeout, settings.max_deliveries, settings.max_item_bytes, named)
    ttl_s, queues = int(settings.state_ttl), settings.queues
    roles: list[Kind[Any]] = [role_kind(settings, limits)] if settings.role_table else []
    roles += [chat_kind(settings, limits)] if CHAT in settings.roles else []
    if queues == (NOTHING,):
        return by_name(*roles)
    graphs = (
        RunKind(limits, ttl_s, rendered, queues, settings.timeout_node_execution),
        DocumentKind(limits, ttl_s, insist, queues),
    )
    return by_name(*roles, *graphs)


def sources(settings: Settings, kinds: Kinds) -> Sources:
    """The streams they are read from, and the limits they are under."""
    return sources_of(kinds, place_limits(settings))


def consumer_of(settings: Settings, head: Head, link: Link, name: str, kinds: Kinds) -> Consumer:
    """Make what takes *kinds* of work in the name of *name*."""
    return Consumer(
        link,
        name,
        lease_s=settings.lease,
        sources=sources(settings, kinds),
        delete_settled=settings.delete_settled,
        failures=settings.failures_to_completed,
        group_made=partial(note_group, head),
        memory=head,
    )


def note_group(head: Head, made: Made) -> None:
    """Say that a consumer group was made, and if it had been there before, what that means."""
    if made.lost:
        head.lost_wall_ns = time.time_ns()
        advice = "entries may be seen again" if made.start == "0-0" else "entries in flight may have been missed"
        logs.error("group.lost", stream=made.stream, created_again_at=made.start, advice=advice)
    else:
        logs.debug("group.created", stream=made.stream, at=made.start)
