"""Which runs a list shows, from the words somebody has given."""

from __future__ import annotations

from collections.abc import Iterable

from executor_worker.broker.graphs import runs
from orchestrator.errors import InvalidRequest

STATUSES = ("submitted", "pending", "running", "completed", "failed", "cancelled")


def listed_filter(
    *,
    status: str = "",
    name: str = "",
    labels: Iterable[str] = (),
    since: int | None = None,
    until: int | None = None,
    q: str = "",
    code: str = "",
) -> runs.Filter:
    """
    Read a filter.

    Args:
        labels: Each `key:value`; all have to be there.
        since, until: Of the submission, in ms since the epoch.

    Raises:
        InvalidRequest: A status or label is none.
    """
    if status and status not in STATUSES:
        raise InvalidRequest(f"'status' has to be one of {', '.join(STATUSES)}")
    pairs = [label.partition(":") for label in labels]
    if not all(key and colon for key, colon, _ in pairs):
        raise InvalidRequest("'label' has to be key:value")
    return runs.Filter(status, name, {key: value for key, _, value in pairs}, since, until, q, code)
