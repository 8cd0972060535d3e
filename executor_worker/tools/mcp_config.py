"""Configuration of MCP servers: MCP_SERVERS and the file MCP_CONFIG."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from executor_worker.errors import ConfigError
from executor_worker.run_context import Circuit
from executor_worker.settings import addresses
from executor_worker.settings.header_text import stray
from executor_worker.tools.base import Effects
from executor_worker.tools.mcp_file import Entry, ToolRule, bad_file, filled, read_entries

RemoteKind = Literal["auto", "http", "sse"]

# Names of headers and variables whose values are not to be shown; others (`DEBUG=true`) are words like any.
_SECRET_NAME = re.compile(r"auth|key|token|secret|pass|cookie|credential", re.IGNORECASE)
_NAMED = re.compile(r"([^/=?]+)=(.*)", re.DOTALL)
_ASSIGNED = re.compile(r"(-{0,2}[\w-]+)(?:=|:\s)\s*(.*)", re.DOTALL)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_INHERITED = (
    "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
    "EXECUTOR_POOL",  # the pool's mark, by which what is left of it is found
)  # fmt: skip
_KINDS: dict[str, RemoteKind] = {
    "remote": "auto",
    "auto": "auto",
    "http": "http",
    "streamable-http": "http",
    "streamableHttp": "http",
    "streamable_http": "http",
    "streamableHTTP": "http",
    "sse": "sse",
}


@dataclass(frozen=True, slots=True)
class Remote:
    """
    A server reached over HTTP.

    Attributes:
        kind: `auto`: Streamable HTTP, else the older SSE; the other way round if the path ends in `/sse`.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    kind: RemoteKind = "auto"

    @property
    def connect_seconds(self) -> float:
        """For connecting, the handshake and the list of tools together."""
        return 10.0


@dataclass(frozen=True, slots=True)
class Local:
    """
    A server that is started here and spoken to over its stdin and stdout.

    Attributes:
        shared: One for the whole pool, if there is one; else one for each worker.
    """

    command: str
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    shared: bool = False

    @property
    def connect_seconds(self) -> float:
        """As for `Remote`; longer, as `npx` and `uvx` may have to install it first."""
        return 30.0


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """
    Attributes:
        rule: For all its tools; `tools` has what is said of single ones.
        offered: Its tools that may be called; None: all it has, but those of `not_offered`.
    """

    name: str
    target: Remote | Local
    rule: ToolRule = field(default_factory=ToolRule)
    tools: Mapping[str, ToolRule] = field(default_factory=dict)
    offered: frozenset[str] | None = None
    not_offered: frozenset[str] = frozenset()

    @property
    def secrets(self) -> tuple[str, ...]:
        """Collect the secrets in its address, headers, arguments and environment; of `Bearer x` the x too."""
        target = self.target
        given = target.headers if isinstance(target, Remote) else target.env
        values = [value for name, value in given.items() if _SECRET_NAME.search(name)]
        if isinstance(target, Remote):
            values += addresses.passwords_in(target.url)
        else:
            values += _secret_arguments(target.args)
        return tuple(part for value in values for part in (value, value.rpartition(" ")[2]) if part)

    def offers(self, tool: str) -> bool:
        """Tell whether the operator lets *tool* be called."""
        return tool not in self.not_offered and (self.offered is None or tool in self.offered)

    def effects_of(self, tool: str) -> Effects | None:
        return self.tools.get(tool, self.rule).effects or self.rule.effects

    def timeout_of(self, tool: str) -> float | None:
        return self.tools.get(tool, self.rule).timeout or self.rule.timeout

    @property
    def circuit(self) -> Circuit:
        """All its tools: told apart from others by its address, or how it is started, without secrets."""
        target, secrets = self.target, self.secrets
        words: list[str]
        if isinstance(target, Remote):
            words = [addresses.without_password(target.url)]
        else:
            given = [*target.args, *(f"{name}={value}" for name, value in sorted(target.env.items()))]
            words = [target.command, *(word for word in given if not any(secret in word for secret in secrets))]
        written = "\0".join(words).encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(written, digest_size=6).hexdigest()
        return Circuit("mcp", self.name, digest, self.rule.on_open == "fail")

    def circuits_of(self, tool: str) -> tuple[Circuit, Circuit]:
        """Say with what *tool* is held back: with its server, and by itself."""
        on_open = self.tools.get(tool, self.rule).on_open or self.rule.on_open
        fails, server = on_open == "fail", self.circuit
        return replace(server, fails=fails), Circuit("tool", f"{self.name}.{tool}", server.scope, fails)


