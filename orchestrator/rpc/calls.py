"""The calls of `orchestrator.proto`, each a thin face over a verb of the service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from executor_worker.graph import repeated_names
from executor_worker.graph.problems import Problem, pointer
from executor_worker.json_text import dumps, loads
from executor_worker.telemetry import logs
from executor_worker.telemetry.tracing import RequestSpan
from orchestrator.errors import ApiError, Internal, InvalidRequest, TooLarge, Unavailable
from orchestrator.rpc import orchestrator_pb2 as messages
from orchestrator.rpc import orchestrator_pb2_grpc
from orchestrator.rpc.unreadable import UNREADABLE
from orchestrator.service import Caller, Context, Order, Service, as_api_error, context_of, views
from orchestrator.shown import Batch, Mark, Position, Shown, Wanted

Measured = Callable[[str, str, float], None]
DOMAIN = "dago.v1"
SLOW_S = 5.0  # a reader that takes nothing for so long is cut off


class Calls(orchestrator_pb2_grpc.OrchestratorServiceServicer):
    """Each method answers one call; its name is the protocol's."""

    def __init__(self, service: Service, measured: Measured) -> None:
        self._service = service
        self._measured = measured

    async def SubmitGraph(self, request: Any, context: Any) -> Any:  # noqa: N802
        async with self._answering(request, context, "SubmitGraph", "submit") as (caller, span):
            about = context_of({**_metadata(context), **span.headers}, caller.name)
            about = Context(about.name, request.idempotency_key or about.key, about.traceparent, about.tracestate)
            size = request.ByteSize()
            if size > self._service.settings.max_graph_bytes:
                raise TooLarge("the request is larger than MAX_GRAPH_BYTES")

            def read() -> Order:
                body, repeated = _body(request)
                return self._service.runs.read(body, keyed=bool(about.key), repeated=repeated)

            made = await self._service.submit(self._service.work(size, read), about)
            return messages.SubmitGraphResponse(graph_id=made.graph_id, status=made.status)

    async def GetGraphStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        async with self._answering(request, context, "GetGraphStatus", "read"):
            status = views.status_of(await self._service.runs.head(request.graph_id))
            del status["seq"]
            return messages.GetGraphStatusResponse(**{name: value or "" for name, value in status.items()})

    async def GetGraphResult(self, request: Any, context: Any) -> Any:  # noqa: N802
        async with self._answering(request, context, "GetGraphResult", "read"):
            result = loads(await self._service.runs.result(request.graph_id))
            return messages.GetGraphResultResponse(
                graph_id=result["graph_id"],
                status=result["status"],
                result_json=dumps(result["result"]).decode(),
                output_json=dumps(result["output"]).decode(),
                error=result["error"] or "",
            )

    async def CancelGraph(self, request: Any, context: Any) -> Any:  # noqa: N802
        async with self._answering(request, context, "CancelGraph", "operate"):
            done = await self._service.runs.cancel(request.graph_id)
            at = views.time_of(done.cancelled_at_ms)
            return messages.CancelGraphResponse(graph_id=done.graph_id, status="cancelled", cancelled_at=at)

    async def SignalNode(self, request: Any, context: Any) -> Any:  # noqa: N802
        async with self._answering(request, context, "SignalNode", "operate"):
            payload = _json("payload_json", request.payload_json, "", [])
            await self._service.runs.signal(request.graph_id, request.node_id, payload)
            return messages.SignalNodeResponse(status="signalled")

    async def StreamGraphEvents(self, request: Any, context: Any) -> None:  # noqa: N802
        async with self._answering(request, context, "StreamGraphEvents", "read"):
            if request.after_seq < 0:
                raise InvalidRequest("after_seq has to be the number of an event, or 0")
            self._service.meter.subscribed(1)
            try:
                feeds, wanted = self._service.feeds, Wanted(deltas=request.deltas)
                async with aclosing(feeds.follow(request.graph_id, Position(request.after_seq), wanted)) as batches:
                    async for batch in batches:
                        await self._show(batch, request.graph_id, context)
            finally:
                self._service.meter.subscribed(-1)

    async def _show(self, batch: Batch | Mark, graph_id: str, context: Any) -> None:
        """
        Raises:
            Unavailable: This process ends.
            TimeoutError: The reader is too slow.
        """
        match batch:
            case Mark.LEAVING:
                raise Unavailable("this server ends; join again at the last seq")
            case Mark.RESET:
                await context.write(messages.GraphEvent(type="reset", graph_id=graph_id, data_json="{}"))
            case Batch():
                for one in batch:
                    async with asyncio.timeout(SLOW_S):
                        await context.write(_message(one))

    @asynccontextmanager
    async def _answering(
        self, request: Any, context: Any, name: str, role: str
    ) -> AsyncIterator[tuple[Caller, RequestSpan]]:
        """Admit the caller, and turn whatever goes wrong into a status."""
        began, code = time.monotonic(), "OK"
        span = self._service.tracing.request(f"{DOMAIN}.OrchestratorService/{name}", "grpc", _metadata(context))
        try:
            caller = self._admit(context)
            caller.require(role)
            if request is UNREADABLE:
                raise InvalidRequest("the request can't be read: it is no message of its type")
            yield caller, span
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except grpc.aio.InternalError:  # its client hung up while it was written to
            code = "CANCELLED"
            raise asyncio.CancelledError from None
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a status
            known = as_api_error(error) if not isinstance(error, TimeoutError) else _slow()
            if isinstance(known, Internal):
                logs.error("api.failed", exception=error, route=name, method="gRPC")
            code = known.grpc
            await context.abort_with_status(rpc_status.to_status(_status(known)))  # type: ignore[no-untyped-call]
        finally:
            span.ended(code, failed=code in ("INTERNAL", "UNAVAILABLE"))
            self._measured(f"/{DOMAIN}.OrchestratorService/{name}", code, time.monotonic() - began)

    def _admit(self, context: Any) -> Caller:
        access = self._service.access
        address = context.peer().rpartition(":")[0]
        return access.enter(address, _metadata(context).get("authorization", ""))


