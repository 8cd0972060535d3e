"""Many runs at once: lists, filters, what is done to all that match, and how all of them are."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from executor_worker.broker.connection.asynchronous import Client
from executor_worker.broker.graphs import RunError, runs
from executor_worker.broker.graphs.duties import overdue_s
from executor_worker.broker.graphs.overview import RunsOverview, overview
from executor_worker.broker.graphs.requests_async import adrive
from executor_worker.errors import StreamUnavailable
from orchestrator.errors import ApiError, InvalidRequest
from orchestrator.service import views

LIST_MOST = 100
TRIES = 3  # of what is done to one of many
_CURSOR = re.compile(r"\d{1,16}_[0-9a-f-]{36}")


class ManyRuns:
    """Looks at runs, and acts on them, by what they have in common."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def listing(self, wanted: runs.Filter, limit: int, cursor: str, offset: int) -> dict[str, Any]:
        """
        List runs, newest first.

        Raises:
            InvalidRequest: *cursor* is none that a list has ended with.
        """
        if cursor and not _CURSOR.fullmatch(cursor):
            raise InvalidRequest("'cursor' has to be the next_cursor of a page before")
        limit = min(limit, LIST_MOST)
        found = await adrive(self._client, runs.listing(wanted, limit, cursor, offset))
        return {
            "graphs": [views.listed(head) for head in found.runs],
            "limit": limit,
            "offset": offset,
            "total": found.total,
            "next_cursor": found.next_cursor,
        }

    async def matching(self, wanted: runs.Filter, possible: Callable[[runs.Head], bool]) -> list[str]:
        """List the ids of all runs that are wanted and for which something is *possible*."""
        found: list[str] = []
        cursor = ""
        while True:
            page = await adrive(self._client, runs.listing(wanted, LIST_MOST, cursor))
            found += [head.graph_id for head in page.runs if possible(head)]
            if page.next_cursor is None:
                return found
            cursor = page.next_cursor

    async def each(self, ids: Sequence[str], act: Callable[[str], Awaitable[object]]) -> None:
        """Do something to many runs, one after the other, as far as it is still possible."""
        for graph_id in ids:
            for attempt in range(1, TRIES + 1):
                try:
                    await act(graph_id)
                except StreamUnavailable:
                    await asyncio.sleep(attempt)
                    continue
                except (ApiError, RunError):
                    pass
                break

    async def overview(self) -> RunsOverview:
        """Look at all runs together."""
        return await adrive(self._client, overview())

    async def overdue_s(self) -> float:
        """Tell for how long what keepers do for runs has been due."""
        return await adrive(self._client, overdue_s())
