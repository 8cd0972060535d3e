"""Reclaim hints that the keeper puts on the scoreboard for all workers: entries that no worker has in hand."""

from __future__ import annotations

from collections.abc import Iterable


def read_notice(notice: str) -> list[tuple[str, str]]:
    """Read pairs of stream and entry as `write_notice` wrote them; a last one that was cut off is left out."""
    return [(stream, entry) for stream, _, entry in (pair.partition(" ") for pair in notice.split(";")[:-1])]


def write_notice(stale: Iterable[tuple[str, str]]) -> str:
    """Write pairs of stream and entry for `read_notice`."""
    return "".join(f"{stream} {entry};" for stream, entry in stale)
