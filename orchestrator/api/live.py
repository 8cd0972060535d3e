"""Events as they come: server-sent events, and WebSocket."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from executor_worker.telemetry import logs
from orchestrator.api.requests import nodes_named, words
from orchestrator.errors import ApiError, Forbidden, Internal, InvalidRequest, NotFound, RateLimited, Unauthorized
from orchestrator.service import Service, as_api_error
from orchestrator.shown import Batch, Mark, Position, Shown, Wanted

SLOW_S = 5.0  # a reader that takes nothing for so long is cut off
FAREWELL_S = 60.0  # and is then given to find out why, if it reads again
RETRY_MS = 500
TOLD_AGAIN_S = 1.0
UNKNOWN, NOT_ALLOWED, TOO_SLOW, RESTART, BROKEN = 4404, 4401, 1013, 1012, 1011
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
MARKS = {
    Mark.QUIET: b": nothing new\n\n",
    Mark.LEAVING: b": this server ends; join again at the last id\n\n",
    Mark.RESET: b'event: reset\nid: 0\ndata: {"type":"reset"}\n\n',
}
POSITION = re.compile("([0-9]{1,15})(?:-([0-9a-z]{1,4}))?")
END: Message = {"type": "http.response.body", "body": b""}
Headers = Mapping[str, str]


def position_of(connection: HTTPConnection) -> Position:
    """
    Read where to go on: `Last-Event-ID`, else `after`; each a number, or `<number>-<4 hex digits>`.

    Raises:
        InvalidRequest: It is neither.
    """
    text = connection.headers.get("last-event-id", "") or connection.query_params.get("after", "")
    if not text:
        return Position(0, "")
    found = POSITION.fullmatch(text)
    if found is None:
        raise InvalidRequest("'after' has to be the number of an event, or the id of one as it came")
    return Position(int(found[1]), found[2] or "")


def wanted_of(connection: HTTPConnection) -> Wanted:
    """Read which events are wanted."""
    types = frozenset(word.replace("_", ".", 1) for word in words(connection, "types"))
    deltas = connection.query_params.get("deltas", "") in ("1", "true", "yes")
    return Wanted(types, frozenset(nodes_named(connection)), "output" in words(connection, "include"), deltas)


def stream(
    service: Service,
    graph_id: str,
    position: Position,
    request: Request,
    *,
    status: int = 200,
    headers: Headers | None = None,
) -> Response:
    """Answer with a run's events as server-sent events."""
    wanted = wanted_of(request)
    batches = service.feeds.follow(graph_id, position, wanted)
    return EventStream(service, batches, request, status, headers)


class EventStream(Response):
    """Events for one reader over HTTP: until there are no more, or the reader is gone or too slow."""

    media_type = "text/event-stream"

    def __init__(
        self,
        service: Service,
        batches: AsyncGenerator[Batch | Mark],
        request: Request,
        status: int = 200,
        headers: Headers | None = None,
    ) -> None:
        super().__init__(b"", status, {**HEADERS, **(headers or {})})
        del self.headers["content-length"]
        self._service = service
        self._batches = batches
        self._renamed = request.query_params.get("names") == "underscore"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        meter = self._service.meter
        meter.subscribed(1)
        try:
            async with _while_there(receive):
                await self._send(send)
        except TimeoutError:
            pass  # too slow: it is cut off in the midst, and joins again
        except Exception as error:  # noqa: BLE001 - the stream ends, and who joins again is told why
            if isinstance(as_api_error(error), Internal):
                logs.error("api.failed", exception=error, route="events", method="GET")
            await send(END)
        else:
            await send(END)
        finally:
            meter.subscribed(-1)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.body", "body": b"retry: %d\n\n" % RETRY_MS, "more_body": True})
        async with aclosing(self._batches) as batches:
            async for batch in batches:
                # Short texts together, long ones apart: the line's buffer bounds what waits for a reader.
                for part in (MARKS[batch],) if isinstance(batch, Mark) else self._parts(batch):
                    async with asyncio.timeout(SLOW_S):
                        await send({"type": "http.response.body", "body": part, "more_body": True})

    def _parts(self, batch: Batch) -> Iterable[bytes]:
        return batch.parts if not self._renamed else map(_renamed_block, batch)


def _renamed_block(one: Shown) -> bytes:
    head, kind = one.block.partition(b"event: ")[0], one.kind.replace(".", "_")
    return b"%bevent: %b\ndata: %b\n\n" % (head, kind.encode(), one.renamed())


