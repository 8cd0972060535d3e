"""The pages at the root: probes, metrics, and what describes the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from orchestrator.api import description
from orchestrator.api.answers import answer
from orchestrator.errors import InvalidRequest
from orchestrator.service import Service

Metrics = Callable[[list[Any]], bytes]
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
STRICT = "default-src 'none'; style-src 'unsafe-inline'"


class Pages:
    """
    Each method answers one route.

    Args:
        metrics: Renders Prometheus' page.
    """

    def __init__(self, service: Service, metrics: Metrics) -> None:
        self._service = service
        self._metrics = metrics

    async def health(self, request: Request) -> Response:
        health = await self._service.health()
        return answer(health, 503 if health["status"] == "unhealthy" else 200)

    async def live(self, request: Request) -> Response:
        return PlainTextResponse("alive")

    async def ready(self, request: Request) -> Response:
        ready = await self._service.ready()
        return PlainTextResponse("ready" if ready else "not ready", 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        return Response(self._metrics(await self._service.gauges()), media_type=PROMETHEUS)

    async def openapi(self, request: Request) -> Response:
        return answer(description.as_json())

    async def schema(self, request: Request) -> Response:
        return Response(description.graph_schema(), media_type="application/schema+json")

    async def socket(self, request: Request) -> Response:
        """Answer who asks a WebSocket for a page."""
        told = "this is a WebSocket: ask with `Upgrade: websocket`, or read the run's /events"
        raise InvalidRequest(told, headers={"Upgrade": "websocket"})

    async def docs(self, request: Request) -> Response:
        return HTMLResponse(description.as_page(), headers={"Content-Security-Policy": STRICT})