def _slow() -> ApiError:
    return TooLarge("the reader is too slow; join again at the last seq")


def _status(error: ApiError) -> Any:
    """Write a status with the API's own code, in the message and as google.rpc.ErrorInfo."""
    about = {"details": dumps(error.details).decode()} if error.details is not None else {}
    about |= {"retry_after": error.headers["Retry-After"]} if "Retry-After" in error.headers else {}
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason=error.code, domain=DOMAIN, metadata=about))
    number = getattr(grpc.StatusCode, error.grpc).value[0]
    return status_pb2.Status(code=number, message=f"{error.code}: {error}", details=[info])


def _metadata(context: Any) -> dict[str, str]:
    pairs = context.invocation_metadata() or ()
    return {name: value for name, value in pairs if isinstance(value, str)}


def _body(request: Any) -> tuple[dict[str, Any], list[Problem]]:
    """
    Make of a request what HTTP has as its body, and tell the names that stand twice in it.

    Raises:
        InvalidRequest: Its JSON is none.
    """
    if not request.graph_json:
        raise InvalidRequest("there is no `graph` in the request: graph_json is empty")
    repeated: list[Problem] = []
    inputs = {name: _value(name, text, repeated) for name, text in request.inputs.items()}
    more = _json("inputs_json", request.inputs_json, "/inputs", repeated) if request.inputs_json else {}
    if not isinstance(more, dict):
        raise InvalidRequest("inputs_json has to be a JSON object")
    graph = _json("graph_json", request.graph_json, "/graph", repeated)
    return {"graph": graph, "inputs": {**inputs, **more}}, repeated


def _json(name: str, text: str, prefix: str, repeated: list[Problem]) -> Any:
    try:
        value, problems = repeated_names.read(text.encode())
    except ValueError as error:
        raise InvalidRequest(f"{name} is no JSON: {str(error)[:200]}") from None
    repeated += (one.under(prefix) for one in problems)
    return value


def _value(name: str, text: str, repeated: list[Problem]) -> Any:
    """Read an input: JSON where it parses, else text."""
    try:
        return _json(name, text, pointer(((None, "inputs"), name)), repeated)
    except InvalidRequest:
        return text


def _message(one: Shown) -> Any:
    event = one.event
    return messages.GraphEvent(
        id=event.get("id", ""),
        seq=one.seq,
        type=one.kind,
        graph_id=event["graph_id"],
        node_id=one.node,
        timestamp=event["timestamp"],
        data_json=dumps(event["data"]).decode(),
    )
