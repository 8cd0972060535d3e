"""The whole HTTP side as one ASGI application: each path with its methods and the role each of them takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.routing import BaseRoute, Route, Router, WebSocketRoute
from starlette.types import ASGIApp

from orchestrator.api.all_runs import AllRunsRoutes
from orchestrator.api.gate import Front, Handler, Resource, nothing_here
from orchestrator.api.graphs import GraphRoutes
from orchestrator.api.live import EventSocket
from orchestrator.api.pages import Metrics, Pages
from orchestrator.api.workers import WorkerRoutes
from orchestrator.service import Service

V1 = "/api/v1"


def build(service: Service, metrics: Metrics, measured: Callable[[str, int, float], None]) -> ASGIApp:
    """
    Build the application.

    Args:
        metrics: Renders Prometheus' page.
        measured: Is told route, status and seconds of each request.
    """
    return Front(Router(routes(service, metrics), default=nothing_here), service.settings.origins, measured)


def routes(service: Service, metrics: Metrics) -> list[BaseRoute]:
    """List the routes, in the order in which they are tried."""
    pages, graphs, workers = Pages(service, metrics), GraphRoutes(service), WorkerRoutes(service)

    def at(path: str, roles: Mapping[str, str] | None = None, **handlers: Handler) -> Route:
        return Route(path, Resource(path, service, handlers, roles))

    read, post, operate = {"GET": "read"}, {"POST": "submit"}, {"POST": "operate"}
    one = f"{V1}/graphs/{{id}}"
    return [
        at("/health", GET=pages.health),
        at("/live", GET=pages.live),
        at("/ready", GET=pages.ready),
        at("/metrics", read, GET=pages.metrics),
        at("/openapi.json", read, GET=pages.openapi),
        at("/docs", read, GET=pages.docs),
        at("/schemas/graph.json", read, GET=pages.schema),
        at(f"{V1}/graphs", read | post, GET=graphs.listing, POST=graphs.submit),
        at(f"{V1}/graphs/validate", {"POST": "read"}, POST=graphs.validate),
        at(f"{V1}/graphs/retry", operate, POST=graphs.retry_many),
        at(f"{V1}/graphs/cancel", operate, POST=graphs.cancel_many),
        at(one, read | {"DELETE": "operate"}, GET=graphs.document, DELETE=graphs.delete),
        at(f"{one}/status", read, GET=graphs.status),
        at(f"{one}/result", read, GET=graphs.result),
        at(f"{one}/cancel", operate, POST=graphs.cancel),
        at(f"{one}/retry", operate, POST=graphs.retry),
        at(f"{one}/hold", operate, POST=graphs.hold),
        at(f"{one}/resume", operate, POST=graphs.resume),
        at(f"{one}/events", read, GET=graphs.events),
        WebSocketRoute(f"{one}/ws", EventSocket(service)),
        at(f"{one}/ws", read, GET=pages.socket),
        at(f"{one}/nodes/{{node}}", read, GET=graphs.node),
        at(f"{V1}/events", read, GET=AllRunsRoutes(service).events),
        at(f"{V1}/tickets", {"POST": "read"}, POST=graphs.ticket),
        at(f"{V1}/workers", read, GET=workers.listing),
        at(f"{V1}/workers/stats", read, GET=workers.stats),
        at(f"{V1}/workers/pool/{{type}}", read, GET=workers.pool),
        at(f"{V1}/workers/{{id}}", read, GET=workers.worker),
        at(f"{V1}/workers/{{id}}/metrics", read, GET=workers.figures),
    ]
