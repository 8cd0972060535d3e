"""Settings of traces: OpenTelemetry's own variables."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from executor_worker.settings import kinds
from executor_worker.settings.kinds import Shown
from executor_worker.settings.parts.part import Part, Text

TRACES_PATH = "/v1/traces"
OTLP = "otlp"
SAMPLERS = ("always_on", "always_off", "traceidratio")


class TraceFields(Part):
    """The traces' part of `Settings`."""

    otel_sdk_disabled: Annotated[bool, kinds.shared(kinds.switch("1"))] = Field(
        False, description="`true`: no traces, whatever else says so"
    )
    otel_exporter_otlp_endpoint: Annotated[str, kinds.shared(kinds.url())] = Field(
        "", description="Traces are sent there by OTLP over HTTP, to `/v1/traces`; empty: none (docs/TRACING.md)"
    )
    otel_exporter_otlp_traces_endpoint: Annotated[str, kinds.shared(kinds.url())] = Field(
        "", description="The same as the whole address, path included; goes first"
    )
    otel_exporter_otlp_headers: Annotated[dict[str, str], kinds.shared(kinds.headers("x-key=the-key"))] = Field(
        {}, description="Headers that the collector asks for: comma-separated `name=value`", repr=False
    )
    otel_exporter_otlp_protocol: Annotated[str, kinds.shared(kinds.choice("http/protobuf"))] = Field(
        "http/protobuf", description="The only one there is"
    )
    otel_traces_exporter: Annotated[
        tuple[str, ...], kinds.lowercase_words("a list of exporters", OTLP), Shown("otlp where an endpoint is set")
    ] = Field((), description="`otlp` (also without an endpoint: to localhost:4318) or `none`; others are passed over")
    otel_service_name: Annotated[Text, Shown("executor-worker")] = Field(
        "", description="Whose traces they are; before a `service.name` in OTEL_RESOURCE_ATTRIBUTES"
    )
    otel_resource_attributes: Annotated[
        dict[str, str], kinds.shared(kinds.pairs("a list of name=value", "deployment.environment.name=production"))
    ] = Field({}, description="What else is said of where they come from: comma-separated `name=value`")
    otel_traces_sampler: Annotated[
        str, kinds.shared(kinds.choice(*(prefix + name for prefix in ("parentbased_", "") for name in SAMPLERS)))
    ] = Field(
        "parentbased_always_on",
        description="Which traces are made: `always_on`, `always_off` or `traceidratio`; with `parentbased_` in front"
        " only where an item brings no trace of its own",
    )
    otel_traces_sampler_arg: Annotated[float, kinds.shared(kinds.share())] = Field(
        1.0, description="The share that `traceidratio` takes"
    )

    @property
    def traces_endpoint(self) -> str:
        """The address that traces are sent to; empty: none are made."""
        base = self.otel_exporter_otlp_endpoint
        given = self.otel_exporter_otlp_traces_endpoint or (f"{base}{TRACES_PATH}" if base else "")
        if self.traces_off:
            return ""
        return given or (f"http://localhost:4318{TRACES_PATH}" if self.otel_traces_exporter else "")

    @property
    def traces_off(self) -> bool:
        """Tell whether no traces are made, whatever the endpoint."""
        asked = self.otel_traces_exporter
        return self.otel_sdk_disabled or "none" in asked or (bool(asked) and OTLP not in asked)
