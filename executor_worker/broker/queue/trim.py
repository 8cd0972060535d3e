"""Keep result and progress streams from growing without end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import script
from executor_worker.broker.names import PROGRESS_STREAM, RESULT_STREAMS

AT_ONCE = 1000  # entries removed in one call
PASS_S = 0.5  # then the rest is the next pass': the caller has leases to renew, and Redis may be far away


def trim(link: Link, keep: int, *, streams: Sequence[str] = (*RESULT_STREAMS, PROGRESS_STREAM)) -> int:
    """
    Trim *streams* to about *keep* entries, but nothing that a group has not read yet.

    Returns:
        How many entries were removed.

    Raises:
        StreamUnavailable: No reply.
    """
    removed = 0
    until = time.monotonic() + PASS_S
    lengths = link.batch([("XLEN", stream) for stream in streams])
    # What a length could not be told of (it is no stream, say) is for the script to complain about.
    for stream in [name for name, length in zip(streams, lengths, strict=True) if not _fits(length, keep)]:
        while time.monotonic() < until and (some := link.run(script("trim"), [stream], [keep, AT_ONCE])):
            removed += some
    return removed


def _fits(length: Any, keep: int) -> bool:
    return isinstance(length, int) and length <= keep
