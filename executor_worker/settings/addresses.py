"""Addresses in settings: whether one can be taken apart for certain, and what of it may be shown."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

HIDDEN = "***"
ITS_VALUE = "its value"
ESCAPES = "In a password write @ as %40, / as %2F, ? as %3F and # as %23."

_SECRET_PARAMETER = re.compile(r"pass|pwd|token|secret|key|auth|sig|credential", re.IGNORECASE)
_MIDDLE_AT = re.compile(r"[^/]@")
# A port of more than five characters is none, and may be a password whose host is missing.
_PIECE = r"(?:[\w.-]{1,20}=)?(?:[a-z+]{1,20}:/{1,2})?(?:(?:[\w.-]+|\[[0-9a-f:.]*\]?)(?::\w{0,5})?)?(?:/[\w.-]{0,5})*"
_WORDS = r"[\w.-]{1,20}(?: [\w.-]{1,20})*"
_HARMLESS = re.compile(rf"(?:{_WORDS}|{_PIECE}(?:,\s*{_PIECE})*)", re.IGNORECASE)


def split(value: str) -> SplitResult | None:
    """Take *value* apart, or None if it is no URL or may be meant otherwise than it reads."""
    if re.search(r"[\0-\x1f\x7f]", value):  # the library takes some of them out
        return None
    try:
        parts = urlsplit(value)
        if "," not in parts.netloc:  # sentinels: each is looked at by itself
            _ = parts.port  # raises ValueError if it is not a number, or none a port can be
    except ValueError:
        return None
    return None if _is_ambiguous(parts) else parts


def _is_ambiguous(parts: SplitResult) -> bool:
    """
    Tell whether what looks like host and path may be the beginning of a password.

    `https://user:p@ss/w@host/mcp` reads as the host `ss`. Paths such as `/@scope/name` are common, with neither user
    nor port before them others too.
    """
    if "@" in parts.fragment or "@" in parts.query.partition("=")[0].partition("&")[0]:
        return True
    return bool(set("@:") & set(parts.netloc)) and _MIDDLE_AT.search(parts.path) is not None


def is_url(value: str) -> bool:
    """Accept an `http://` or `https://` URL."""
    parts = None if re.search(r"\s", value) else split(value)
    return parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)


def shown(value: str) -> str:
    """Show a *value* that can't be used: as it is if it certainly holds no secret, else not at all."""
    return repr(value) if len(value) <= 200 and _HARMLESS.fullmatch(value) else ITS_VALUE


def without_password(value: str) -> str:
    """Show *value*, a text or an address in use, without what is secret in it."""
    name, address = _unnamed(value)
    if not _may_hold_secret(address):
        return value
    scheme = "" if "://" in address else "http://"
    parts = split(scheme + address)
    if parts is None:
        return name + HIDDEN
    credentials, _, host = parts.netloc.rpartition("@")
    bare = parts._replace(netloc=f"{HIDDEN}@{host}" if credentials else host, query=_without_secrets(parts.query))
    return name + bare.geturl().removeprefix(scheme)


def _may_hold_secret(address: str) -> bool:
    """Leave texts alone that are no addresses, such as the name `executor@host`."""
    return bool({"?", "="} <= set(address)) or (
        "@" in address and ("://" in address or ":" in address.partition("@")[0])
    )


def _without_secrets(query: str) -> str:
    words = (word.partition("=") for word in query.split("&"))
    return "&".join(
        f"{name}={HIDDEN}" if text and _is_secret(name) else name + sign + text for name, sign, text in words
    )


def passwords_in(value: str) -> tuple[str, ...]:
    """Find the secrets in an address or in `name=address`, as they are written and as they are meant."""
    address = _unnamed(value)[1]
    parts = split(address if "://" in address else f"http://{address}")
    if parts is None:
        return ()
    credentials = parts.netloc.rpartition("@")[0]
    user, colon, password = credentials.partition(":")
    # A user without a password is a token; Redis' URLs name users that need none.
    found = [password if colon else user if parts.scheme in ("http", "https") else ""]
    found += [text for name, _, text in (word.partition("=") for word in parts.query.split("&")) if _is_secret(name)]
    meant = [text for name, text in parse_qsl(parts.query) if _is_secret(name)]
    return tuple(dict.fromkeys(text for text in (*map(unquote, found), *meant, *found) if text))


def _is_secret(name: str) -> bool:
    return _SECRET_PARAMETER.search(name) is not None


def _unnamed(value: str) -> tuple[str, str]:
    """Split `name=address` into `name=` and the address; the name is empty if there is none."""
    before = value.partition("://")[0]
    name = before[: before.rfind("=") + 1] if "://" in value else ""
    return name, value[len(name) :]
