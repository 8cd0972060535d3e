"""Keep result streams from growing without end."""

from __future__ import annotations

from collections.abc import Sequence

from executor_worker.stream.link import Link
from executor_worker.stream.names import RESULT_STREAMS
from executor_worker.stream.script import script

AT_ONCE = 1000  # entries removed in one call
CALLS = 100  # calls in one pass over one stream; the rest is the next pass'


def trim(link: Link, keep: int, *, streams: Sequence[str] = RESULT_STREAMS) -> int:
    """
    Trim *streams* to about *keep* entries, but nothing that a group has not read yet.

    Returns:
        How many entries were removed.

    Raises:
        StreamUnavailable: No reply.
    """
    removed = 0
    for stream in streams:
        for _ in range(CALLS):
            some = link.run(script("trim"), [stream], [keep, AT_ONCE])
            removed += some
            if not some:
                break
    return removed
