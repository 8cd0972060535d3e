"""Endpoints of the providers, in the form each one's SDK takes, and what they need."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from executor_worker.errors import ConfigError
from executor_worker.settings.known_providers import KNOWN, canonical

_CALLS = ("/chat/completions", "/messages", "/models", "/api/chat", "/api/generate", "/api")


def needs_key(provider: str, base_url: str = "") -> bool:
    """Tell whether a call without a key is bound to fail; a compatible server of one's own may want none."""
    name = canonical(provider)
    own = name == "anthropic" or endpoint(name, base_url) == KNOWN[name].base_url
    return KNOWN[name].keyed and own


def key_variable(provider: str) -> str:
    """Name the variable with the key of a provider that is another than LLM_PROVIDER."""
    return f"LLM_API_KEY_{provider.upper()}"


def default_model(provider: str) -> str | None:
    return KNOWN[canonical(provider)].default_model


def endpoint(provider: str, base_url: str = "") -> str:
    """
    Bring *base_url* to the form the provider's SDK takes: with the version for chat completions, without for anthropic.

    Args:
        base_url: With or without scheme, version and the path of the call; empty: the provider's own.

    Raises:
        ConfigError: It is no HTTP address.
    """
    name = canonical(provider)
    given = base_url.strip()
    if not given or not KNOWN[name].base_url:
        return KNOWN[name].base_url
    parts = urlsplit(given if "://" in given else f"{_scheme(given)}://{given}")
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        shown = given.rpartition("@")[2]
        raise ConfigError("LLM_BASE_URL", f"{shown!r} is no HTTP address.", "Set it like http://localhost:8000/v1.")
    path = parts.path.rstrip("/")
    if name == "ollama-native":
        return urlunsplit((parts.scheme, parts.netloc, _native(path), parts.query, ""))
    call = next((call for call in _CALLS if path.endswith(call)), "")
    path = path.removesuffix(call)
    if name == "anthropic":
        path = path.removesuffix("/v1")
    elif call != "/chat/completions" and not re.search(r"/v\d", path):
        path += "/v1"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _native(path: str) -> str:
    """Answer where conversations are posted: to `/api/chat`, even if the older `/api/generate` is named."""
    return (
        next(
            (path.removesuffix(end) for end in ("/api/chat", "/api/generate", "/v1", "/api") if path.endswith(end)),
            path,
        )
        + "/api/chat"
    )


def _scheme(address: str) -> str:
    host = re.split(r"[:/]", address)[0]
    private = "." not in host or re.fullmatch(r"[\d.]+", host)
    return "http" if private else "https"
