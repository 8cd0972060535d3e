"""The gRPC server of an API process: health, reflection, and the calls of `calls.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from orchestrator.rpc import orchestrator_pb2, orchestrator_pb2_grpc
from orchestrator.rpc.calls import Calls, Measured
from orchestrator.rpc.unreadable import UNREADABLE, Interceptor
from orchestrator.service import Service

BESIDE_BYTES = 64 * 1024  # what a message may hold beside its graph
LOOK_S = 1.0
SERVICE = orchestrator_pb2.DESCRIPTOR.services_by_name["OrchestratorService"].full_name


def build(service: Service, measured: Measured, address: str, tls: tuple[bytes, bytes] | None) -> grpc.aio.Server:
    """
    Make the server, not started yet.

    Args:
        address: `host:port`; other processes may listen there too.
        tls: Private key and certificate chain; None: plain text.
    """
    server = grpc.aio.server(
        interceptors=(Interceptor(),),
        options=[
            ("grpc.so_reuseport", 1),
            ("grpc.max_receive_message_length", service.settings.max_graph_bytes + BESIDE_BYTES),
            ("grpc.max_send_message_length", -1),
        ],
    )
    calls = Calls(service, measured)
    orchestrator_pb2_grpc.add_OrchestratorServiceServicer_to_server(calls, server)  # type: ignore[no-untyped-call]
    health_pb2_grpc.add_HealthServicer_to_server(Health(service), server)  # type: ignore[no-untyped-call]
    shown = (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
    reflection.enable_server_reflection(shown, server)  # type: ignore[no-untyped-call]
    if tls is None:
        server.add_insecure_port(address)
    else:
        server.add_secure_port(address, grpc.ssl_server_credentials([tls]))
    return server


class Health(health_pb2_grpc.HealthServicer):
    """Health v1: as `/ready` says it; needs no token."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        await _require_readable(request, context)
        if request.service not in ("", SERVICE):
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no service {request.service[:100]!r}")
        return await self._now()

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802 - the protocol's name
        await _require_readable(request, context)
        if request.service not in ("", SERVICE):
            yield health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
            return
        told = None
        while not (told is not None and self._service.leaving.is_set()):
            now = await self._now()
            if now != told:
                told = now
                yield now
            await self._service.pause(LOOK_S)

    async def _now(self) -> Any:
        kinds = health_pb2.HealthCheckResponse
        ready = await self._service.ready()
        return kinds(status=kinds.SERVING if ready else kinds.NOT_SERVING)


async def _require_readable(request: Any, context: Any) -> None:
    if request is UNREADABLE:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request can't be read")
