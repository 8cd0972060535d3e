"""Lists of runs, newest first, by a filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs.heads import Head, head_of, head_requests
from executor_worker.broker.graphs.requests import Steps
from executor_worker.broker.names import listing_key


@dataclass(frozen=True, slots=True)
class Filter:
    """
    The filter of a list of runs; all that is given must hold.

    Attributes:
        labels: Names and values; of a name with two values there is no run.
        since_ms, until_ms: Of the submission, in ms since the epoch; below 0: so long ago, by Redis' clock.
    """

    status: str = ""
    name: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    since_ms: int | None = None
    until_ms: int | None = None
    q: str = ""
    code: str = ""

    @property
    def by_index(self) -> bool:
        """Tell whether Redis can count them."""
        return not (self.name or self.labels or self.q or self.code or self.since_ms or self.until_ms)

    def takes(self, head: Head) -> bool:
        """Tell whether *head* is wanted; status and times are asked of the index."""
        if self.name and head.name != self.name:
            return False
        if any(head.labels.get(key) != value for key, value in self.labels):
            return False
        if self.code and (head.error or {}).get("error_code") != self.code:
            return False
        texts = [head.graph_id, head.name, *head.labels, *head.labels.values()]
        return not self.q or any(self.q.casefold() in text.casefold() for text in texts)


@dataclass(frozen=True, slots=True)
class Listing:
    """Attributes: runs (newest first), total (None: unknown), next_cursor (None: there is no more)."""

    runs: list[Head]
    total: int | None
    next_cursor: str | None


def listing(wanted: Filter, limit: int = 20, cursor: str = "", offset: int = 0) -> Steps[Listing]:
    """List runs, newest first; *cursor* is where an earlier listing ended."""
    status = "running" if wanted.status in ("submitted", "running", "pending") else wanted.status
    key = listing_key(status)
    highest, lowest = yield from _bounds(wanted)
    total = None
    if wanted.by_index:
        (total,) = checked((yield [(b"ZCARD", key)]))
    at, skip, last = offset if wanted.by_index else 0, 0 if wanted.by_index else offset, ""
    if cursor:
        highest, _, last = cursor.partition("_")
        at = 0
    found: list[Head] = []
    while True:
        (reply,) = checked((yield [(b"ZREVRANGEBYSCORE", key, highest, lowest, "LIMIT", at, max(limit + 1, 50))]))
        ids = [name.decode() for name in reply]
        at += len(ids)
        heads = yield from _heads([name for name in ids if not last or name < last])
        for one in heads:
            if not wanted.takes(one) or (wanted.status and wanted.status != one.status and status != "running"):
                continue
            if skip:
                skip -= 1
            elif len(found) == limit:
                return Listing(found, total, f"{found[-1].submitted_at_ms}_{found[-1].graph_id}")
            else:
                found.append(one)
        if len(ids) < max(limit + 1, 50):
            return Listing(found, total, None)


def _bounds(wanted: Filter) -> Steps[tuple[str, str]]:
    """Answer the highest and the lowest score in the index."""
    now_ms = 0
    if min(wanted.since_ms or 0, wanted.until_ms or 0) < 0:
        (now,) = checked((yield [(b"TIME",)]))
        now_ms = int(now[0]) * 1000 + int(now[1]) // 1000

    def score(at_ms: int | None, unbounded: str) -> str:
        return unbounded if at_ms is None else str(max(at_ms + now_ms, 0) if at_ms < 0 else at_ms)

    return score(wanted.until_ms, "+inf"), score(wanted.since_ms, "-inf")


def _heads(ids: Sequence[str]) -> Steps[list[Head]]:
    if not ids:
        return []
    replies = checked((yield [request for name in ids for request in head_requests(name)]))
    heads = [head_of(fields, seq) for fields, seq in zip(replies[::2], replies[1::2], strict=True)]
    return [one for one in heads if one is not None]
