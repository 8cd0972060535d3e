"""The gate that every request passes: its caller and how often it calls, its method, its errors, its time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from executor_worker.errors import StreamRefused
from executor_worker.telemetry import logs
from executor_worker.telemetry.tracing import NO_REQUEST, RequestSpan
from orchestrator.api.answers import problem
from orchestrator.errors import Internal, MethodNotAllowed, NotFound
from orchestrator.service import Access, Caller, Service, as_api_error
from orchestrator.service.access import ANYBODY

Handler = Callable[[Request], Awaitable[Response]]
EXPOSED = "ETag, Location, Retry-After, Idempotency-Replayed"
ALLOWED = "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, traceparent, tracestate"
PREFLIGHT_S = 600
TRACED = "/api/"
SERVER_ERROR = 500


class Resource:
    """
    One path: an ASGI application with a handler a method.

    Args:
        path: As a template, for metrics.
        roles: What each method takes; a method that is not listed takes no token.
    """

    def __init__(
        self, path: str, service: Service, handlers: Mapping[str, Handler], roles: Mapping[str, str] | None = None
    ) -> None:
        self.path = path
        self.handlers = dict(handlers)
        if "GET" in self.handlers:
            self.handlers.setdefault("HEAD", self.handlers["GET"])
        self.roles = dict(roles or {})
        if "GET" in self.roles:
            self.roles.setdefault("HEAD", self.roles["GET"])
        self._service = service

    @property
    def methods(self) -> list[str]:
        return [*self.handlers, "OPTIONS"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        scope["dago.route"] = self.path
        span = self._span(request)
        scope["dago.span"] = span
        try:
            response = await self._answer(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a problem
            response = _problem_of(error, request)
        span.ended(str(response.status_code), failed=response.status_code >= SERVER_ERROR)  # a stream goes on
        await response(scope, receive, send)

    def _span(self, request: Request) -> RequestSpan:
        """Begin to trace *request*, unless it only asks how this process is."""
        tracing = self._service.tracing
        if not (tracing.wanted and self.path.startswith(TRACED)):
            return NO_REQUEST
        return tracing.request(f"{request.method} {self.path}", "http", request.headers)

    async def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": ", ".join(self.methods)})
        caller = admit(request, self._service.access, self.roles.get(request.method))
        handler = self.handlers.get(request.method)
        if handler is None:
            raise MethodNotAllowed(request.method, self.methods)
        if caller is not None:
            request.scope["dago.caller"] = caller
        return await handler(request)


def admit(request: Request, access: Access, role: str | None) -> Caller | None:
    """
    Find out who sends *request*, and count it.

    Raises:
        Unauthorized, Forbidden: It takes a token, or another one.
        RateLimited: It came too soon.
    """
    if role is None:
        return None
    address = request.client.host if request.client else ""
    caller = access.enter(address, request.headers.get("authorization", ""), request.query_params.get("ticket", ""))
    caller.require(role)
    return caller


def span_of(request: Request) -> RequestSpan:
    """Answer with what *request* is traced by."""
    span: RequestSpan = request.scope.get("dago.span", NO_REQUEST)
    return span


def caller_of(request: Request) -> Caller:
    """Answer whom `admit` has found."""
    caller: Caller = request.scope.get("dago.caller", ANYBODY)
    return caller


def _problem_of(error: Exception, request: Request) -> Response:
    known = as_api_error(error)
    if isinstance(error, StreamRefused):
        logs.error("api.refused", reason=str(error), route=request.scope["dago.route"])
    if isinstance(known, Internal):
        logs.error("api.failed", exception=error, route=request.scope["dago.route"], method=request.method)
    return problem(known, request.url.path)


class Front:
    """
    Everything before the routes: measures, answers other origins' pages, and survives what was not caught.

    Args:
        origins: From which pages may use it; `*`: any.
        measured: Is told route, status and seconds of each request.
    """

    def __init__(self, app: ASGIApp, origins: tuple[str, ...], measured: Callable[[str, int, float], None]) -> None:
        self._app = app
        self._origins = origins
        self._measured = measured

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        status = 0
        cors = self._cors(Headers(scope=scope), scope["method"])
        if scope["method"] == "OPTIONS" and scope["path"].endswith("/"):
            scope["path"] = scope["path"].rstrip("/")  # browsers take no redirect for an answer to it

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Cache-Control", "no-store")
                for name, value in cors.items():
                    headers[name] = value
                self._measured(scope.get("dago.route", "unknown"), status, time.monotonic() - began)
            await send(message)

        await self._app(scope, receive, marked)

    def _cors(self, headers: Headers, method: str) -> dict[str, str]:
        origin = headers.get("origin", "")
        if not origin or not ("*" in self._origins or origin in self._origins):
            return {}
        told = {"Access-Control-Allow-Origin": "*" if "*" in self._origins else origin, "Vary": "Origin"}
        if method != "OPTIONS":
            return told | {"Access-Control-Expose-Headers": EXPOSED}
        return told | {
            "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
            "Access-Control-Allow-Headers": ALLOWED,
            "Access-Control-Max-Age": str(PREFLIGHT_S),
        }


async def nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer for a path that there is not."""
    if scope["type"] == "websocket":
        socket = WebSocket(scope, receive, send)
        await socket.accept()  # a refusal before it shows no code, and looks like one of a token
        await socket.close(4404, "there is no such WebSocket here")
        return
    if scope["method"] == "OPTIONS":  # the original answers it on any path
        await Response(status_code=204)(scope, receive, send)
        return
    error = NotFound(f"there is no {scope['path'][:200]} here; /docs lists what there is")
    await problem(error, scope["path"])(scope, receive, send)


def state_of(request: Request, name: str) -> Any:
    """Answer a part of the path."""
    return request.path_params[name]
