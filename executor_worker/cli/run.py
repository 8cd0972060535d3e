"""`run`: the supervisor with its pool. `serve`: the orchestrator without workers. `work`: one worker by itself."""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
from collections.abc import Iterator
from functools import partial
from typing import Any

from executor_worker.broker import Endpoint
from executor_worker.broker.connection.embedded import Embedded
from executor_worker.broker.fleet.identity import Identity
from executor_worker.program.descriptors import Descriptors
from executor_worker.program.pool import ExecutorProgram
from executor_worker.program.services import Services, api_services
from executor_worker.program.single import work_alone
from executor_worker.program.sockets import control_listener, health_listener
from executor_worker.program.wiring import endpoint_of
from executor_worker.settings import MAX_SLOTS, Settings
from executor_worker.settings.control import control_address
from executor_worker.settings.kinds import Span
from executor_worker.telemetry import logs
from executor_worker.telemetry.logs import log_fields
from supervisor.control.systemd import Notify
from supervisor.scoreboard.scoreboard import LEVELS, Scoreboard
from supervisor.scoreboard.words import LOG_LEVEL
from supervisor.supervisor import Supervisor
from supervisor.upgrade import Inheritance

IDENTITY_VARIABLE = "EXECUTOR_IDENTITY"  # a successor by USR2 goes by the same


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Run the pool until it is asked to end."""
    options: dict[str, Any] = {}
    if args.workers is not None:
        options["workers"] = args.workers
    if args.embedded:
        options["redis_addr"] = "embedded"
    if args.api:
        options["api"] = True
    return _supervise(settings, options)


def serve(settings: Settings, args: argparse.Namespace) -> int:
    """Run the orchestrator alone until it is asked to end: API processes and a keeper, no worker."""
    options: dict[str, Any] = {"workers": Span(0, 0), "api": True}
    if args.embedded:
        options["redis_addr"] = "embedded"
    # Beside a pool of this host it needs a name of its own, and no second health port unless one is asked for.
    if "worker_id" not in settings.model_fields_set:
        options["worker_id"] = f"orchestrator-{socket.gethostname()}-{settings.dago_http_port or os.getpid()}"
    if "health_port" not in settings.model_fields_set:
        options["health_port"] = None
    return _supervise(settings, options)


def _supervise(settings: Settings, options: dict[str, Any]) -> int:
    """Run the supervisor; *options* go before the settings, also when these are read again."""
    settings = settings.model_copy(update=options)
    descriptors = Descriptors.at_start()
    descriptors.require(settings)
    inheritance = Inheritance.from_environ(os.environ)
    with _redis(settings) as (endpoint, companions):
        listener = health_listener(settings, inheritance)
        board = Scoreboard(MAX_SLOTS, first_slot=inheritance.first_slot if inheritance else 1)
        logs.follow(board.head.ints, LOG_LEVEL, LEVELS)
        services = _services(settings, endpoint, board, inheritance, alone=listener is None)
        program = ExecutorProgram(
            settings,
            endpoint,
            board,
            _identity(settings, inheritance),
            listener,
            partial(_load_again, settings, endpoint, options, descriptors),
            beside=inheritance is not None,
            services=services,
        )
        control = control_listener(settings, inheritance)
        _introduce(board, settings, listener, control, services)
        program.rehearse()
        supervisor = Supervisor(
            program,
            board,
            log_fields,
            Notify.from_environ(os.environ),
            companions=companions,
            listener=listener,
            control=control,
            inheritance=inheritance,
            services=services.board if services is not None else None,
            shared=services.listening.sockets if services is not None else (),
        )
        return supervisor.run()


def _load_again(
    settings: Settings, endpoint: Endpoint, options: dict[str, Any], descriptors: Descriptors
) -> tuple[Settings, Endpoint]:
    """At a reload; the command line still rules, and a pool keeps its name and its private Redis."""
    fresh = Settings.load(os.environ).model_copy(update={**options, "worker_id": settings.worker_id})
    descriptors.require(fresh)
    if settings.embedded or fresh.embedded:
        return fresh.model_copy(update={"redis_addr": settings.redis_addr}), endpoint
    return fresh, endpoint_of(fresh)


def _services(
    settings: Settings, endpoint: Endpoint, board: Scoreboard, inheritance: Inheritance | None, *, alone: bool
) -> Services | None:
    """Make the API's processes, if it is on; a predecessor's ports are taken over."""
    if not settings.api:
        return None
    inherited = inheritance.service_fds if inheritance is not None else ()
    return api_services(settings, endpoint, board, tuple(inherited), alone=alone)


def _introduce(
    board: Scoreboard,
    settings: Settings,
    listener: socket.socket | None,
    control: socket.socket | None,
    services: Services | None,
) -> None:
    """Say what the pool is called and where it answers: on the scoreboard, and in the log."""
    address = control_address(settings.ctl_socket, settings.worker_id, os.environ) if control is not None else ""
    port = listener.getsockname()[1] if listener is not None else 0
    board.head.introduce(settings.worker_id, address, port)
    if listener is not None:
        logs.info("health.listening", host=listener.getsockname()[0], port=port)
    for protocol, number in services.listening.ports.items() if services is not None else ():
        logs.info("api.listening", protocol=protocol, host=settings.dago_http_host, port=number)


def work(settings: Settings, args: argparse.Namespace) -> int:
    """Run one worker in the foreground."""
    with _redis(settings) as (endpoint, _):
        board = Scoreboard(1)
        board.head.introduce(settings.worker_id, "", 0)
        identity = Identity(settings.worker_id)

        def load_again() -> tuple[Settings, Endpoint]:
            if settings.embedded:
                return settings, endpoint
            fresh = Settings.load(os.environ)
            return fresh, endpoint_of(fresh)

        program = ExecutorProgram(settings, endpoint, board, identity, None, load_again)
        return work_alone(program, board)


@contextlib.contextmanager
def _redis(settings: Settings) -> Iterator[tuple[Endpoint, dict[int, str]]]:
    """Open the Redis endpoint; a private one is started, and is a companion of the pool."""
    if not settings.embedded:
        yield endpoint_of(settings), {}
        return
    with Embedded() as server:
        logs.info("redis.embedded", address=server.address, advice="set REDIS_ADDR to this to submit to it")
        yield Endpoint.parse(server.address, None, None, 0), {server.pid: "redis"}


def _identity(settings: Settings, inheritance: Inheritance | None) -> Identity:
    token = os.environ.pop(IDENTITY_VARIABLE, "") if inheritance is not None else ""
    identity = Identity(settings.worker_id, token) if token else Identity(settings.worker_id)
    os.environ[IDENTITY_VARIABLE] = identity.token
    return identity
