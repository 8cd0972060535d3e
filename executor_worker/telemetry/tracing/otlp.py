"""
Spans as OpenTelemetry has them: names and attributes of its conventions for messaging and for GenAI.

They hold names, numbers and codes; no prompt, argument, answer, error's text or key. The provider is ours alone: SDKs
that make spans of their own, contents included, find none to make them with, and models' providers are told nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from executor_worker.errors import Abandoned, NodeError, Overdue, Parked, Stopped, StreamError
from executor_worker.outcome import Mode, Usage
from executor_worker.telemetry.tracing import ItemFacts, RequestSpan, RunFacts, Span, Tracing
from executor_worker.telemetry.tracing.sending import Sender

GROUP = "executor-workers"  # as in `stream`, which is out of sight here; a test holds the two together
_PROVIDERS = {"gemini": "gcp.gemini"}  # where the convention has another name
_LONGEST = 256  # characters
_LONGEST_STATE = 512  # what every receiver has to take of a `tracestate`
_W3C = TraceContextTextMapPropagator()


class OtlpTracing(Tracing):
    """
    See `Tracing`.

    Args:
        sender: Begins with the first item only, which comes after the fork.
        provider: The models' provider that is set.
    """

    wanted = True

    def __init__(self, sender: Sender, provider: str = "") -> None:
        self._sender = sender
        self._provider = provider
        self._open: list[_Recorded] = []

    @property
    def headers(self) -> dict[str, str]:
        return self._open[-1].headers() if self._open else {}

    @property
    def item_traceparent(self) -> str:
        return self._open[0].headers().get("traceparent", "") if self._open else ""

    def item(self, facts: ItemFacts) -> Span:
        self._open.clear()  # what was interrupted in the midst of its beginning or end
        attributes: dict[str, str | int] = {
            "messaging.system": "redis",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": facts.stream,
            "messaging.consumer.group.name": GROUP,
            "messaging.client.id": facts.consumer,
            "messaging.message.id": facts.entry,
            "messaging.message.body.size": facts.size,
            "dago.graph.id": facts.graph_id,
            "dago.node.id": facts.node_id,
            "dago.execution.id": facts.execution_id,
            "dago.item.deliveries": facts.count,
            "dago.item.attempt": facts.attempt,
        }
        name, began_ns = f"process {facts.stream}", int(facts.taken_at * 1e9)
        around = _around(facts.traceparent, facts.tracestate)
        if facts.queued_at is not None:
            self._waited(facts, around)
        return self._begin(name, SpanKind.CONSUMER, attributes, around, began_ns)

    def _waited(self, facts: ItemFacts, around: Context) -> None:
        """Tell how long an item of a run was in its queue."""
        began_ns = int((facts.queued_at or 0.0) * 1e9)
        told = {"dago.graph.id": _clean(facts.graph_id), "dago.node.id": _clean(facts.node_id)}
        span = self._sender.tracer.start_span(
            f"wait {facts.stream}", around, SpanKind.INTERNAL, told, start_time=began_ns
        )
        span.end(max(int(facts.taken_at * 1e9), began_ns))

    def request(self, name: str, kind: str, headers: Mapping[str, str]) -> RequestSpan:
        around = _around(headers.get("traceparent"), headers.get("tracestate"))
        span = self._sender.tracer.start_span(name, around, SpanKind.SERVER, {"dago.protocol": kind})
        return _Request(span)

    def run(self, facts: RunFacts) -> None:
        own = _around(facts.traceparent, facts.tracestate)
        known = trace.get_current_span(own).get_span_context()
        if not known.is_valid:
            return
        attributes: dict[str, str | int] = {
            "dago.graph.id": facts.graph_id,
            "dago.graph.name": facts.name,
            "dago.graph.status": facts.status,
            "dago.graph.epoch": facts.epoch,
        }
        first = facts.epoch == 1
        around = _around(_renamed(facts.traceparent, facts.parent), facts.tracestate) if facts.parent else Context()
        links = () if first else (trace.Link(known, {"dago.link": "retried"}),)
        with self._sender.ids.given(known.trace_id, known.span_id if first else None):
            span = self._sender.tracer.start_span(
                str(_clean(f"run {facts.name or 'graph'}")),
                around,
                SpanKind.INTERNAL,
                {key: _clean(value) for key, value in attributes.items() if value != ""},
                links,
                int(facts.began_s * 1e9),
            )
        if facts.status == "failed":
            span.set_status(StatusCode.ERROR)
        span.end(int(facts.ended_s * 1e9))

    def agent(self, node_id: str, model: str) -> Span:
        return self._of_model("invoke_agent", node_id, SpanKind.INTERNAL, model, {"gen_ai.agent.name": node_id})

    def model(self, model: str) -> Span:
        return self._of_model("chat", model, SpanKind.CLIENT, model, {})

    def tool(self, name: str, source: str) -> Span:
        mcp = source.startswith("mcp ")
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.type": "extension" if mcp else "function",
            "mcp.method.name": "tools/call" if mcp else "",
            "dago.tool.source": source,
        }
        return self._begin(f"execute_tool {name}", SpanKind.INTERNAL, attributes)

    def resumed(self, traceparent: str) -> None:
        before = trace.get_current_span(_W3C.extract({"traceparent": traceparent}, Context())).get_span_context()
        if self._open and before.is_valid:
            self._open[0].span.add_link(before, {"dago.link": "resumed"})

    def heard(self) -> bool:
        return self._sender.heard()

    def close(self, seconds: float) -> None:
        self._sender.close(seconds)

    def close_from(self, span: _Recorded) -> None:
        """Forget *span*, and whatever is still open in it."""
        if span in self._open:
            del self._open[self._open.index(span) :]

    def _of_model(self, does: str, what: str, kind: SpanKind, model: str, more: Mapping[str, str]) -> Span:
        attributes = {
            "gen_ai.operation.name": does,
            "gen_ai.provider.name": named(self._provider),
            "gen_ai.request.model": model,
        }
        return self._begin(f"{does} {what}", kind, {**attributes, **more})

    def _begin(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, str | int],
        parent: Context | None = None,
        began_ns: int | None = None,
    ) -> Span:
        if parent is None:
            parent = self._open[-1].context() if self._open else Context()
        known = {key: _clean(value) for key, value in attributes.items() if value != ""}
        span = self._sender.tracer.start_span(str(_clean(name)), parent, kind, known, start_time=began_ns)
        self._open.append(_Recorded(self, span))
        return self._open[-1]


class _Recorded(Span):
    def __init__(self, tracing: OtlpTracing, span: trace.Span) -> None:
        self._tracing = tracing
        self._told = False
        self.span = span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and not self._told:
            self.failed(_code_of(error))
        self._tracing.close_from(self)
        self.span.end()

    def answered(self, model: str, provider: str, stop_reason: str, usage: Usage) -> None:
        self._say(
            {
                "gen_ai.provider.name": named(provider),
                "gen_ai.response.model": model,
                "gen_ai.usage.input_tokens": usage.prompt_tokens,
                "gen_ai.usage.output_tokens": usage.output_tokens,
                "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens or "",
                "gen_ai.usage.cache_write.input_tokens": usage.cache_write_tokens or "",
            }
        )
        self.span.set_attribute("gen_ai.response.finish_reasons", [stop_reason])

    def failed(self, code: str) -> None:
        self.span.set_attribute("error.type", code)
        self.span.set_status(StatusCode.ERROR)

    def ended(self, how: str, mode: Mode | None = None, code: str | None = None) -> None:
        self._told = True
        self._say({"dago.item.outcome": how, "dago.node.mode": mode or ""})
        if code is not None:
            self.failed(code)

    def headers(self) -> dict[str, str]:
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, self.context())
        return carrier

    def context(self) -> Context:
        return trace.set_span_in_context(self.span, Context())

    def _say(self, attributes: Mapping[str, str | int]) -> None:
        self.span.set_attributes({key: _clean(value) for key, value in attributes.items() if value != ""})


def named(provider: str) -> str:
    """The convention's name of one of our providers."""
    return _PROVIDERS.get(provider, provider)


