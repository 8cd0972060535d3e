"""Documents of graphs whose nodes are being run: which of them may have been cancelled."""

from __future__ import annotations

from collections.abc import Mapping

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import script

LARGEST = 256 * 1024  # bytes; what is larger is not looked through again and again
AT_ONCE = 16  # documents in one call: a few milliseconds of the server's time at the very most
WORD = b"cancelled"


def maybe_cancelled(link: Link, seen: Mapping[str, bytes], *, largest: int = LARGEST) -> dict[str, bytes | None]:
    """
    Read those documents in which the word "cancelled" stands, and which are not as they were seen last.

    Args:
        seen: The documents' keys, each with the SHA-1 (hex) of what was read of it last, b"" if nothing was.

    Returns:
        By key; None if the document is larger than *largest*.

    Raises:
        StreamUnavailable: No reply.
    """
    reading = script("cancelled")
    keys = list(seen)
    found: dict[str, bytes | None] = {}
    for start in range(0, len(keys), AT_ONCE):
        some = keys[start : start + AT_ONCE]
        words: list[Word] = [largest, WORD, *(seen[key] for key in some)]
        reply = link.run(reading, some, words)
        found |= {some[position]: document for position, document in zip(reply[::2], reply[1::2], strict=True)}
    return found


def is_stopping(link: Link, head: str) -> bool:
    """
    Tell whether nothing of a run is wanted any more: it is being stopped, has ended, or is gone.

    Raises:
        StreamUnavailable: No reply.
    """
    status, stopping, ended = link.call("HMGET", head, "status", "stopping", "ended")
    return status is None or bool(stopping) or bool(ended)
