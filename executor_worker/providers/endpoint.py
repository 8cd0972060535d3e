"""Endpoints of the providers: their addresses, their names, and what each needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from executor_worker.errors import ConfigError

_CALLS = ("/chat/completions", "/messages", "/models", "/api/chat", "/api/generate", "/api")


@dataclass(frozen=True, slots=True)
class Place:
    """
    Attributes:
        base_url: Its own endpoint; empty if there is none.
        default_model: None if the operator has to name one.
        keyed: Whether its own endpoint wants a key.
    """

    base_url: str
    default_model: str | None
    keyed: bool


PLACES = {
    "anthropic": Place("https://api.anthropic.com", "claude-sonnet-5-5", keyed=True),
    "openai": Place("https://api.openai.com/v1", None, keyed=True),
    "ollama": Place("http://localhost:11434/v1", None, keyed=False),
    "ollama-native": Place("http://localhost:11434/api/chat", None, keyed=False),
    "gemini": Place("https://generativelanguage.googleapis.com/v1beta/openai", None, keyed=True),
    "scripted": Place("", "scripted", keyed=False),
    "replay": Place("", "replay", keyed=False),
}
ALIASES = {"claude": "anthropic", "gpt": "openai", "local": "ollama", "google": "gemini"}


def canonical(provider: str) -> str:
    """
    Give the provider's own name for a name or alias, in any case.

    Raises:
        ConfigError: There is no such provider.
    """
    name = provider.strip().lower()
    name = ALIASES.get(name, name)
    if name not in PLACES:
        raise ConfigError("LLM_PROVIDER", f"{provider!r} is no provider.", f"Set one of {', '.join(PLACES)}.")
    return name


def needs_key(provider: str, base_url: str = "") -> bool:
    """Tell whether a call without a key is bound to fail; a compatible server of one's own may want none."""
    name = canonical(provider)
    own = name == "anthropic" or endpoint(name, base_url) == PLACES[name].base_url
    return PLACES[name].keyed and own


def key_variable(provider: str) -> str:
    """Name the variable with the key of a provider that is another than LLM_PROVIDER."""
    return f"LLM_API_KEY_{provider.upper()}"


def default_model(provider: str) -> str | None:
    return PLACES[canonical(provider)].default_model


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
    if not given or not PLACES[name].base_url:
        return PLACES[name].base_url
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