class _Request(RequestSpan):
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def headers(self) -> dict[str, str]:
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, trace.set_span_in_context(self._span, Context()))
        return carrier

    def link(self, traceparent: str) -> None:
        about = trace.get_current_span(_around(traceparent, None)).get_span_context()
        if about.is_valid:
            self._span.add_link(about, {"dago.link": "about"})

    def ended(self, code: str, *, failed: bool) -> None:
        self._span.set_attribute("dago.response.code", code)
        if failed:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def _around(traceparent: str | None, tracestate: str | None) -> Context:
    """Find the span that these name; none if they are nothing that can be read."""
    carrier = {"traceparent": traceparent or ""}
    if tracestate and len(tracestate) <= _LONGEST_STATE:
        carrier["tracestate"] = tracestate
    return _W3C.extract(carrier, Context())


def _renamed(traceparent: str, span: str) -> str:
    """Name another *span* of the same trace."""
    version, trace_id, _, flags = traceparent.split("-")
    return f"{version}-{trace_id}-{span}-{flags}"


def _clean(value: str | int) -> str | int:
    """Make a text short, and one that can be sent: names may come from any producer."""
    return value[:_LONGEST].encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _code_of(error: BaseException) -> str:
    match error:
        case NodeError():
            return error.code
        case Stopped():
            return "cancelled"
        case Overdue():
            return "node_timeout"
        case Abandoned() | Parked():
            return type(error).__name__.lower()
        case StreamError():
            return "unsettled"
    return "internal"
