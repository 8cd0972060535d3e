"""An API process from its fork to its end: one event loop with everything that is served."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import uvicorn
import uvloop

from executor_worker.broker.connection.asynchronous import connect
from executor_worker.telemetry import logs
from orchestrator.api.app import build
from orchestrator.api.http_protocol import BoundedHttpProtocol
from orchestrator.api.http_server import HttpServer
from orchestrator.api.live import SlowReaderProtocol
from orchestrator.api_processes import ApiServices
from orchestrator.metrics import ApiMetrics
from orchestrator.rpc.doorway import Doorway, Server
from orchestrator.service import Service
from supervisor.scoreboard.scoreboard import Row

BEAT_S = 1.0
HANGS_S = 15.0  # a loop that has not turned for so long is replaced
KEEP_ALIVE_S = 60
FLUSH_S = 1.0  # for spans that were not sent yet
PING_S = 15.0  # of WebSocket, as the comments of SSE
LEAST_DRAIN_S, MOST_DRAIN_S = 1, 5  # for what is being answered when we are asked to leave


def run(services: ApiServices, row: Row) -> int:
    """Serve until asked to leave; returns the exit status."""
    _allow_many_connections()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(services, row))
    return 0


async def _serve(services: ApiServices, row: Row) -> None:
    logs.bind(worker_id=services.name, service=row.slot)
    client = connect(services.endpoint, f"{services.name}.api.{row.slot}")
    metrics = ApiMetrics(row, services.board.all_counters, services.pool.all_counters if services.alone else None)
    tracing = services.tracing(f"{services.name}.api.{row.slot}")
    service = Service(client, services.settings, services.rules, metrics, tracing)
    server = HttpServer(_config(services, service, metrics))
    loop = asyncio.get_running_loop()

    def leave() -> None:
        service.leave()
        server.leave()

    def hurry() -> None:
        service.leave()
        server.hurry()

    loop.add_signal_handler(signal.SIGTERM, leave)
    loop.add_signal_handler(signal.SIGQUIT, hurry)
    loop.add_signal_handler(signal.SIGHUP, logs.reopen)
    doorway = await _grpc(services, service, metrics)
    beat = loop.create_task(_beat(services, row, server))
    try:
        await asyncio.gather(_serve_http(services, server, service), _serve_grpc(doorway, service))
    finally:
        beat.cancel()
        with suppress(asyncio.CancelledError):
            await beat
        await service.finish(MOST_DRAIN_S)
        await service.feeds.close()
        await client.aclose()
        tracing.close(FLUSH_S)


async def _serve_http(services: ApiServices, server: uvicorn.Server, service: Service) -> None:
    if services.listening.http is not None:
        await server.serve([services.listening.http])
    else:
        server.started = True
        await service.leaving.wait()


async def _grpc(services: ApiServices, service: Service, metrics: ApiMetrics) -> Doorway | None:
    """Open gRPC's port, which the supervisor keeps."""
    if services.listening.grpc is None:
        return None
    tls = None
    if services.tls is not None:
        cert, key = services.tls
        tls = Path(key).read_bytes(), Path(cert).read_bytes()
    host, port = services.listening.host, services.listening.ports["grpc"]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def build(module: ModuleType) -> Server:
        made: Server = module.build(service, metrics.measured, address, tls)
        return made

    doorway = Doorway(host, port, build)
    await doorway.open()
    return doorway


async def _serve_grpc(doorway: Doorway | None, service: Service) -> None:
    if doorway is not None:
        await service.leaving.wait()
        await doorway.close(MOST_DRAIN_S)


async def _beat(services: ApiServices, row: Row, server: uvicorn.Server) -> None:
    """Say that we are up, and again and again that the loop turns."""
    while not server.started:
        await asyncio.sleep(0.005)
    row.state = "idle"
    services.pool.event_fd.ring()
    while True:
        row.enter("serving", time.monotonic_ns() + int(HANGS_S * 1e9), "deadline")
        await asyncio.sleep(BEAT_S)


def _config(services: ApiServices, service: Service, metrics: ApiMetrics) -> uvicorn.Config:
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # it would tell paths, and tickets within
    cert, key = services.tls or (None, None)
    return uvicorn.Config(
        build(service, metrics.page, metrics.measured),
        http=BoundedHttpProtocol,
        ws=SlowReaderProtocol,
        ws_max_size=64 * 1024,
        ws_ping_interval=PING_S,
        ws_ping_timeout=2 * PING_S,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=min(max(int(services.drain_s) - 1, LEAST_DRAIN_S), MOST_DRAIN_S),
        ssl_certfile=cert,
        ssl_keyfile=key,
    )


def _allow_many_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
