"""Everything that the faces share: made once in each API process."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from executor_worker.broker.connection.asynchronous import Client, ask, checked
from executor_worker.errors import StreamError
from orchestrator.service.access import Access
from orchestrator.service.fleet import Fleet
from orchestrator.settings import ApiSettings

ANSWERS_S = 2.0  # a Redis that takes longer is not well


class Service:
    """
    Args:
        client: Redis.

    Attributes:
        leaving: Set when this process is to end: streams say so and close.
    """

    def __init__(self, client: Client, settings: ApiSettings) -> None:
        self.client = client
        self.settings = settings
        self.access = Access(settings.tokens, settings.rate)
        self.fleet = Fleet(client)
        self.leaving = asyncio.Event()

    async def health(self) -> dict[str, Any]:
        """Say how the system is: `status` is healthy, degraded or unhealthy."""
        checks = {"redis": "ok", "workers": "ok", "scheduler": "ok"}
        status = "healthy"
        try:
            async with asyncio.timeout(ANSWERS_S):
                checked(await ask(self.client, [("PING",)]))
                alive = sum(one["status"] in ("idle", "busy") for one in await self.fleet.entries())
        except (StreamError, TimeoutError):
            unknown = "unknown: Redis does not answer"
            checks, status = {"redis": "does not answer", "workers": unknown, "scheduler": unknown}, "unhealthy"
        else:
            if not alive:
                checks["workers"], status = "no worker is up: runs wait for one", "degraded"
        now = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"status": status, "timestamp": now, "checks": checks}

    async def ready(self) -> bool:
        """Tell whether requests can be served now."""
        if self.leaving.is_set():
            return False
        try:
            async with asyncio.timeout(ANSWERS_S):
                checked(await ask(self.client, [("PING",)]))
        except (StreamError, TimeoutError):
            return False
        return True
