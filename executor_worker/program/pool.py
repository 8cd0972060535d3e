"""The program that the supervisor runs: loaded once, and made into a worker or a keeper in each child."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from executor_worker.broker import Consumer, Endpoint, Held, Link, Made
from executor_worker.broker.connection.dial import preload as preload_dialling
from executor_worker.broker.fleet.breakers import FleetBreakers, pool_place
from executor_worker.broker.fleet.breakers import scripts as breaker_scripts
from executor_worker.broker.fleet.identity import Identity
from executor_worker.broker.fleet.throttle import FleetThrottle
from executor_worker.broker.fleet.throttle import scripts as throttle_scripts
from executor_worker.broker.queue.park import park_script
from executor_worker.envelopes.queue_name import NOTHING
from executor_worker.errors import ConfigError
from executor_worker.keeper.cpu_times import CpuTimes, processes_of
from executor_worker.keeper.duties import Duties, PoolContext
from executor_worker.keeper.pages import Health
from executor_worker.program.credentials import Credentials
from executor_worker.program.history import HistoryProcess, require_history
from executor_worker.program.place_limits import place_limits
from executor_worker.program.rehearsal import ITEM_BYTES, KIND, RehearsalTools, rehearse
from executor_worker.program.role_queues import chat_kind, role_kind
from executor_worker.program.services import Services
from executor_worker.program.start_logs import start_logs
from executor_worker.program.wiring import (
    accounts_of,
    executor_of,
    model_settings,
    require_model,
    tool_settings,
    tracing_of,
)
from executor_worker.providers import Models, preload, retired
from executor_worker.providers.prices import Prices
from executor_worker.providers.throttle import Throttles
from executor_worker.settings import ConfigErrors, Settings
from executor_worker.settings.role_table import CHAT
from executor_worker.telemetry import logs
from executor_worker.telemetry.metrics import Gauge, Recorder
from executor_worker.telemetry.tracing import NO_TRACING, Tracing
from executor_worker.tools import FunctionTool, ToolRegistry, load_functions, modules_starting_threads
from executor_worker.tools import preload as preload_tools
from executor_worker.tools.functions.place import place_in
from executor_worker.tools.functions.time_limit import settle_in
from executor_worker.tools.known_names import KnownNames
from executor_worker.tools.mcp_config import ServerConfig, load_servers
from executor_worker.tools.sharing.host_process import HostProcess, listen, shared
from executor_worker.version import program_version
from executor_worker.worker.condemned import settle_condemned
from executor_worker.worker.intake import Intake
from executor_worker.worker.kinds import Kind, Kinds, by_name, sources_of
from executor_worker.worker.kinds.document import DocumentKind, Read
from executor_worker.worker.kinds.run import RunKind
from executor_worker.worker.limits import Limits
from executor_worker.worker.loop import Worker
from executor_worker.worker.output import rendered
from executor_worker.worker.recycling import Limits as RecyclingLimits
from executor_worker.worker.recycling import Recycling
from executor_worker.worker.redis_wait import RedisWait
from executor_worker.worker.report import Report
from executor_worker.worker.run import Runs
from executor_worker.worker.settle import Settler
from supervisor.errors import ReloadRefused
from supervisor.keeper.loop import Duty, Keeper
from supervisor.processes.processes import reap_adopted
from supervisor.processes.stacks import Frame
from supervisor.program import PoolSettings
from supervisor.scoreboard.row import Death
from supervisor.scoreboard.scoreboard import Head, Row, Scoreboard

# The keeper answers for the whole pool: it must notice soon that Redis is frozen, and beat meanwhile.
KEEPER_PATIENCE_S = 2.0
WORKER_PATIENCE_S, LEAST_PATIENCE_S = 3.0, 0.5
LEAST_SILENCE_S, LONGEST_SILENCE_S = 0.5, 10.0  # with less, a busy machine is taken for a keeper that hangs
LEAST_WAIT_S = 0.1
HOST_LOOK_S = 1.0
HISTORY_LOOK_S = 1.0
MIB = 2**20


class ExecutorProgram:
    """
    Args:
        identity: This pool's, whose name is WORKER_ID.
        beside: A predecessor of the same name still runs.
        listener: Where the HTTP endpoints are served; None: nowhere.
        load: Reads the settings anew, for a reload.
        services: Run beside the workers.
        tool_host: Where the host of shared MCP servers listens, as made by the program before this; None: not yet.

    Raises:
        ConfigError, ConfigErrors: The settings can't be used.
    """

    def __init__(
        self,
        settings: Settings,
        endpoint: Endpoint,
        board: Scoreboard,
        identity: Identity,
        listener: socket.socket | None,
        load: Callable[[], tuple[Settings, Endpoint]],
        *,
        beside: bool = False,
        services: Services | None = None,
        tool_host: socket.socket | None = None,
    ) -> None:
        self.settings = settings
        self._tool_host = tool_host
        self._servers: list[ServerConfig] = []
        self._shared: list[ServerConfig] = []
        self._tool_places: frozenset[str] = frozenset()
        self.services = services
        # Once: the supervisor looks at it for each slot, several times a second.
        self.pool = pool_settings(settings, services.count if services is not None else 0)
        self._endpoint = endpoint
        self._board = board
        self._identity = identity
        self._beside = beside
        self._listener = listener
        self._load = load
        self._functions: list[FunctionTool] | None = None
        self._prices = Prices()
        self._function_names: list[str] = []
        self._known_names = KnownNames()
        if settings.workers.most:
            self._prepare_workers()
        if settings.database_url:
            require_history()
        "localhost".encode("idna")  # the codec is imported at the first connection: here once for all workers
        preload_dialling(endpoint)

    def _prepare_workers(self) -> None:
        """Load what all workers need, and find out what is wrong with it."""
        settings = self.settings
        require_model(settings, os.environ)
        self._functions = _functions_of(settings)
        # Made once here so that what is wrong with them is said now, and not by every child.
        registry = ToolRegistry(tool_settings(settings), self._functions or (), log=logs.log)
        logs.hide(*registry.secrets)
        self._function_names = registry.function_names
        servers = load_servers(settings.mcp_servers, settings.mcp_config, os.environ)
        self._tool_places = frozenset((pool_place(settings.queues), *registry.places))
        self._servers = servers
        self._shared = shared(servers)
        if self._shared and self._tool_host is None:
            self._tool_host = listen()
        self._prices = Prices.load(settings.llm_prices)
        if not (kinds := self._kinds()):
            fix = "Name the queues to serve, or leave it out for the default one; or name roles in ROLES."
            raise ConfigError("QUEUES", "with none the workers have nothing to do.", fix)
        sources_of(kinds, place_limits(settings)).load()
        park_script()
        throttle_scripts()
        breaker_scripts()
        for provider in (settings.llm_provider, *settings.fallback_providers):
            preload(provider)
        preload_tools(tool_settings(settings), logs.log)
        tracing_of(settings, settings.worker_id)
        _warn_of_retired_model(settings)

    def rehearse(self) -> int:
        """
        Have items of ours worked off, once, before the first fork; see `rehearsal`.

        Returns:
            How many were completed; 0 also if such items are none of this pool's.
        """
        settings = self.settings
        if not settings.workers.most or KIND not in self._kinds() or settings.max_item_bytes < ITEM_BYTES:
            return 0
        return rehearse(lambda board, link, tools: self._worker(board, board.row(1), cast("Link", link), tools))

    def work(self, row: Row) -> int:
        """In a worker: take items until asked to leave."""
        return self.worker(row).run()

    def serve(self, row: Row) -> int:
        """In a service: serve until asked to leave."""
        assert self.services is not None, "there are no services"
        return self.services.serve(row)

    def worker(self, row: Row) -> Worker:
        """Make the worker of one slot; after fork only."""
        settings = self.settings
        settle_in()
        name = _consumer_name(settings, row)
        logs.bind(worker_id=settings.worker_id, slot=row.slot)
        # A worker that waits for a frozen Redis must still leave within a drain.
        patience_s = max(min(WORKER_PATIENCE_S, settings.drain_timeout / 3), LEAST_PATIENCE_S)
        head = self._board.head
        credentials = Credentials(self._where, lambda: head.redis_up)  # else the keeper says it
        link = Link(self._endpoint, name=name, timeout_s=patience_s, renew=credentials.renew)
        tools, tracing = self._tool_registry(), tracing_of(settings, name)
        zombies: dict[int, int] = {}
        return self._worker(self._board, row, link, tools, tracing, lambda: reap_adopted(zombies))

    def _worker(
        self,
        board: Scoreboard,
        row: Row,
        link: Link,
        tools: ToolRegistry | RehearsalTools,
        tracing: Tracing = NO_TRACING,
        reap: Callable[[], int] = lambda: 0,
    ) -> Worker:
        """Put a worker together."""
        settings, head = self.settings, board.head
        name = _consumer_name(settings, row)
        redis_wait = RedisWait(
            row, lambda: head.redis_up and not link.connected, alone_s=settings.lease, away_s=settings.state_ttl
        )
        kinds = self._kinds(redis_wait.insist)
        consumer = self._consumer(link, name, kinds)
        executor = executor_of(
            settings, Models(model_settings(settings), self._throttles(link, name, board)), tools, self._prices
        )
        return Worker(
            board,
            row,
            consumer,
            Intake(kinds),
            Settler(kinds, name, redis_wait.wait),
            Runs(
                row,
                executor,
                kinds,
                name,
                redis_wait.wait,
                content=settings.event_content,
                tracing=tracing,
                longest_wait_s=settings.node_timeout,
                breakers=self._breakers(link, name, head),
                circuits=tools.circuits_of_function,
                redis_up=lambda: bool(head.redis_up),
            ),
            Recycling(board, row, RecyclingLimits(settings.max_items_per_worker, settings.max_rss_mb * MIB)),
            redis_wait,
            reap,
            tracing,
        )

    def keep(self, interrupt: Callable[[], None] | None = None) -> int:
        """
        In the keeper: leases, reclaim, registry, metrics and HTTP.

        Args:
            interrupt: Interrupts the run of the one worker there is; None: there is a supervisor to do so.
        """
        settings, board = self.settings, self._board
        logs.bind(worker_id=settings.worker_id)
        patience_s = min(KEEPER_PATIENCE_S, settings.lease / 6)
        link = Link(
            self._endpoint,
            name=f"{settings.worker_id}.keeper",
            timeout_s=patience_s,
            renew=Credentials(self._where).renew,
        )
        sources = sources_of(self._kinds(), place_limits(self.settings))
        duties = Duties(
            PoolContext(
                board=board,
                link=link,
                identity=self._identity,
                version=program_version(),
                lease_s=settings.lease,
                delete_settled=settings.delete_settled,
                results_maxlen=settings.results_maxlen,
                health_port=self._listener.getsockname()[1] if self._listener is not None else None,
                beside=self._beside,
                report_group=self._note_group,
                settle_condemned=lambda *about: self._settle_condemned(link, *about),
                interrupt=interrupt,
                accounts=accounts_of(settings),
                tool_places=self._tool_places,
                queues=settings.queues,
                tools=self._tools,
                streams=sources.streams,
                groups=sources.groups,
                limits=place_limits(settings),
                history=bool(settings.database_url),
                tracing=tracing_of(settings, f"{settings.worker_id}.keeper"),
            )
        )
        counting = (duties.housekeeping, duties.throttling, duties.limits, duties.history)
        gauges = lambda: [*(gauge for one in counting for gauge in one.gauges()), self._servers_up()]  # noqa: E731
        services, parent = self.services.board if self.services is not None else None, os.getppid()
        cpu = CpuTimes(lambda: processes_of(board, services, parent)).totals
        told = duties.rates.of_pool
        health = Health(settings.worker_id, board, gauges, token=settings.health_token, rates=told, cpu=cpu)
        answer = lambda path, headers, local: health.answer(path.partition("?")[0], headers, local=local)  # noqa: E731
        routine = [Duty(**duty._asdict()) for duty in duties.all]
        if self._shared and self._tool_host is not None:
            host = HostProcess(self._shared, self._tool_host, os.environ, logs.log)
            routine.append(Duty("shared_tools", HOST_LOOK_S, host.tend, host.close))
        if settings.database_url:
            writer = HistoryProcess(str(self._endpoint) if settings.embedded else "")
            routine.append(Duty("history_writer", HISTORY_LOOK_S, writer.tend, writer.close))
        return Keeper(board, routine, self._listener, answer, log_fields, duties.reclaim.sources).run()

    def _servers_up(self) -> Gauge:
        """Say which MCP servers workers reach."""
        states = self._known_names.states.read([server.name for server in self._servers])
        values: dict[tuple[tuple[str, str], ...], float] = {
            (("server", name),): float(up) for name, up in states.items()
        }
        return "dago_mcp_server_up", "Whether a worker reached it when one last tried, by server.", values

    def _tools(self) -> list[str]:
        """Name the tools that items may name: functions, and what MCP servers have listed to any worker."""
        servers = self._known_names.read()
        listed = [(server, name) for server, names in servers.items() for name in names or ()]
        named = [*(name for _, name in listed), *(f"{server}.{name}" for server, name in listed)]
        return [*self._function_names, *named]

    def _where(self) -> Endpoint:
        """Return the Redis endpoint by the settings as they are now."""
        return self._load()[1]

    def place_in(self, frames: Sequence[Frame]) -> str:
        """In the supervisor: name the innermost of *frames* in a module of TOOL_MODULES, or of an entry point's."""
        modules = [*self.settings.tool_modules, *(tool.function.__module__ for tool in self._functions or ())]
        return place_in(frames, modules)

    def reload(self) -> ExecutorProgram:
        """Read the settings again; the health port and what Python has imported stay as they are."""
        try:
            settings, endpoint = self._load()
            self._check_move(endpoint)
            program = ExecutorProgram(
                settings,
                endpoint,
                self._board,
                self._identity,
                self._listener,
                self._load,
                beside=self._beside,
                services=None if self.services is None else self.services.renewed(settings, endpoint),
                tool_host=self._tool_host,
            )
            start_logs(settings, settings.log_file)
        except (ConfigErrors, ConfigError) as error:
            raise ReloadRefused(str(error).replace("\n", "; ")) from None
        return program

    def _check_move(self, endpoint: Endpoint) -> None:
        """
        Refuse to leave a Redis whose items we have or may still take: no keeper would renew their leases there.

        Raises:
            ConfigError: They are not finished yet.
        """
        head = self._board.head
        leaves = head.gate and not self._endpoint.leads_to(endpoint)
        if leaves and (any(row.held for row in self._board.rows()) or (head.redis_up and not head.paused)):
            fix = "Pause it and wait until nothing is in hand, or upgrade or restart it instead."
            here, there = (f"database {one.db} of {one}" for one in (self._endpoint, endpoint))
            raise ConfigError("REDIS_ADDR", f"the pool works for {here}, not for {there}.", fix)

    def reopen_logs(self) -> None:
        logs.reopen()

    def _kinds(self, insist: Callable[[Read], bytes | None] = lambda read: read()) -> Kinds:
        """The kinds of work served; if several would read an entry the first has it."""
        settings = self.settings
        named = frozenset(settings.limits)
        limits = Limits(settings.node_timeout, settings.max_deliveries, settings.max_item_bytes, named)
        ttl_s, queues = int(settings.state_ttl), settings.queues
        roles: list[Kind[Any]] = [role_kind(settings, limits)] if settings.role_table else []
        roles += [chat_kind(settings, limits)] if CHAT in settings.roles else []
        if queues == (NOTHING,):
            return by_name(*roles)
        graphs = (
            RunKind(limits, ttl_s, rendered, queues, settings.timeout_node_execution),
            DocumentKind(limits, ttl_s, insist, queues),
        )
        return by_name(*roles, *graphs)

    def _consumer(self, link: Link, name: str, kinds: Kinds) -> Consumer:
        settings = self.settings
        return Consumer(
            link,
            name,
            lease_s=settings.lease,
            sources=sources_of(kinds, place_limits(settings)),
            delete_settled=settings.delete_settled,
            failures=settings.failures_to_completed,
            group_made=self._note_group,
        )

    def _note_group(self, made: Made) -> None:
        if made.lost:
            self._board.head.lost_wall_ns = time.time_ns()
        report_group(made)

    def _settle_condemned(self, link: Link, held: Held, failure_code: str, death: Death) -> None:
        """Settle *held* as failed in the name of its dead worker."""
        kinds, head = self._kinds(), self._board.head
        consumer = self._consumer(link, held.consumer, kinds)
        settle_condemned(consumer, kinds, Report(Recorder(head.keeper_counters), head), held, failure_code, death)

    def _throttles(self, link: Link, name: str, board: Scoreboard) -> Throttles:
        """Share what providers ask of us with the whole fleet."""

        def make(provider: str, base_url: str, key: str) -> FleetThrottle:
            return FleetThrottle(
                link,
                name,
                provider,
                base_url,
                key,
                active=lambda: board.head.throttled and board.head.redis_up,
                calling=lambda: sum(row.phase == "llm" for row in board.rows()),
            )

        return make

    def _breakers(self, link: Link, name: str, head: Head) -> FleetBreakers:
        """Share with the whole fleet which tools bring no answer."""
        active = lambda: head.tools_unanswered and head.redis_up  # noqa: E731
        return FleetBreakers(link, name, pool_place(self.settings.queues), active=active)

    def _tool_registry(self) -> ToolRegistry:
        host = self._tool_host.getsockname() if self._tool_host is not None else None
        return ToolRegistry(tool_settings(self.settings), self._functions, logs.log, self._known_names, host)


