"""Error replies of Redis: the one border where they become our errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from executor_worker.errors import StreamError, StreamRefused, StreamUnavailable


class GroupLost(StreamUnavailable):
    """The stream or its group is not there: never made, destroyed, or all of Redis was flushed."""


class NoScript(StreamUnavailable):
    """The server does not know the script (any more); nothing was run."""


class NewerLayout(StreamRefused):
    """Data stored by a newer version of this program, in a form that this one does not read."""


class Misplaced(StreamUnavailable):
    """This server can't serve us but another may: the connection is of no use."""


_REFUSED = ("NOAUTH", "WRONGPASS", "NOPERM", "DENIED")
_PASSING = ("LOADING", "OOM", "MISCONF", "BUSY", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "EXECABORT")
_MISPLACED = ("READONLY", "MASTERDOWN", "UNBLOCKED")
_NEWER = "NEWER"  # a script of ours: what is stored was written by a newer program
_CLIENTS_FULL = "max number of clients"
_STREAM_GONE = "stream key no longer exists"


def error_of(text: str) -> StreamUnavailable | StreamRefused:
    """Make an error reply ours; *text* starts with Redis' code for it."""
    code = text.partition(" ")[0]
    if code == "NOSCRIPT":
        return NoScript(text)
    if code == "NOGROUP" or _STREAM_GONE in text:
        return GroupLost(text)
    if code in _REFUSED:
        return StreamRefused(f"Redis refuses us: {text}")
    if code in _MISPLACED or _CLIENTS_FULL in text:
        return Misplaced(text)
    if code == _NEWER:
        return NewerLayout(text.removeprefix(f"{code} "))
    if code in _PASSING:
        return StreamUnavailable(text)
    return StreamRefused(f"Redis does not do what it is asked: {text}")


def checked(replies: Sequence[Any]) -> Sequence[Any]:
    """
    Answer *replies*, none of which is an error.

    Raises:
        StreamError: The first that is.
    """
    for reply in replies:
        if isinstance(reply, StreamError):
            raise reply
    return replies
