"""The program that the supervisor runs: loaded once, and made into a worker or a keeper in each child."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import cast

from executor_worker.broker import Endpoint, Link
from executor_worker.broker.connection.dial import preload as preload_dialling
from executor_worker.broker.fleet.identity import Identity
from executor_worker.errors import ConfigError
from executor_worker.program.consumer import kinds_of
from executor_worker.program.credentials import Credentials
from executor_worker.program.history import require_history
from executor_worker.program.keeper import context_of, make_keeper
from executor_worker.program.loading import Loaded, load
from executor_worker.program.rehearsal import ITEM_BYTES, KIND, forget_lookups, rehearse
from executor_worker.program.services import Services
from executor_worker.program.start_logs import start_logs
from executor_worker.program.wiring import tracing_of
from executor_worker.program.worker import MIB, consumer_name, make_worker
from executor_worker.settings import ConfigErrors, Settings
from executor_worker.settings.places import placed
from executor_worker.telemetry import logs
from executor_worker.tools.functions.functions import settle_in
from executor_worker.tools.functions.source_line import source_line_in
from executor_worker.worker.loop import Worker
from supervisor.errors import ReloadRefused
from supervisor.processes.processes import reap_adopted
from supervisor.processes.stacks import Frame
from supervisor.program import PoolSettings
from supervisor.scoreboard.scoreboard import Row, Scoreboard

# The keeper answers for the whole pool: it must notice soon that Redis is frozen, and beat meanwhile.
KEEPER_PATIENCE_S = 2.0
WORKER_PATIENCE_S, LEAST_PATIENCE_S = 3.0, 0.5
LEAST_SILENCE_S, LONGEST_SILENCE_S = 0.5, 10.0  # with less, a busy machine is taken for a keeper that hangs
LEAST_WAIT_S = 0.1


class ExecutorProgram:
    """
    Args:
        identity: This pool's, whose name is WORKER_ID.
        beside: A predecessor of the same name still runs.
        listener: Where the HTTP endpoints are served; None: nowhere.
        load_again: Reads the settings anew, for a reload.
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
        load_again: Callable[[], tuple[Settings, Endpoint]],
        *,
        beside: bool = False,
        services: Services | None = None,
        tool_host: socket.socket | None = None,
    ) -> None:
        self.settings = settings
        self.services = services
        # Once: the supervisor looks at it for each slot, several times a second.
        self.pool = pool_settings(settings, services.count if services is not None else 0)
        self._endpoint = endpoint
        self._board = board
        self._identity = identity
        self._beside = beside
        self._listener = listener
        self._load_again = load_again
        self._loaded = load(settings, tool_host) if settings.workers.most else Loaded(tool_host=tool_host)
        if settings.database_url:
            require_history()
        "localhost".encode("idna")  # the codec is imported at the first connection: here once for all workers
        preload_dialling(endpoint)

    def rehearse(self) -> int:
        """
        Have items of ours worked off, once, before the first fork; see `rehearsal`.

        Returns:
            How many were completed; 0 also if such items are none of this pool's.
        """
        forget_lookups()
        settings, prices = self.settings, self._loaded.prices
        if not settings.workers.most or KIND not in kinds_of(settings) or settings.max_item_bytes < ITEM_BYTES:
            return 0
        return rehearse(
            lambda board, link, tools: make_worker(settings, board, board.row(1), cast("Link", link), tools, prices)
        )

    def work(self, row: Row) -> int:
        """In a worker: take items until asked to leave."""
        return self.worker(row).run()

    def serve(self, row: Row) -> int:
        """In a service: serve until asked to leave."""
        assert self.services is not None, "there are no services"
        return self.services.serve(row)

    def worker(self, row: Row) -> Worker:
        """Make the worker of one slot; after fork only."""
        settings, loaded = self.settings, self._loaded
        settle_in()
        name = consumer_name(settings, row)
        logs.bind(worker_id=settings.worker_id, slot=row.slot)
        # A worker that waits for a frozen Redis must still leave within a drain.
        patience_s = max(min(WORKER_PATIENCE_S, settings.drain_timeout / 3), LEAST_PATIENCE_S)
        head = self._board.head
        credentials = Credentials(self._where, lambda: head.redis_up)  # else the keeper says it
        link = Link(self._endpoint, name=name, timeout_s=patience_s, renew=credentials.renew)
        tools, tracing = loaded.tool_registry(settings), tracing_of(settings, name)
        zombies: dict[int, int] = {}
        reap = lambda: reap_adopted(zombies)  # noqa: E731
        return make_worker(settings, self._board, row, link, tools, loaded.prices, tracing, reap)

    def keep(self, interrupt: Callable[[], None] | None = None) -> int:
        """
        In the keeper: leases, reclaim, registry, metrics and HTTP.

        Args:
            interrupt: Interrupts the run of the one worker there is; None: there is a supervisor to do so.
        """
        settings, name = self.settings, f"{self.settings.worker_id}.keeper"
        logs.bind(worker_id=settings.worker_id)
        patience_s = min(KEEPER_PATIENCE_S, settings.lease / 6)
        link = Link(self._endpoint, name=name, timeout_s=patience_s, renew=Credentials(self._where).renew)
        context = context_of(
            settings,
            self._loaded,
            self._board,
            link,
            self._identity,
            health_port=self._listener.getsockname()[1] if self._listener is not None else None,
            beside=self._beside,
            interrupt=interrupt,
        )
        services = self.services.board if self.services is not None else None
        private = str(self._endpoint) if settings.embedded else ""
        return make_keeper(settings, context, self._loaded, self._listener, services, private).run()

    def _where(self) -> Endpoint:
        """Return the Redis endpoint by the settings as they are now."""
        return self._load_again()[1]

    def source_line_in(self, frames: Sequence[Frame]) -> str:
        """In the supervisor: name the innermost of *frames* in a module of TOOL_MODULES, or of an entry point's."""
        functions = self._loaded.functions or ()
        modules = [*self.settings.tool_modules, *(tool.function.__module__ for tool in functions)]
        return source_line_in(frames, modules)

    def reload(self) -> ExecutorProgram:
        """Read the settings again; the health port and what Python has imported stay as they are."""
        try:
            settings, endpoint = self._load_again()
            self._check_move(endpoint)
            program = ExecutorProgram(
                settings,
                endpoint,
                self._board,
                self._identity,
                self._listener,
                self._load_again,
                beside=self._beside,
                services=None if self.services is None else self.services.renewed(settings, endpoint),
                tool_host=self._loaded.tool_host,
            )
            start_logs(settings, settings.log_file)
        except ConfigErrors as errors:
            raise ReloadRefused(str(errors).replace("\n", "; ")) from None
        except ConfigError as error:
            raise ReloadRefused(str(placed(error, os.environ))) from None
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
