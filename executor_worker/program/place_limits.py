"""Limits over all hosts, and queues of roles, as the settings have them; light, for commands that ask."""

from __future__ import annotations

from executor_worker.broker.connection.link import Link
from executor_worker.broker.queue.queues import known_role_queues
from executor_worker.broker.queue.source import PlaceLimits
from executor_worker.settings import Settings

ROLE_LIMIT, TOTAL = "role:", "roles"


def place_limits(settings: Settings) -> PlaceLimits:
    """Answer how many items may be run at once on all hosts, by the limit's name."""
    most = {ROLE_LIMIT + role.name: role.limit for role in settings.role_table if role.limit}
    total = {TOTAL: settings.max_total} if settings.max_total and settings.role_table else {}
    return PlaceLimits({**settings.limits, **most, **total}, settings.lease, bool(settings.limits))


def known_role_streams(settings: Settings, link: Link) -> tuple[str, ...]:
    """
    Name the queues of the roles that ROLES names, and those that any pool has served.

    Raises:
        StreamUnavailable: No reply.
    """
    return tuple(dict.fromkeys((*(role.stream for role in settings.role_table), *known_role_queues(link))))