def pool_settings(settings: Settings, services: int = 0) -> PoolSettings:
    """
    Tell the supervisor what it has to know of *settings*.

    What is in hand was renewed a third of its lease ago at most: whether a keeper hangs or dies again and again, the
    next one has to be there before the lease ends.
    """
    return PoolSettings(
        name=settings.worker_id,
        workers=settings.workers.least,
        most_workers=settings.workers.most,
        services=services,
        drain_timeout_s=settings.drain_timeout,
        keeper_silence_s=min(max(settings.lease / 3, LEAST_SILENCE_S), LONGEST_SILENCE_S),
        keeper_wait_s=max(settings.lease / 3, LEAST_WAIT_S),
        max_rss_bytes=settings.max_rss_mb * MIB,
        restarts_key="dago_worker_restarts_total\x1f{reason}",
    )


def _consumer_name(settings: Settings, row: Row) -> str:
    return f"{settings.worker_id}.{row.slot}"


def report_group(made: Made) -> None:
    """Say that a consumer group was made, and if it had been there before, what that means."""
    if made.lost:
        advice = "entries may be seen again" if made.start == "0-0" else "entries in flight may have been missed"
        logs.error("group.lost", stream=made.stream, created_again_at=made.start, advice=advice)
    else:
        logs.debug("group.created", stream=made.stream, at=made.start)


def _functions_of(settings: Settings) -> list[FunctionTool] | None:
    """The function tools; None if importing them starts threads, so that each child has to import them itself."""
    threaded = modules_starting_threads(settings.tool_modules) if settings.tool_modules else []
    if threaded:
        logs.warning(
            "tool_module.threaded",
            modules=",".join(threaded),
            advice="it starts threads when imported, so each worker imports it by itself, which costs memory and time",
        )
        return None
    return load_functions(settings.tool_modules, log=logs.log)


def _warn_of_retired_model(settings: Settings) -> None:
    said = retired(settings.llm_model) if settings.llm_provider == "anthropic" else None
    if said:
        logs.warning("model.retired", model=settings.llm_model, advice=said)


def log_fields(level: str, event: str, fields: dict[str, Any]) -> None:
    """Log as the supervisor's package does."""
    logs.log(level, event, **fields)
