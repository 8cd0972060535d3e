"""The route of what happens to all runs."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from executor_worker.json_text import loads
from orchestrator.all_events import FIRST, NOW, position_of
from orchestrator.api.answers import answer
from orchestrator.api.live import EventStream
from orchestrator.api.requests import number, wants_stream, words
from orchestrator.errors import InvalidRequest
from orchestrator.service import Service


class AllRunsRoutes:
    """Each method answers one route."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._events = service.all_events

    async def events(self, request: Request) -> Response:
        after = await self._after(request)
        types = [word.replace("_", ".", 1) for word in words(request, "types")]
        if wants_stream(request):
            return EventStream(self._service, self._events.follow(after, types), request)
        page = await self._events.page(after, number(request, "limit", 500, least=1, most=1000), types)
        renamed = request.query_params.get("names") == "underscore"
        shown = [loads(one.renamed()) if renamed else one.event for one in page.events]
        return answer({"events": shown, "next_after": page.next_after, "ended": False})

    async def _after(self, request: Request) -> tuple[int, int]:
        """
        Read where to begin.

        Raises:
            InvalidRequest: It is no position.
        """
        text = request.headers.get("last-event-id", "") or request.query_params.get("after", "") or FIRST
        found = await self._events.now() if text == NOW else position_of(text)
        if found is None:
            raise InvalidRequest(
                f"'after' has to be the next_after of a page, the id of a server-sent event, {FIRST}, or {NOW!r}"
            )
        return found
