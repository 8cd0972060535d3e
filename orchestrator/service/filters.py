"""Filters of a list of runs, read from a request's words."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from executor_worker.broker.graphs import runs
from executor_worker.graph import durations
from orchestrator.errors import InvalidRequest

STATUSES = ("submitted", "pending", "running", "completed", "failed", "cancelled")


_WORDS = ("status", "name", "label", "labels", "since", "until", "q", "code")


def filter_of(given: Any) -> runs.Filter:
    """
    Read a filter from JSON, as a list's query has it.

    Raises:
        InvalidRequest: It is none, or holds what is none.
    """
    if not isinstance(given, dict) or not given:
        raise InvalidRequest("'filter' has to be an object that says which runs are meant")
    strange = [name for name in given if name not in _WORDS]
    if strange:
        raise InvalidRequest(f"'filter' knows no {strange[0]!r}; it knows {', '.join(_WORDS)}")
    labels = given.get("labels", given.get("label", []))
    if isinstance(labels, dict):
        labels = [f"{name}:{value}" for name, value in labels.items()]
    labels = [labels] if isinstance(labels, str) else labels
    texts = {name: given[name] for name in ("status", "name", "q", "code") if given.get(name) is not None}
    if not isinstance(labels, list) or not all(isinstance(one, str) for one in (*labels, *texts.values())):
        raise InvalidRequest("what 'filter' holds has to be texts")
    times = {name: time_in(given[name], name) for name in ("since", "until") if given.get(name) is not None}
    return listed_filter(**texts, since=times.get("since"), until=times.get("until"), labels=labels)


def time_in(text: Any, name: str) -> int:
    """
    Read a time in ms since the epoch: one of RFC 3339, or a duration before now, below 0, by Redis' clock.

    Raises:
        InvalidRequest: It is neither.
    """
    ago_s = durations.seconds(text)
    if ago_s is not None and not isinstance(text, int | float):
        return -max(int(ago_s * 1000), 1)
    try:
        return int(datetime.fromisoformat(str(text)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise InvalidRequest(f"{name!r} has to be a time such as 2027-01-31T12:00:00Z, or how long ago: 1h") from None


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
    return runs.Filter(status, name, tuple((key, value) for key, _, value in pairs), since, until, q, code)
