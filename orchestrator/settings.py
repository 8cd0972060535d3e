"""Settings of an API process: one frozen value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from executor_worker.errors import ConfigError
from executor_worker.settings import Settings
from orchestrator.tokens_file import read_or_make


@dataclass(frozen=True, slots=True)
class Token:
    """
    One entry of API_TOKENS.

    Attributes:
        name: For logs and runs.
        role: read, submit or operate.
        secret: What a request brings.
    """

    name: str
    role: str
    secret: str

    def __repr__(self) -> str:
        return f"Token({self.name!r}, {self.role!r})"


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """
    Sizes in bytes, durations in seconds; 0 for a limit means none.

    Attributes:
        origins: From which pages of others may use the API; `*`: any.
        rate: Requests a second of one token or address.
        bodies: Large ones that are read and checked at once.
    """

    tokens: tuple[Token, ...] = ()
    origins: tuple[str, ...] = ()
    rate: float = 0.0
    bodies: int = 2
    max_graph_bytes: int = 4 * 2**20
    max_graph_nodes: int = 10_000
    max_graph_edges: int = 50_000
    max_active_graphs: int = 0
    run_queued_max: int = 500
    graph_timeout_s: float = 3600.0
    state_ttl_s: float = 86400.0


def api_settings(settings: Settings) -> ApiSettings:
    """
    Take the API's part out of *settings*, and check that it fits together.

    Raises:
        ConfigError: It would be open to every host that reaches its port, a token stands for two callers, or a
            certificate comes without its key.
    """
    tokens = settings.api_tokens
    if not (tokens or settings.api_open or is_loopback(settings.dago_http_host)):
        tokens = read_or_make(settings.api_tokens_create) if settings.api_tokens_create else ()
    if not (tokens or settings.api_open or is_loopback(settings.dago_http_host)):
        problem = f"{settings.dago_http_host!r} can be reached from other machines, and no token is asked for."
        fix = "Set API_TOKENS=name:role:token, or API_OPEN=1 if whoever reaches it may do everything."
        raise ConfigError("DAGO_HTTP_HOST", problem, fix)
    known = tuple(Token(*entry.split(":", 2)) for entry in tokens)
    _refuse_shared(known)
    if bool(settings.api_tls_cert) != bool(settings.api_tls_key):
        alone, other = ("CERT", "KEY") if settings.api_tls_cert else ("KEY", "CERT")
        raise ConfigError(f"API_TLS_{alone}", f"comes without API_TLS_{other}.", "Set both, or neither.")
    return ApiSettings(
        tokens=known,
        origins=settings.api_cors,
        rate=settings.api_rate / settings.api_processes,
        bodies=settings.api_bodies,
        max_graph_bytes=settings.max_graph_bytes,
        max_graph_nodes=settings.max_graph_nodes,
        max_graph_edges=settings.max_graph_edges,
        max_active_graphs=settings.max_active_graphs,
        run_queued_max=settings.run_queued_max,
        graph_timeout_s=settings.timeout_graph_execution,
        state_ttl_s=settings.state_ttl,
    )


def _refuse_shared(tokens: Iterable[Token]) -> None:
    """Refuse a token of two entries: whose it is, and what it may do, must be plain."""
    known: dict[str, Token] = {}
    for token in tokens:
        other = known.setdefault(token.secret, token)
        if other != token:
            problem = f"{other.name}:{other.role} and {token.name}:{token.role} have the same token."
            raise ConfigError("API_TOKENS", problem, "Give each of them a token of its own.")


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach *host*."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
