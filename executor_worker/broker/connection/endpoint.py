"""The Redis endpoint: the address, and who we are there, from `REDIS_ADDR` and its neighbours."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import SplitResult, parse_qsl, unquote

from executor_worker.errors import ConfigError
from executor_worker.settings import addresses

DEFAULT_PORT = 6379
SENTINEL_PORT = 26379
SCHEMES = {
    "redis": False,
    "valkey": False,
    "rediss": True,
    "valkeys": True,
    "unix": False,
    "redis+sentinel": False,
    "rediss+sentinel": True,
}
"""Scheme → whether it means TLS."""


@dataclass(frozen=True, slots=True)
class Tls:
    """
    Trust in the server: the parameters `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, `ssl_cert_reqs`
    and `ssl_check_hostname` of a `rediss://` URL, as other clients name them too.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True
    check_hostname: bool = True

    def as_keywords(self) -> dict[str, Any]:
        """The same as redis-py's connections take it."""
        return {
            "ssl": True,
            "ssl_ca_certs": self.ca_file,
            "ssl_certfile": self.cert_file,
            "ssl_keyfile": self.key_file,
            "ssl_cert_reqs": "required" if self.verify else "none",
            "ssl_check_hostname": self.verify and self.check_hostname,
        }

    def context(self) -> ssl.SSLContext:
        """
        Raises:
            OSError: A file is missing or is no certificate.
        """
        context = ssl.create_default_context(cafile=self.ca_file)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif not self.check_hostname:
            context.check_hostname = False
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    Attributes:
        hosts: The server, or the sentinels if *service* is set; empty for a unix socket.
        service: The name sentinels know the primary by.
        path: A unix socket.
        sentinel_user, sentinel_password: The sentinels' own, if they want one.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    path: str | None = None
    service: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    tls: Tls | None = None
    sentinel_user: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, addr: str, user: str | None = None, password: str | None = None, db: int = 0) -> Endpoint:
        """
        Read `host`, `host:port` or a URL; what a URL says goes before *user*, *password* and *db*.

        Raises:
            ConfigError: REDIS_ADDR can't be understood.
        """
        if addr.startswith("/"):
            return cls(path=addr, user=user or None, password=password or None, db=db)
        if "://" not in addr:
            if "@" in addr:
                _refuse(addr, "holds a user or password but is no URL")
            return cls(_hosts(addr, addr, DEFAULT_PORT), user=user or None, password=password or None, db=db)
        parts = addresses.split(addr)
        if parts is None or ("@" in parts.path and parts.scheme != "unix"):
            _refuse(addr, "can't be taken apart as a URL")
        if parts.scheme not in SCHEMES:
            _refuse(addr, "has an unknown scheme")
        return _from_url(parts, addr, user, password, db)

    def leads_to(self, other: Endpoint) -> bool:
        """Tell whether *other*'s data are the same, as whichever user we log in; one sentinel in common is enough."""
        hosts = bool({*self.hosts} & {*other.hosts}) if self.service is not None else self.hosts == other.hosts
        return hosts and (self.path, self.service, self.db) == (other.path, other.service, other.db)

    def __str__(self) -> str:
        """For people and logs: no secret in it."""
        if self.path is not None:
            return f"unix://{self.path}"
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        scheme = "rediss" if self.tls else "redis"
        if self.service is not None:
            return f"{scheme}+sentinel://{hosts}/{self.service}/{self.db}"
        return f"{scheme}://{hosts}/{self.db}"


def _from_url(parts: SplitResult, addr: str, user: str | None, password: str | None, db: int) -> Endpoint:
    options = dict(parse_qsl(parts.query))
    credentials, _, hosts = parts.netloc.rpartition("@")
    url_user, _, url_password = credentials.partition(":")
    user = unquote(url_user) or user or None
    password = unquote(url_password) or password or None
    if parts.scheme == "unix":
        path = unquote(hosts + parts.path)
        if not path:
            _refuse(addr, "names no socket")
        return Endpoint(path=path, user=user, password=password, db=_database(options.get("db", db), addr))
    segments = [unquote(segment) for segment in parts.path.split("/") if segment]
    sentinel = parts.scheme.endswith("+sentinel")
    if sentinel and not segments:
        _refuse(addr, "names no service")
    service = segments.pop(0) if sentinel else None
    if len(segments) > 1:
        _refuse(addr, "has too many parts after the host")
    return Endpoint(
        hosts=_hosts(hosts, addr, SENTINEL_PORT if sentinel else DEFAULT_PORT, many=sentinel),
        service=service,
        user=user,
        password=password,
        db=_database(segments[0] if segments else options.get("db", db), addr),
        tls=_tls(options) if SCHEMES[parts.scheme] else None,
        sentinel_user=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
    )


def _hosts(text: str, addr: str, default_port: int, many: bool = False) -> tuple[tuple[str, int], ...]:
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
    if not many and len(pieces) > 1:
        _refuse(addr, "names more than one server")
    return tuple(_host(piece, addr, default_port) for piece in pieces) or (("localhost", default_port),)


def _host(text: str, addr: str, default_port: int) -> tuple[str, int]:
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") > 1:
        host, port = text, ""
    else:
        host, _, port = text.partition(":")
    if not port:
        return host or "localhost", default_port
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        _refuse(addr, "has no port that can be one")
    return host or "localhost", int(port)


def _database(value: str | int, addr: str) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit()):
        _refuse(addr, "has no database number")
    return int(text)


def _tls(options: dict[str, str]) -> Tls:
    return Tls(
        ca_file=options.get("ssl_ca_certs"),
        cert_file=options.get("ssl_certfile"),
        key_file=options.get("ssl_keyfile"),
        verify=options.get("ssl_cert_reqs", "required").lower() not in ("none", "cert_none", "0", "false"),
        check_hostname=options.get("ssl_check_hostname", "true").lower() not in ("0", "false", "no"),
    )


def _refuse(addr: str, problem: str) -> NoReturn:
    fix = "Give host:port or a redis://, rediss://, unix:// or redis+sentinel://host:port,…/name/db URL."
    if "@" in addr:
        fix = f"{fix} {addresses.ESCAPES}"
    raise ConfigError("REDIS_ADDR", f"{addresses.shown(addr)} {problem}.", fix)
