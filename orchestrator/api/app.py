"""The whole HTTP side as one ASGI application: each path with its methods and the role each of them takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp

from orchestrator.api.gate import Front, Handler, Resource, nothing_here
from orchestrator.api.pages import Pages
from orchestrator.api.workers import WorkerRoutes
from orchestrator.service import Service

V1 = "/api/v1"


def build(service: Service, metrics: Callable[[], bytes], measured: Callable[[str, int, float], None]) -> ASGIApp:
    """
    Build the application.

    Args:
        metrics: Renders Prometheus' page.
        measured: Is told route, status and seconds of each request.
    """
    return Front(Router(routes(service, metrics), default=nothing_here), service.settings.origins, measured)


def routes(service: Service, metrics: Callable[[], bytes]) -> list[BaseRoute]:
    """List the routes, in the order in which they are tried."""
    pages, workers = Pages(service, metrics), WorkerRoutes(service)

    def at(path: str, roles: Mapping[str, str] | None = None, **handlers: Handler) -> Route:
        return Route(path, Resource(path, service, handlers, roles))

    read = {"GET": "read"}
    return [
        at("/health", GET=pages.health),
        at("/live", GET=pages.live),
        at("/ready", GET=pages.ready),
        at("/metrics", read, GET=pages.metrics),
        at("/openapi.json", read, GET=pages.openapi),
        at("/docs", read, GET=pages.docs),
        at(f"{V1}/workers", read, GET=workers.listing),
        at(f"{V1}/workers/stats", read, GET=workers.stats),
        at(f"{V1}/workers/pool/{{type}}", read, GET=workers.pool),
        at(f"{V1}/workers/{{id}}", read, GET=workers.worker),
        at(f"{V1}/workers/{{id}}/metrics", read, GET=workers.figures),
    ]
