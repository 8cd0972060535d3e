"""
Ways to reach a server: by which transport, at which path of its address.

An address without a path is tried as it is, then at the paths where servers usually listen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import httpx2

from executor_worker.tools.mcp.catalogue import WRONG_TYPE, End
from executor_worker.tools.mcp_config import Local, Remote

# An HTTP server that answers so to the handshake may be one of the older kind, or listen elsewhere.
_MAYBE_ANOTHER = frozenset({400, 404, 405, 406, 415})
_USUAL_PATHS = (("/mcp", False), ("/sse", True))  # and whether by SSE


class Way(NamedTuple):
    """
    Attributes:
        at: The path, if it is not the address's own.
        hosted: By the host of the pool's shared servers.
    """

    target: Remote | Local
    by_sse: bool = False
    at: str = ""
    hosted: bool = False

    @property
    def transport(self) -> str:
        if isinstance(self.target, Local):
            return "stdio, shared" if self.hosted else "stdio"
        return "SSE" if self.by_sse else "Streamable HTTP"

    def __str__(self) -> str:
        return f"{self.transport} at {self.at}" if self.at else self.transport


def ways_to(target: Remote | Local, *, hosted: bool = False) -> list[Way]:
    """
    List all ways to reach *target*, the likeliest first.

    Args:
        hosted: There is a host of shared servers.
    """
    if isinstance(target, Local):
        return [Way(target, hosted=hosted and target.shared)]
    url = httpx2.URL(target.url)
    kinds = {"http": [False], "sse": [True], "auto": [False, True]}[target.kind]
    if target.kind == "auto" and url.path.rstrip("/").endswith("/sse"):
        kinds.reverse()
    ways = [Way(target, by_sse) for by_sse in kinds]
    if url.path.strip("/"):
        return ways
    elsewhere = [(path, by_sse) for path, by_sse in _USUAL_PATHS if by_sse in kinds]
    return ways + [Way(_moved(target, url, path), by_sse, path) for path, by_sse in elsewhere]


def may_be_another(way: Way, end: End, status: int | None) -> bool:
    """Tell from how the last attempt ended, and its HTTP status, whether *way* may lead to the server."""
    if end.reason == WRONG_TYPE:  # a page for people, at the root perhaps
        return bool(way.at)
    return status in _MAYBE_ANOTHER


def end_of_all(tried: Sequence[tuple[Way, End]]) -> End:
    """Say why none of *tried* leads to the server: what the first said, and where else it was looked for."""
    first = tried[0][1]
    others = [(way, end) for way, end in tried if way.at]
    if not others:
        return first
    problems = "; ".join(f"at {way.at}: {end.problem}" for way, end in others)
    reasons = "; ".join(f"at {way.at}: {end.reason}" for way, end in others)
    return End(f"{first.problem}; {problems}", f"{first.reason}; {reasons}")


def _moved(target: Remote, url: httpx2.URL, path: str) -> Remote:
    return Remote(str(url.copy_with(path=path)), target.headers, target.kind)
