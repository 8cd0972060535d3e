"""Answers that are made as they are sent: a short one with its length, a long one in as many pieces as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from executor_worker.telemetry import logs
from orchestrator.api.answers import JSON, answer
from orchestrator.errors import Internal
from orchestrator.service import as_api_error

AT_ONCE = 2**20  # bytes of an answer that is sent with its length
STALLED_S = 60.0  # a reader that takes nothing for so long is cut off


async def answer_in_pieces(
    pieces: AsyncGenerator[bytes], request: Request, headers: Mapping[str, str] | None = None
) -> Response:
    """
    Answer with JSON as it is made.

    Raises:
        Exception: What keeps the first megabyte from being made; the client is told by a problem.
    """
    first: list[bytes] = []
    size = 0
    async for piece in pieces:
        first.append(piece)
        size += len(piece)
        if size > AT_ONCE:
            return _LongAnswer(first, pieces, request, headers)
    return answer(b"".join(first), headers=headers)


class _LongAnswer(StreamingResponse):
    """An answer whose end is not made yet: if it can't be, the connection breaks, and the reader knows."""

    def __init__(
        self,
        first: list[bytes],
        rest: AsyncGenerator[bytes],
        request: Request,
        headers: Mapping[str, str] | None,
    ) -> None:
        super().__init__(_all(first, rest), headers=headers, media_type=JSON)
        self._rest, self._route = rest, request.scope.get("dago.route", "unknown")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await self._rest.aclose()
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b""})
            return
        await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        async def timely(message: Message) -> None:
            async with asyncio.timeout(STALLED_S):
                await send(message)

        try:
            await super().stream_response(timely)
        except OSError:
            raise  # the reader has gone, or takes nothing
        except Exception as error:
            self._note(error)
            raise
        finally:
            await self._rest.aclose()

    def _note(self, error: Exception) -> None:
        known = as_api_error(error)
        if isinstance(known, Internal):
            logs.error("api.failed", exception=error, route=self._route, method="GET")
        else:
            logs.warning("api.broken_off", route=self._route, reason=str(known))


async def _all(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while first:
        yield first.pop(0)
    async for piece in rest:
        yield piece
