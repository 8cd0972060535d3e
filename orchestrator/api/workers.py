"""The routes of the workers there are, as the original's dashboard reads them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from orchestrator.api.answers import answer, stamped
from orchestrator.api.gate import state_of
from orchestrator.api.requests import words
from orchestrator.service import Service, Wanted


class WorkerRoutes:
    """Each method answers one route."""

    def __init__(self, service: Service) -> None:
        self._fleet = service.fleet

    async def listing(self, request: Request) -> Response:
        wanted = Wanted(
            healthy=request.query_params.get("healthy") == "true",
            types=words(request, "type"),
            statuses=words(request, "status"),
        )
        return answer(stamped(await self._fleet.workers(wanted)))

    async def stats(self, request: Request) -> Response:
        return answer(stamped(await self._fleet.stats()))

    async def pool(self, request: Request) -> Response:
        return answer(stamped(await self._fleet.pool(state_of(request, "type"))))

    async def worker(self, request: Request) -> Response:
        return answer(stamped(await self._fleet.worker(state_of(request, "id"))))

    async def figures(self, request: Request) -> Response:
        return answer(stamped(await self._fleet.figures(state_of(request, "id"))))
