"""
HTTP as it comes over a line: what is no request is answered as a problem, and no head is read without an end.

A process that is to end answers one request more on each line that it has accepted, and says that it closes it.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast
from weakref import WeakSet

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from orchestrator.api.answers import problem
from orchestrator.api.joined_writes import JoinedWrites
from orchestrator.errors import ApiError, HeadTooLarge, InvalidRequest

HEAD_BYTES = 64 * 1024  # of a request's address and headers; whoever asks may be nobody we know
HEAD_S = 30.0  # to send them in
FAREWELL_S, FAREWELL_BYTES = 1.0, 1024 * 1024  # that are passed over behind a refusal, so that it can be read
FIRST_S, IDLE_S = 1.0, 0.5  # for a request once this process is to end: on a new line, on one that has had answers


class Lines(ServerState):
    """
    The lines of a process.

    Attributes:
        leaving: The process is to end.
        coming: Accepted, and not ready to be read: over TLS hands are still being shaken.
    """

    def __init__(self) -> None:
        super().__init__()
        self.leaving = False
        self.coming: WeakSet[BoundedHttpProtocol] = WeakSet()

    def leave(self) -> None:
        """Let the next answer on each line be the last."""
        self.leaving = True
        for line in list(self.connections):
            line.shutdown()


class BoundedHttpProtocol(HttpToolsProtocol):
    """Reads requests with heads that are bounded in size and time: neither has to know a token to send one."""

    _head = 0  # bytes of the present request's address and headers
    _unheard = 0  # bytes since the parser last told us of something
    _reading_head: asyncio.TimerHandle | None = None
    _refusal: ApiError | None = None
    _farewell: asyncio.TimerHandle | None = None  # None: nothing was refused
    _passed_over = 0  # bytes since then
    _last = False  # the next answer is the last one

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: Lines,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._lines = server_state
        self._lines.coming.add(self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._lines.coming.discard(self)
        super().connection_made(transport)
        self._answers = JoinedWrites(transport, self.loop)
        self._wait_for_head()
        if self._lines.leaving:
            self.shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_read()
        if self._farewell is not None:
            self._farewell.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._farewell is not None:
            self._pass_over(len(data))
            return
        self._unheard += len(data)
        super().data_received(data)
        if self.transport.is_closing() or self._refusal is not None or self.transport.get_protocol() is not self:
            return  # the last: it is a WebSocket now
        if self._unheard > HEAD_BYTES:  # a header, or a line of chunks, that does not end
            self._refusal = _too_large()
            self.send_400_response("")
        elif self._reading_head is None and (self._head or self._has_answered()):
            self._wait_for_head()  # whatever came behind an answer has ended the time for which the line was kept

    def on_message_begin(self) -> None:
        self._head, self._unheard = 1, 0  # of its method
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._grow(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._grow(len(name) + len(value) + len(b": \r\n"))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_is_read()
        super().on_headers_complete()
        if self.cycle is not None:  # None: it becomes a WebSocket
            self.cycle.transport = cast(asyncio.Transport, self._answers)
            if self._last:
                self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._unheard = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unheard = 0
        self._head_is_read()  # a body in chunks may have ended with headers
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._answers.flush()  # before anything else is written to the line
        super().on_response_complete()

    def shutdown(self) -> None:
        """Let the answer that is being made be the last one, or that to the next request: it may be on its way."""
        if self._last or self._farewell is not None:
            return
        self._last = True
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        if cycle is not None and not cycle.response_complete:
            super().shutdown()
        elif not self._head:  # else its time is running already
            self._head_is_read()
            silent_s = FIRST_S if cycle is None else IDLE_S
            self._reading_head = self.loop.call_later(silent_s, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        """Answer with a problem, unless another answer has begun, and hang up."""
        self._answers.flush()
        error = self._refusal = self._refusal or InvalidRequest("this is no HTTP/1.1 request, or a broken one")
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        answering = cycle is not None and not cycle.response_complete
        if not (answering and (self.pipeline or self.cycle.response_started)):  # the answer before it may have
            answer = problem(error, "/")
            answer.headers["connection"] = "close"
            lines = [b"%b: %b\r\n" % header for header in answer.raw_headers]
            self.transport.write(b"".join([STATUS_LINE[error.status], *lines, b"\r\n", answer.body]))
        self._head_is_read()
        if answering or not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        self._farewell = self.loop.call_later(FAREWELL_S, self.transport.abort)

    def _pass_over(self, size: int) -> None:
        """Take what was on its way already: a line that is closed before takes the answer with it."""
        self._passed_over += size
        if self._passed_over > FAREWELL_BYTES:
            self.transport.abort()

    def _grow(self, size: int) -> None:
        """
        Raises:
            ValueError: The head is too large: the parser gives it up.
        """
        self._unheard = 0
        self._head += size
        if self._head > HEAD_BYTES:
            self._refusal = _too_large()
            raise ValueError

    def _has_answered(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        return cycle is not None and cycle.response_complete

    def _wait_for_head(self) -> None:
        self._reading_head = self.loop.call_later(HEAD_S, self._head_is_late)

    def _head_is_late(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.more_body and not cycle.response_complete:
            self._wait_for_head()  # the request before it is being answered still
        else:
            self.transport.close()

    def _head_is_read(self) -> None:
        self._head = 0
        if self._reading_head is not None:
            self._reading_head.cancel()
            self._reading_head = None


def _too_large() -> ApiError:
    return HeadTooLarge(f"address and headers are longer than {HEAD_BYTES:,} bytes", details={"limit": HEAD_BYTES})
