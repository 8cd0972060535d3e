"""The pool's keeper, put together after its fork: leases, reclaim, registry, metrics and HTTP."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial

from executor_worker.broker import Held, Link
from executor_worker.broker.fleet.identity import Identity
from executor_worker.keeper.cpu_times import CpuTimes, processes_of
from executor_worker.keeper.duties import Duties, PoolContext
from executor_worker.keeper.pages import Health
from executor_worker.program.consumer import consumer_of, kinds_of, note_group, sources
from executor_worker.program.history import HistoryProcess
from executor_worker.program.loading import Loaded
from executor_worker.program.place_limits import place_limits
from executor_worker.program.wiring import accounts_of, tracing_of
from executor_worker.settings import Settings
from executor_worker.telemetry import logs
from executor_worker.telemetry.logs import log_fields
from executor_worker.telemetry.metrics import Gauge, Recorder
from executor_worker.tools.sharing.host_process import HostProcess
from executor_worker.version import program_version
from executor_worker.worker.condemned import settle_condemned
from executor_worker.worker.item import Report
from supervisor.keeper.loop import Duty, Keeper
from supervisor.scoreboard.row import Death
from supervisor.scoreboard.scoreboard import Scoreboard

HOST_LOOK_S = 1.0
HISTORY_LOOK_S = 1.0


def context_of(
    settings: Settings,
    loaded: Loaded,
    board: Scoreboard,
    link: Link,
    identity: Identity,
    *,
    health_port: int | None,
    beside: bool,
    interrupt: Callable[[], None] | None,
) -> PoolContext:
    """Tell the keeper's duties of the pool; see `PoolContext`."""
    served, limits = sources(settings, kinds_of(settings)), place_limits(settings)

    def condemned(held: Held, failure_code: str, death: Death) -> None:
        kinds = kinds_of(settings)
        consumer = consumer_of(settings, board.head, link, held.consumer, kinds)
        report = Report(Recorder(board.head.keeper_counters), partial(setattr, board.head, "last_done_wall_ns"))
        settle_condemned(consumer, kinds, report, held, failure_code, death)

    return PoolContext(
        board=board,
        link=link,
        identity=identity,
        version=program_version(),
        lease_s=settings.lease,
        delete_settled=settings.delete_settled,
        results_maxlen=settings.results_maxlen,
        health_port=health_port,
        beside=beside,
        report_group=partial(note_group, board.head),
        settle_condemned=condemned,
        interrupt=interrupt,
        accounts=accounts_of(settings),
        tool_scopes=loaded.tool_scopes,
        queues=settings.queues,
        tools=loaded.tool_names,
        streams=served.streams,
        groups=served.groups,
        limits=limits,
        history=bool(settings.database_url),
        tracing=tracing_of(settings, f"{settings.worker_id}.keeper"),
    )


def make_keeper(
    settings: Settings,
    context: PoolContext,
    loaded: Loaded,
    listener: socket.socket | None,
    services: Scoreboard | None,
    history_redis: str,
) -> Keeper:
    """
    Put the keeper together.

    Args:
        listener: Where the HTTP endpoints are served; None: nowhere.
        services: The scoreboard of the services beside the workers; None: there are none.
        history_redis: See `HistoryProcess`.
    """
    board, parent = context.board, os.getppid()
    duties = Duties(context)
    counting = (duties.housekeeping, duties.throttling, duties.limits, duties.history)

    def gauges() -> list[Gauge]:
        return [*(gauge for one in counting for gauge in one.gauges()), _servers_up(loaded)]

    cpu = CpuTimes(lambda: processes_of(board, services, parent)).totals
    health = Health(settings.worker_id, board, gauges, token=settings.health_token, rates=duties.rates.of_pool, cpu=cpu)
    answer = lambda path, headers, local: health.answer(path.partition("?")[0], headers, local=local)  # noqa: E731
    routine = [Duty(**duty._asdict()) for duty in duties.all]
    if loaded.shared and loaded.tool_host is not None:
        host = HostProcess(loaded.shared, loaded.tool_host, os.environ, logs.log)
        routine.append(Duty("shared_tools", HOST_LOOK_S, host.tend, host.close))
    if settings.database_url:
        writer = HistoryProcess(history_redis)
        routine.append(Duty("history_writer", HISTORY_LOOK_S, writer.tend, writer.close))
    return Keeper(board, routine, listener, answer, log_fields, duties.reclaim.sources)


def _servers_up(loaded: Loaded) -> Gauge:
    """Say which MCP servers workers reach."""
    states = loaded.known_names.states.read([server.name for server in loaded.servers])
    values: dict[tuple[tuple[str, str], ...], float] = {(("server", name),): float(up) for name, up in states.items()}
    return "dago_mcp_server_up", "Whether a worker reached it when one last tried, by server.", values
