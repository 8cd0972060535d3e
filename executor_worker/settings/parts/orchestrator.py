"""Settings of the orchestrator: its ports, its access, its limits."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from executor_worker.settings import kinds
from executor_worker.settings.hosts import origins
from executor_worker.settings.kinds import Shown
from executor_worker.settings.parts.part import Part

ROLES = ("read", "submit", "operate")
_TOKEN = re.compile(rf"[A-Za-z0-9_.-]{{1,64}}:(?:{'|'.join(ROLES)}):[!-+\--~]+")
TOKENS = replace(
    kinds.words("a list of name:role:token", "ci:submit:a-long-random-word", _TOKEN.fullmatch), secret=True
)


class OrchestratorFields(Part):
    """The orchestrator's part of `Settings`; durations are seconds, sizes bytes."""

    api: Annotated[bool, kinds.switch("1")] = Field(
        False, description="`run` serves the orchestrator's API too, as `run --api` does"
    )
    dago_http_host: Annotated[str, kinds.text()] = Field(
        "127.0.0.1",
        description="Address the API listens on; another host than loopback needs `API_TOKENS` or `API_OPEN=1`",
    )
    dago_http_port: Annotated[int | None, kinds.or_none(kinds.whole(0, 65535, 8080))] = Field(
        8080, description="Port of HTTP, SSE and WebSocket; 0 = any free one, logged; empty = none"
    )
    dago_grpc_port: Annotated[int | None, kinds.or_none(kinds.whole(0, 65535, 9090))] = Field(
        9090, description="Port of gRPC, on the same address; 0 = any free one, logged; empty = none"
    )
    api_tokens: Annotated[tuple[str, ...], TOKENS] = Field(
        (),
        description="Who may use the API: comma-separated `name:role:token`; role `read`, `submit` (and read) or"
        " `operate` (all)",
        repr=False,
    )
    api_tokens_create: Annotated[str, kinds.text()] = Field(
        "",
        description="Path of a file that the API beyond loopback makes, with a token in it, if it has no tokens and is"
        " not open; read from then on",
    )
    api_open: Annotated[bool, kinds.switch("1")] = Field(
        False, description="Serve beyond loopback without tokens: whoever reaches the port may do everything"
    )
    api_tls_cert: Annotated[str, kinds.text()] = Field(
        "", description="Path of the API's certificate chain (PEM), for HTTP, WebSocket and gRPC; read anew at a reload"
    )
    api_tls_key: Annotated[str, kinds.text()] = Field("", description="Path of its private key (PEM)")
    api_processes: Annotated[int, kinds.whole(1, 64, 1)] = Field(1, description="API processes that share the port")
    api_cors: Annotated[tuple[str, ...], origins()] = Field(
        (), description="Origins whose pages may use the API, `*` for any; without credentials"
    )
    api_rate: Annotated[int, kinds.whole(0, 10**6, 50)] = Field(
        0, description="Requests a second of one token (or address); 0 = no limit"
    )
    api_bodies: Annotated[int, kinds.whole(1, 1000, 2)] = Field(
        2, description="Bodies over 64 KiB that one API process reads and checks at the same time"
    )
    dago_url: Annotated[str, kinds.url()] = Field(
        "", description="An API that the `graph` commands talk to; empty: to Redis themselves"
    )
    dago_token: Annotated[str, kinds.token()] = Field("", description="The token they bring", repr=False)
    database_url: Annotated[
        str,
        replace(kinds.text("a postgresql:// URL", "postgresql://user@host/name", r"postgres(ql)?://.+"), secret=True),
    ] = Field("", description="PostgreSQL database that ended jobs are kept in (docs/ROLES.md)", repr=False)
    max_graph_bytes: Annotated[int, kinds.size("4MiB"), Shown("4MiB")] = Field(
        4 * 2**20, description="A larger body is refused"
    )
    max_graph_nodes: Annotated[int, kinds.whole(1, 10**6, 10_000)] = Field(
        10_000, description="A graph of more nodes is refused"
    )
    max_graph_edges: Annotated[int, kinds.whole(1, 10**7, 50_000)] = Field(
        50_000, description="A graph of more edges is refused"
    )
    max_active_graphs: Annotated[int, kinds.whole(0, 10**9, 1000)] = Field(
        0, description="Graphs that run at the same time: more are refused; 0 = no limit"
    )
    run_queued_max: Annotated[int, kinds.whole(1, 100_000, 500)] = Field(
        500, description="Nodes of one run that are queued or held at once; a graph's `max_parallel` goes first"
    )
    timeout_graph_execution: Annotated[float, kinds.duration(0.0, "1h")] = Field(
        3600.0, description="A run that lasts longer fails; a graph's own `timeout` goes first; 0 = no limit"
    )
    timeout_node_execution: Annotated[float, kinds.duration(0.0, "5m")] = Field(
        0.0, description="For a run's node that names no `timeout`; 0 = `NODE_TIMEOUT`, beyond which none goes"
    )
