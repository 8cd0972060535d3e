"""The Redis address in the form of .NET's StackExchange.Redis: `host:port,password=…,ssl=true,defaultDatabase=1`."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

_KNOWN = ("password", "user", "ssl", "defaultdatabase")
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")


@dataclass(slots=True)
class Connection:
    """
    Attributes:
        address: As REDIS_ADDR takes it.
        ignored: Names of options that have no effect here, and further hosts.
    """

    address: str
    user: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    ignored: list[str] = field(default_factory=list)


def parse(text: str) -> Connection:
    """
    Raises:
        ValueError: With a sentence that shows no secret.
    """
    hosts: list[str] = []
    options: dict[str, str] = {}
    for word in (word.strip() for word in text.split(",")):
        name, equals, value = word.partition("=")
        if equals:
            options[name.strip().lower()] = value.strip()
        elif word:
            hosts.append(word)
    if not hosts:
        raise ValueError("it names no host")
    ssl = options.get("ssl", "false").lower()
    if ssl not in (*_YES, *_NO):
        raise ValueError("ssl must be true or false")
    database = options.get("defaultdatabase", "0")
    if not (database.isascii() and database.isdigit() and int(database) < 65536):
        raise ValueError("defaultDatabase must be a number")
    ignored = [*(name for name in options if name not in _KNOWN), *(f"host {host}" for host in hosts[1:])]
    secure = ssl in _YES
    address = f"{'rediss://' if secure else ''}{_host_and_port(hosts[0], 6380 if secure else 6379)}"
    return Connection(address, options.get("user", ""), options.get("password", ""), int(database), ignored)


def _host_and_port(host: str, port: int) -> str:
    try:
        parts = urlsplit(f"//{host}")
        found = parts.port
    except ValueError:
        raise ValueError("its first part is no host:port") from None
    if not parts.hostname or parts.path or parts.username is not None:
        raise ValueError("its first part is no host:port")
    return host if found is not None else f"{host}:{port}"
