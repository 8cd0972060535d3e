"""The routes of graphs and their runs."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from executor_worker.envelopes.events import rfc3339
from executor_worker.graph.problems import Problem
from executor_worker.graph.validation import Report
from executor_worker.json_text import dumps
from orchestrator.api import live
from orchestrator.api.answers import answer
from orchestrator.api.gate import caller_of, span_of, state_of
from orchestrator.api.pieces import answer_in_pieces
from orchestrator.api.requests import Bodies, nodes_named, number, switch, wants_stream, words
from orchestrator.errors import InvalidRequest
from orchestrator.service import EventPage, Order, Service, context_of, filter_of, listed_filter, time_in, views
from orchestrator.shown import Position

V1 = "/api/v1"
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})", re.IGNORECASE)


class GraphRoutes:
    """Each method answers one route."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._runs = service.runs
        self._bodies = Bodies(service)

    async def submit(self, request: Request) -> Response:
        context = context_of({**request.headers, **span_of(request).headers}, caller_of(request).name)

        def read(body: dict[str, Any], repeated: Sequence[Problem]) -> Order:
            return self._runs.read(body, keyed=bool(context.key), repeated=repeated)

        made = await self._service.submit(self._bodies.graph(request, read), context)
        headers = {"Location": f"{V1}/graphs/{made.graph_id}"}
        if made.replayed:
            headers["Idempotency-Replayed"] = "true"
        status = 200 if made.replayed else 201
        if wants_stream(request) and made.status != "deleted":
            return live.stream(self._service, made.graph_id, Position(), request, status=status, headers=headers)
        waited = _WAIT.search(request.headers.get("prefer", ""))
        if waited and made.status != "deleted":
            head = await self._runs.wait(made.graph_id, int(waited[1]))
            if head.ended:
                headers["Preference-Applied"] = f"wait={waited[1]}"
                return await answer_in_pieces(self._runs.result_pieces(made.graph_id, full=False), request, headers)
        told = {"graph_id": made.graph_id, "status": made.status, "submitted_at": rfc3339(made.submitted_at_ms / 1000)}
        return answer(told, status, headers)

    async def validate(self, request: Request) -> Response:
        offered = await self._service.fleet.tools()

        def look(body: dict[str, Any], repeated: Sequence[Problem]) -> Report:
            return self._runs.validate(body, offered, repeated)

        report = await self._bodies.graph(request, look)
        return answer(report.as_dict())

    async def listing(self, request: Request) -> Response:
        query = request.query_params
        wanted = listed_filter(
            status=query.get("status", ""),
            name=query.get("name", ""),
            labels=query.getlist("label"),
            since=_time(request, "since"),
            until=_time(request, "until"),
            q=query.get("q", ""),
            code=query.get("code", ""),
        )
        limit = number(request, "limit", 20, least=1, most=100)
        found = await self._service.many_runs.listing(
            wanted, limit, query.get("cursor", ""), number(request, "offset", 0)
        )
        return answer(found)

    async def document(self, request: Request) -> Response:
        graph_id, full = state_of(request, "id"), switch(request, "full")
        head = await self._runs.head(graph_id)
        tag = f'"{head.epoch}-{head.seq}{"-full" if full else ""}{"-held" if head.held else ""}"'
        known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
        if tag in known or "*" in known:
            return Response(status_code=304, headers={"ETag": tag})
        # A little newer than its tag at most: a client that asks again with it gets what came since.
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        return await answer_in_pieces(self._runs.document(graph_id, full=full), request, headers)

    async def status(self, request: Request) -> Response:
        after = number(request, "after", -1) if request.query_params.get("after") else None
        head = await self._runs.wait(state_of(request, "id"), number(request, "wait", 0), after)
        return answer(views.status_of(head))

    async def result(self, request: Request) -> Response:
        pieces = self._runs.result_pieces(state_of(request, "id"), full=switch(request, "full"))
        return await answer_in_pieces(pieces, request)

    async def node(self, request: Request) -> Response:
        return answer(await self._runs.node(state_of(request, "id"), state_of(request, "node")))

    async def cancel(self, request: Request) -> Response:
        done = await self._runs.cancel(state_of(request, "id"))
        return answer(
            {
                "graph_id": done.graph_id,
                "status": "cancelled",
                "cancelled_at": rfc3339(done.cancelled_at_ms / 1000),
                "stopped": {"running": done.running, "queued": done.queued},
            }
        )

    async def retry(self, request: Request) -> Response:
        epoch = number(request, "epoch", 0) or None
        if self._service.tracing.wanted:
            span_of(request).link((await self._runs.head(state_of(request, "id"))).traceparent)
        done = await self._runs.retry(state_of(request, "id"), epoch)
        told = {"graph_id": done.graph_id, "status": "running", "epoch": done.epoch}
        return answer({**told, "kept": done.kept, "again": done.again})

    async def hold(self, request: Request) -> Response:
        return answer({**views.status_of(await self._runs.hold(state_of(request, "id"), held=True)), "held": True})

    async def resume(self, request: Request) -> Response:
        return answer({**views.status_of(await self._runs.hold(state_of(request, "id"), held=False)), "held": False})

    async def delete(self, request: Request) -> Response:
        await self._runs.delete(state_of(request, "id"))
        return Response(status_code=204)

    async def retry_many(self, request: Request) -> Response:
        return await self._many(request, lambda head: head.ended and head.status != "completed", self._runs.retry)

    async def cancel_many(self, request: Request) -> Response:
        return await self._many(request, lambda head: not head.ended and not head.stopping, self._runs.cancel)

    async def _many(
        self, request: Request, possible: Callable[[Any], bool], act: Callable[[str], Awaitable[object]]
    ) -> Response:
        """Say how many runs are meant, and do it to them in the background."""
        body = await self._bodies.json(request, dict)
        dry = body.get("dry_run", False)
        if not isinstance(dry, bool):
            raise InvalidRequest("'dry_run' has to be true or false")
        ids = await self._service.many_runs.matching(filter_of(body.get("filter")), possible)
        if not dry:
            self._service.later(self._service.many_runs.each(ids, act))
        return answer({"matched": len(ids), "dry_run": dry}, 202)

    async def events(self, request: Request) -> Response:
        graph_id, position = state_of(request, "id"), live.position_of(request)
        if wants_stream(request):
            head = await self._runs.head(graph_id)
            if (
                head.ended
                and position.seq == head.seq
                and "last-event-id" in request.headers
                and not await self._lost(graph_id, position)
            ):
                return Response(status_code=204)  # else an EventSource comes again for ever
            return live.stream(self._service, graph_id, position, request)
        reset = await self._lost(graph_id, position)
        page = await self._page(request, 0 if reset else position.seq)
        if page.last_seq < position.seq and not reset:
            reset, page = True, await self._page(request, 0)
        outputs = "output" in words(request, "include")
        shown = _renamed if request.query_params.get("names") == "underscore" else dict
        first = {"reset": True} if reset else {}
        last = {"next_after": page.next_after, "ended": page.ended}
        if not outputs:
            return answer({**first, "events": [shown(one) for one in page.events], **last})

        async def pieces() -> AsyncGenerator[bytes]:
            yield dumps({**first, "events": []})[:-2]
            async for piece in self._service.run_log.events_with_outputs(graph_id, page, shown):
                yield piece
            yield b"]," + dumps(last)[1:]

        return await answer_in_pieces(pieces(), request)

    async def _page(self, request: Request, after: int) -> EventPage:
        """Read the page of a run's events that *request* asks for."""
        return await self._service.run_log.events(
            state_of(request, "id"),
            after,
            number(request, "limit", 500, least=1, most=1000),
            tuple(word.replace("_", ".", 1) for word in words(request, "types")),
            nodes_named(request),
            outputs="output" in words(request, "include"),
        )

    async def _lost(self, graph_id: str, position: Position) -> bool:
        """Tell whether a run's log no longer has the event that a reader knows by its id: Redis lost the end of it."""
        return bool(position.four) and not await self._service.run_log.has_event(graph_id, position.seq, position.four)

    async def ticket(self, request: Request) -> Response:
        """Make what can stand in an address for a minute, if no header can be sent."""
        access = self._service.access
        return answer({"ticket": access.ticket(caller_of(request)), "expires_in": access.ticket_s}, 201)


def _renamed(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "type": event["type"].replace(".", "_")}


def _time(request: Request, name: str) -> int | None:
    """
    Read a time from the query, in ms since the epoch.

    Raises:
        InvalidRequest: It is none.
    """
    text = request.query_params.get(name, "").replace(" ", "+")  # a plus sign that was not written as %2B
    return time_in(text, name) if text else None
