"""Requests as they come in: bodies that are bounded before they are read, and query parameters that are checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, HTTPConnection, Request

from executor_worker.graph import repeated_names
from executor_worker.graph.problems import Problem
from orchestrator.errors import InvalidRequest, TooLarge, UnknownEncoding
from orchestrator.service import Service

T = TypeVar("T")

STREAM = "text/event-stream"
DIGITS = 18  # of what fits into 64 bits everywhere


def wants_stream(request: Request) -> bool:
    """Tell whether the client asks for server-sent events, and no less than for JSON (RFC 9110, Accept)."""
    weights: dict[str, float] = {}
    for entry in request.headers.get("accept", "").lower().split(","):
        kind, *parameters = (word.strip() for word in entry.split(";"))
        weights[kind] = next((_weight(word[2:]) for word in parameters if word.startswith("q=")), 1.0)
    return 0 < weights.get(STREAM, 0.0) >= weights.get("application/json", 0.0)


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0


class Bodies:
    """Reads bodies of requests, none of which is larger than MAX_GRAPH_BYTES."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._most = service.settings.max_graph_bytes

    async def json(self, request: Request, work: Callable[[dict[str, Any]], T]) -> T:
        """
        Read a body that is a JSON object, and answer what *work* makes of it.

        Raises:
            TooLarge: It is larger than allowed; the rest was not read.
            InvalidRequest: It is empty, no JSON, or no object.
            UnknownEncoding: It is packed.
        """
        return await self.graph(request, lambda body, _: work(body))

    async def graph(self, request: Request, work: Callable[[dict[str, Any], tuple[Problem, ...]], T]) -> T:
        """Read a body as `json` does; *work* is also told the names that stand twice in it."""
        raw = await self._raw(request)
        return await self._service.work(len(raw), lambda: work(*_object(raw)))

    async def _raw(self, request: Request) -> bytes:
        if (coding := request.headers.get("content-encoding", "identity").lower()) not in ("", "identity"):
            raise UnknownEncoding(f"the body is packed ({coding[:40]!r}); send it as plain JSON")
        if _announced(request) > self._most:
            raise self._too_large()
        parts: list[bytes] = []
        size = 0
        try:
            async for part in request.stream():
                size += len(part)
                if size > self._most:
                    raise self._too_large()
                parts.append(part)
        except ClientDisconnect:
            raise InvalidRequest("the connection was lost within the body") from None
        return b"".join(parts)

    def _too_large(self) -> TooLarge:
        told = f"the body is larger than {self._most:,} bytes (MAX_GRAPH_BYTES)"
        # What was not read stays on the line: nothing else can be asked on it.
        error = TooLarge(told, details={"limit": self._most})
        error.headers["Connection"] = "close"
        return error


def _object(raw: bytes) -> tuple[dict[str, Any], tuple[Problem, ...]]:
    if not raw.strip():
        raise InvalidRequest("the body is empty; send a JSON object")
    try:
        value, repeated = repeated_names.read(raw, graph=(None, "graph"))
    except ValueError as error:
        raise InvalidRequest(f"the body is no JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise InvalidRequest("the body has to be a JSON object")
    return value, repeated


def _announced(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def number(request: Request, name: str, default: int, least: int = 0, most: int | None = None) -> int:
    """
    Read a whole number from the query; more than *most* is *most*.

    Raises:
        InvalidRequest: It is none, or less than *least*.
    """
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and int(text[:DIGITS]) >= least and (most or len(text) <= DIGITS)):
        raise InvalidRequest(f"{name!r} has to be a whole number of at least {least}")
    found = int(text[:DIGITS])  # with more of them it is more than any *most*
    return found if most is None else min(found, most)


def switch(request: Request, name: str) -> bool:
    """Tell whether a flag is set in the query."""
    return request.query_params.get(name, "").lower() in ("1", "true", "yes")


def words(request: HTTPConnection, name: str) -> tuple[str, ...]:
    """Read comma-separated words from the query."""
    texts = request.query_params.getlist(name)
    return tuple(word.strip() for text in texts for word in text.split(",") if word.strip())


def nodes_named(request: HTTPConnection) -> tuple[str, ...]:
    """Read ids of nodes from the query: those in `nodes`, and each `node` as it is, which may have commas."""
    return (*words(request, "nodes"), *filter(None, request.query_params.getlist("node")))
