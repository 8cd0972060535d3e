"""A worker of the pool, put together after its fork: its consumer, models, tools, limits and throttles."""

from __future__ import annotations

from collections.abc import Callable

from executor_worker.broker import Link
from executor_worker.broker.fleet.breakers import FleetBreakers, pool_scope
from executor_worker.broker.fleet.throttle import FleetThrottle
from executor_worker.program.consumer import consumer_of, kinds_of
from executor_worker.program.rehearsal import RehearsalTools
from executor_worker.program.wiring import executor_of, model_settings
from executor_worker.providers import Models
from executor_worker.providers.prices import Prices
from executor_worker.providers.throttle import Throttles
from executor_worker.settings import Settings
from executor_worker.telemetry.tracing import NO_TRACING, Tracing
from executor_worker.tools import ToolRegistry
from executor_worker.worker.item import Intake, Settler
from executor_worker.worker.loop import Worker
from executor_worker.worker.recycling import Limits, Recycling
from executor_worker.worker.redis_wait import RedisWait
from executor_worker.worker.run import Runs
from supervisor.scoreboard.scoreboard import Row, Scoreboard

MIB = 2**20


def make_worker(
    settings: Settings,
    board: Scoreboard,
    row: Row,
    link: Link,
    tools: ToolRegistry | RehearsalTools,
    prices: Prices,
    tracing: Tracing = NO_TRACING,
    reap: Callable[[], int] = lambda: 0,
) -> Worker:
    """
    Put the worker of one slot together.

    Args:
        reap: Collects dead processes that its tools have left behind.
    """
    name, head = consumer_name(settings, row), board.head
    redis_wait = RedisWait(
        row, lambda: head.redis_up and not link.connected, alone_s=settings.lease, away_s=settings.state_ttl
    )
    kinds = kinds_of(settings, redis_wait.insist)
    models = Models(model_settings(settings), _throttles(link, name, board))
    return Worker(
        board,
        row,
        consumer_of(settings, head, link, name, kinds),
        Intake(kinds),
        Settler(kinds, name, redis_wait.wait),
        Runs(
            row,
            executor_of(settings, models, tools, prices),
            kinds,
            name,
            redis_wait.wait,
            content=settings.event_content,
            tracing=tracing,
            longest_wait_s=settings.node_timeout,
            breakers=FleetBreakers(link, name, pool_scope(settings.queues), active=row.may_hold_tools_back),
            circuits=tools.circuits_of_function,
            redis_up=lambda: bool(head.redis_up),
        ),
        Recycling(board, row, Limits(settings.max_items_per_worker, settings.max_rss_mb * MIB)),
        redis_wait,
        reap,
        tracing,
    )


def consumer_name(settings: Settings, row: Row) -> str:
    return f"{settings.worker_id}.{row.slot}"


def _throttles(link: Link, name: str, board: Scoreboard) -> Throttles:
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