def _secret_arguments(args: Iterable[str]) -> Iterator[str]:
    """Find the secrets in `--token x`, `--token=x`, `NAME_KEY=x`, `Authorization: Bearer x` and addresses."""
    named = ""
    for argument in args:
        yield from addresses.passwords_in(argument) if "://" in argument else ()
        match = _ASSIGNED.match(argument)
        if match and _SECRET_NAME.search(match[1]):
            yield match[2]
        elif named and not argument.startswith("-"):
            yield argument
        named = argument if argument.startswith("-") and _SECRET_NAME.search(argument) and not match else ""


def load_servers(urls: Iterable[str], path: str, environ: Mapping[str, str]) -> list[ServerConfig]:
    """
    Read MCP_SERVERS and the file MCP_CONFIG names.

    Args:
        environ: For `${NAME}` and `${NAME:-default}` in the file.

    Raises:
        ConfigError: Names the variable, the server and the fix; never a header's or variable's value.
    """
    servers = [*_from_urls(urls), *(_from_file(path, environ) if path else ())]
    twice = [name for name, count in Counter(server.name for server in servers).items() if count > 1]
    if twice:
        raise ConfigError(
            "MCP_CONFIG" if path else "MCP_SERVERS",
            f"two servers are called {twice[0]!r}.",
            "Give each a name of its own, in MCP_SERVERS as name=url.",
        )
    return servers


def server_names(urls: Iterable[str]) -> list[str]:
    """Name the servers of MCP_SERVERS."""
    return [server.name for server in _from_urls(urls)]


def _from_urls(words: Iterable[str]) -> list[ServerConfig]:
    named = [_split_name(word) for word in words]
    hosts = Counter(urlsplit(url).netloc for _, url in named)
    return [ServerConfig(name or _name_of(url, hosts), Remote(url)) for name, url in named]


def _split_name(word: str) -> tuple[str, str]:
    match = _NAMED.fullmatch(word.strip())
    name, url = (match[1].strip(), match[2].strip()) if match else ("", word.strip())
    if not addresses.is_url(url):
        raise ConfigError(
            "MCP_SERVERS",
            f"{addresses.shown(url)} is no URL.",
            "Use http:// or https:// URLs, comma-separated, or name=url.",
        )
    return name, url


def _name_of(url: str, hosts: Counter[str]) -> str:
    """The host, and the port if it says one; with the path if several servers are on it."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return host if hosts[parts.netloc] == 1 else f"{host}{parts.path}".rstrip("/")


def _from_file(path: str, environ: Mapping[str, str]) -> list[ServerConfig]:
    return [_server(name, entry, path, environ) for name, entry in read_entries(path).items()]


def _server(name: str, entry: Entry, path: str, environ: Mapping[str, str]) -> ServerConfig:
    try:
        target = _target(entry, environ)
    except ValueError as error:
        raise bad_file(path, f"server {name!r}: {error}") from error
    return ServerConfig(
        name,
        target,
        ToolRule(effects=entry.effects, timeout=entry.timeout_s, on_open=entry.on_open),
        entry.tools,
        None if entry.offered is None else frozenset(entry.offered),
        frozenset(entry.not_offered),
    )


def _header(name: str, value: str) -> tuple[str, str]:
    """
    Raises:
        ValueError: No request could carry it; the value is not shown.
    """
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a header")
    value = value.strip()
    if fault := stray(value):
        raise ValueError(f"no header can carry what its header {name!r} has: {fault}")
    return name, value


def _target(entry: Entry, environ: Mapping[str, str]) -> Remote | Local:
    def text(written: str) -> str:
        return filled(written, environ)

    if (entry.url is None) == (entry.command is None):
        raise ValueError("it needs either `url` or `command`")
    if entry.url is not None:
        if entry.shared:
            raise ValueError("`shared` is for servers with a `command`: one with a `url` is shared anyway")
        url = text(entry.url)
        if not addresses.is_url(url):
            raise ValueError("its `url` is no http:// or https:// URL")
        if entry.type is not None and entry.type not in _KINDS:
            raise ValueError(f"its `type` {entry.type!r} is not one of {', '.join(sorted(_KINDS))}")
        kind = "auto" if entry.type is None else _KINDS[entry.type]
        return Remote(url, dict(_header(key, text(value)) for key, value in entry.headers.items()), kind)
    assert entry.command is not None
    env = {key: text(value) for key, value in entry.env.items()}
    cwd = None if entry.cwd is None else str(Path(text(entry.cwd)).expanduser())
    return Local(text(entry.command), tuple(text(argument) for argument in entry.args), env, cwd, entry.shared)


def server_environment(local: Local, environ: Mapping[str, str]) -> dict[str, str]:
    """Make all that a server gets of an environment: enough of ours to run, no secret, and what its entry says."""
    return {name: environ[name] for name in _INHERITED if name in environ} | dict(local.env)
