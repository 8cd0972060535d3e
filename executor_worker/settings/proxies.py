"""The proxies that the environment names (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY` …), and whether they can be used."""

from __future__ import annotations

import importlib.util
import os
import urllib.request
from urllib.parse import urlsplit

from executor_worker.errors import ConfigError
from executor_worker.settings import addresses

TAKEN = ("http", "https", "socks5", "socks5h")
SOCKS = "socksio"
"""The package that `httpx2[socks]` brings."""


def proxy_for(url: str) -> str | None:
    """Give the address of the proxy for *url*; None if it is reached without one."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    address = proxies.get(parts.scheme) or proxies.get("all")
    if not address or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return address if "://" in address else f"http://{address}"


def proxy_problem(url: str, socks: str = SOCKS, install: str = "httpx2[socks]") -> ConfigError | None:
    """
    Say what keeps the proxy for *url* from being used.

    Args:
        socks: The package that a SOCKS proxy is spoken to with, and what brings it.
    """
    address = proxy_for(url)
    if address is None:
        return None
    shown, scheme = addresses.without_password(address), urlsplit(address).scheme.lower()
    otherwise = f"or exempt {urlsplit(url).hostname} by NO_PROXY"
    if scheme not in TAKEN or not _has_host(address):
        problem = f"{shown if _has_host(address) else addresses.ITS_VALUE} is no proxy that can be used."
        return ConfigError(_variable(url), problem, f"Name one as {'://, '.join(TAKEN)}://host:port, {otherwise}.")
    if scheme.startswith("socks") and importlib.util.find_spec(socks) is None:
        problem = f"the proxy {shown} needs the package {socks}, which is not installed."
        return ConfigError(_variable(url), problem, f"Install it: pip install '{install}', {otherwise}.")
    return None


def _has_host(address: str) -> bool:
    parts = addresses.split(address)
    return parts is not None and bool(parts.hostname)


def _variable(url: str) -> str:
    """Name the variable that the proxy for *url* stands in."""
    names = (f"{urlsplit(url).scheme}_proxy", "all_proxy")
    found = (name for wanted in names for name in os.environ if name.lower() == wanted and os.environ[name])
    return next(found, names[1].upper())