@asynccontextmanager
async def _while_there(receive: Receive) -> AsyncIterator[None]:
    """Leave off what is within as soon as the reader has gone."""
    sending = asyncio.current_task()
    assert sending is not None, "there is no task"
    loop = asyncio.get_running_loop()
    told: list[asyncio.TimerHandle] = []

    def leave_off() -> None:
        """Again and again: Python 3.11 loses what comes in the moment in which a `wait_for` has what it waits for."""
        sending.cancel()
        told.append(loop.call_later(TOLD_AGAIN_S, leave_off))

    watching = asyncio.ensure_future(_until_gone(receive))
    watching.add_done_callback(lambda done: None if done.cancelled() else leave_off())
    try:
        yield
    except asyncio.CancelledError:
        left = [sending.uncancel() for _ in told]
        if not left or left[-1]:
            raise
    finally:
        watching.cancel()
        for timer in told[-1:]:
            timer.cancel()


async def _left_off(task: asyncio.Future[None]) -> None:
    """Have *task* leave off, told again and again as above."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=TOLD_AGAIN_S)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventSocket:
    """WebSocket: the same events as text frames; what comes in is not read."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        gone = asyncio.ensure_future(_until_closed(socket))
        serving = asyncio.ensure_future(self._serve(socket))
        self._service.meter.subscribed(1)
        try:
            await asyncio.wait({gone, serving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._service.meter.subscribed(-1)
            gone.cancel()
            await _left_off(serving)
            with suppress(asyncio.CancelledError, ClientDisconnected, WebSocketDisconnect):
                await serving

    async def _serve(self, socket: WebSocket) -> None:
        try:
            code, reason = await self._told(socket)
        except Exception as error:  # noqa: BLE001 - whatever it is, the reader is told by a code
            if isinstance(error, ClientDisconnected | WebSocketDisconnect):
                return
            code, reason = _closing(as_api_error(error), error)
        if socket.application_state is WebSocketState.CONNECTED:
            await socket.close(code, reason[:120])

    async def _told(self, socket: WebSocket) -> tuple[int, str]:
        access = self._service.access
        query = socket.query_params
        address = socket.client.host if socket.client else ""
        caller = access.enter(address, socket.headers.get("authorization", ""), query.get("ticket", ""))
        caller.require("read")
        renamed = query.get("names") == "underscore"
        follow = self._service.feeds.follow
        async with aclosing(follow(socket.path_params["id"], position_of(socket), wanted_of(socket))) as batches:
            async for batch in batches:
                match batch:
                    case Mark.LEAVING:
                        return RESTART, "this server ends; join again at the last seq"
                    case Mark.RESET:
                        await socket.send_text('{"type":"reset"}')
                    case Batch():
                        for one in batch:
                            await socket.send_text((one.renamed() if renamed else one.raw).decode())
                    case Mark.QUIET:
                        pass
        return 1000, "that was the last event"


def _closing(known: ApiError, error: Exception) -> tuple[int, str]:
    match known:
        case NotFound():
            return UNKNOWN, str(known)
        case Unauthorized() | Forbidden():
            return NOT_ALLOWED, str(known)
        case Internal():
            logs.error("api.failed", exception=error, route="ws", method="GET")
            return BROKEN, str(known)
        case InvalidRequest():
            return 1008, str(known)
        case RateLimited():
            return 1008, str(known)
    return TOO_SLOW, str(known)


async def _until_closed(socket: WebSocket) -> None:
    with suppress(WebSocketDisconnect):
        while True:
            await socket.receive_text()


class SlowReaderProtocol(WebSocketsSansIOProtocol):
    """Cuts off a reader that takes nothing for a while: what waits for it is bounded by the line's buffer."""

    _cut: asyncio.TimerHandle | None = None
    _farewell: asyncio.TimerHandle | None = None

    def shutdown(self) -> None:
        if self._farewell is not None:
            self.transport.abort()  # what nobody reads holds no end up
        elif self.handshake_complete and not self.transport.is_closing():
            super().shutdown()  # before it is complete: it is about to be, and is told of the end then

    def pause_writing(self) -> None:
        super().pause_writing()
        self._cut = self.loop.call_later(SLOW_S, self._cut_off)

    def resume_writing(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._cut, self._farewell):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def _cut_off(self) -> None:
        """Put the reason behind what waits; the line is closed in the end whether it was read or not."""
        if self.close_sent or self.transport.is_closing():
            return
        self.conn.send_close(TOO_SLOW, "reader too slow; join again at the last seq")
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = self.disconnected = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": TOO_SLOW})
        self.writable.set()
        self._farewell = self.loop.call_later(FAREWELL_S, self.transport.abort)
