"""A collector of traces: takes OTLP over HTTP as the protocol has it, and keeps what came."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Wire
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.kit.waiting import wait_until

TRACES = "/v1/traces"


@dataclass(frozen=True)
class Seen:
    """A span as it came; ids in hex, `parent` empty at a trace's root."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    failed: bool
    said: str
    attributes: dict[str, Any]
    links: tuple[str, ...]
    resource: dict[str, Any]
    seconds: float


class Collector:
    """
    Attributes:
        url: What OTEL_EXPORTER_OTLP_ENDPOINT is to be.
        bodies: All requests for traces as they came.
        headers: Those of all requests: (path, headers by lower-case name).
    """

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[tuple[str, dict[str, str]]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._note()
                self._answer("text/plain", b"seen")

            def do_POST(self) -> None:
                self._note()
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == TRACES:
                    collector.bodies.append(body)
                self._answer("application/x-protobuf", b"")

            def _note(self) -> None:
                collector.headers.append((self.path, {name.lower(): text for name, text in self.headers.items()}))

            def _answer(self, kind: str, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="collector", daemon=True)
        self._thread.start()

    @property
    def spans(self) -> list[Seen]:
        return [span for body in list(self.bodies) for span in _read(body)]

    def item(self, graph: str, seconds: float = 20.0, count: int = 1) -> Seen:
        """Wait for the *count*-th span of an item of *graph*: it comes after all that were in it."""
        return wait_until(lambda: self.items(graph)[count - 1 :], seconds, f"a span of {graph}")[0]

    def items(self, graph: str) -> list[Seen]:
        return [span for span in self.spans if span.attributes.get("dago.graph.id") == graph]

    def inside(self, span: Seen) -> list[Seen]:
        """Answer what was begun in *span*, in the order in which it ended."""
        return [each for each in self.spans if each.parent == span.id and each.trace == span.trace]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def _read(body: bytes) -> list[Seen]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        _seen(span, _attributes(of.resource.attributes))
        for of in request.resource_spans
        for scope in of.scope_spans
        for span in scope.spans
    ]


def _seen(span: Wire, resource: dict[str, Any]) -> Seen:
    return Seen(
        name=span.name,
        kind=Wire.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        said=span.status.message,
        attributes=_attributes(span.attributes),
        links=tuple(link.trace_id.hex() for link in span.links),
        resource=resource,
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind or "string_value")
