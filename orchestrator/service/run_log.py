"""The log of a run as it is read in pages: its events, with or without the outputs they leave out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Any

from executor_worker.broker.connection.asynchronous import Client
from executor_worker.broker.graphs import runs
from executor_worker.broker.graphs.document_pieces import apieces
from executor_worker.broker.graphs.event_pages import pieces_with_outputs
from executor_worker.broker.graphs.requests_async import adrive

EVENTS_MOST = 1000
PAGES_MOST = 20  # of a log that one request looks through


class RunLog:
    """The logs of all runs; what follows one as it grows is in `events`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def events(
        self, graph_id: str, after: int, limit: int, types: tuple[str, ...], nodes: tuple[str, ...], *, outputs: bool
    ) -> runs.EventPage:
        """
        Read one page of a run's log: as many events as asked for of those that are wanted, unless they are rare.

        Args:
            outputs: All outputs are to be laid in; see `events_with_outputs`.

        Raises:
            RunUnknown: There is no such run.
        """
        limit = min(limit, EVENTS_MOST)
        chosen = bool(types or nodes)
        size = EVENTS_MOST if chosen and not outputs else limit
        found: list[dict[str, Any]] = []
        for _ in range(PAGES_MOST):
            page = await adrive(self._client, runs.events(graph_id, after, size, types=types, nodes=nodes))
            found += page.events
            after = page.next_after
            if len(found) >= limit or after >= page.last_seq:
                break
        if len(found) > limit:
            return replace(page, events=found[:limit], next_after=found[limit - 1]["seq"], ended=False)
        return replace(page, events=found)

    def events_with_outputs(
        self, graph_id: str, page: runs.EventPage, shown: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> AsyncGenerator[bytes]:
        """
        Write a page's events with the outputs of their nodes, as they are read.

        Raises:
            RunUnknown: The run was deleted meanwhile.
        """
        return apieces(self._client, pieces_with_outputs(graph_id, page.events, shown))

    async def has_event(self, graph_id: str, seq: int, four: str) -> bool:
        """Tell whether event number *seq* of a run's log is the one whose id begins with *four*."""
        return await adrive(self._client, runs.check_cursor(graph_id, seq, four))
