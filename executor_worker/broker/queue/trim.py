"""Keep result and progress streams from growing without end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import script
from executor_worker.broker.names import PROGRESS_STREAM, RESULT_STREAMS, UPDATES_STREAM

AT_ONCE = 1000  # entries removed in one call
DESERTED_S = 86400.0  # a group none of whose consumers was there for so long is waited for no more
PASS_S = 0.5  # then the rest is the next pass': the caller has leases to renew, and Redis may be far away


def trim(link: Link, keep: int, *, streams: Sequence[str] = (*RESULT_STREAMS, PROGRESS_STREAM)) -> int:
    """
    Trim *streams* to about *keep* entries, but nothing that a group has not read yet.

    Of a hub's updates a group counts only if a consumer of it was active within a day: hubs are replaced, and leave
    theirs behind.

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
        while time.monotonic() < until and (
            some := link.run(script("trim"), [stream], [keep, AT_ONCE, _deserted_ms(stream)])
        ):
            removed += some
    return removed


def _deserted_ms(stream: str) -> int:
    return int(DESERTED_S * 1000) if stream == UPDATES_STREAM else 0


def _fits(length: Any, keep: int) -> bool:
    return isinstance(length, int) and length <= keep
