"""Offers: tells other pools which tools this one has."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from executor_worker.broker.fleet.offers import publish_offers, withdraw_offers
from executor_worker.errors import StreamRefused
from executor_worker.keeper.pool_context import PoolContext

OFFERS_S = 5.0


class Offers:
    """
    Publishes the pool's tools until it ends; those of servers as soon as a worker has listed them.

    Args:
        tools: Gives their names as they are known now.
    """

    def __init__(self, around: PoolContext, tools: Callable[[], Iterable[str]]) -> None:
        self._around = around
        self._tools = tools

    def run(self) -> None:
        around = self._around
        if around.ending or around.board.head.paused:
            return
        try:
            publish_offers(around.link, around.worker_id, self._tools(), around.streams)
        except StreamRefused:
            return  # who may not does without: items whose tool is not here fail

    def close(self) -> None:
        """Offer nothing any more."""
        if self._around.ending and not self._around.board.head.superseded:
            withdraw_offers(self._around.link, self._around.worker_id)
