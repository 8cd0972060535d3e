"""Hosts in settings: what a list of hosts or of origins takes, and what is said of a part that is none."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import replace

from executor_worker.settings.kinds import Kind, bad_word, words

LONGEST_NAME = 253  # characters; no name in the DNS is longer
_LABELS = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*")  # letters of all scripts: a URL's host is compared as it reads
_PORT = re.compile(r"[0-9]{1,5}")
_OWN_PORTS = {"http": ":80", "https": ":443"}


def hosts() -> Kind:
    """A tuple of hosts that may be reached, as `http_request` reads them."""
    wanted = "a list of hosts (a name, *.domain, *, an address or a network, each with :port if only that)"
    known = words(wanted, "api.example.com", lambda word: not host_fault(word))
    return replace(known, fault=lambda value: _fault(value, host_fault, _meant_hosts))


def origins() -> Kind:
    """A tuple of origins, as browsers send them: small letters, without the scheme's own port."""
    known = words("a list of origins, or *", "https://app.example.com", lambda word: not origin_fault(word))
    return replace(
        known,
        read=lambda value: tuple(map(_as_sent, known.read(value))),
        fault=lambda value: _fault(value, origin_fault, _meant_origin),
    )


def host_fault(word: str) -> str:
    """Say what keeps *word* from being a host, a pattern of hosts or a network; "" if nothing does."""
    if fault := _fault_of_url(word):
        return fault
    host, port = _split_port(word)
    if port is not None and not (_PORT.fullmatch(port) and 0 < int(port) <= 65535):
        return "a port that is no number from 1 to 65535"
    if _is_network(host):
        return ""
    return "a path, or a network that there can't be," if "/" in host else _fault_of_name(host)


def origin_fault(word: str) -> str:
    """Say what keeps *word* from being an origin; "" if nothing does."""
    if word == "*":
        return ""
    scheme, separator, rest = word.partition("://")
    if not separator or scheme.lower() not in _OWN_PORTS:
        return "another scheme than http:// or https://, or none,"
    if "/" in rest:
        return "a path"
    return "a pattern, which origins don't take," if "*" in rest else host_fault(rest)


def _fault_of_url(word: str) -> str:
    if "://" in word:
        return "a scheme"
    if re.search(r"\s", word):
        return "a space"
    return "a user or a password" if "@" in word else ""


def _fault_of_name(host: str) -> str:
    if host == "*":
        return ""
    name = host.removeprefix("*.").removesuffix(".")
    if "*" in name:
        return "a * that stands neither alone nor for all before the first dot"
    if not _LABELS.fullmatch(name) or len(name) > LONGEST_NAME:
        return "a name that no host can have"
    return "an address that there can't be" if name.rpartition(".")[2].isdigit() else ""


def _split_port(word: str) -> tuple[str, str | None]:
    """Take a port off; behind an IPv6 address it needs brackets."""
    if bracketed := re.fullmatch(r"\[([^\[\]]*:[^\[\]]*)\](?::(.*))?", word):
        return bracketed[1], bracketed[2]
    host, colon, port = word.partition(":")
    return (host, port) if colon and ":" not in port else (word, None)


def _is_network(host: str) -> bool:
    try:
        return bool(ipaddress.ip_network(host, strict=False))
    except ValueError:
        return False


def _fault(value: str, fault_of: Callable[[str], str], meant: Callable[[str], str]) -> str:
    """Say of the first bad part of a list what is wrong with it, and what to write if that is plain."""
    number, word = bad_word(value, lambda word: not fault_of(word))
    if not number:
        return ""
    instead = meant(word) if "@" not in word else ""
    advice = f"; write {instead}" if instead else ""
    return f"{fault_of(word)} in {_shown(word) or f'part {number}'}{advice}"


def _shown(word: str) -> str:
    """Show *word* up to its path, which may be a secret as a password is."""
    start = re.match(r"(?:[\w+.-]*://)?[^/?#]*", word)
    before = start[0] if start else ""
    return "" if "@" in word else repr(before if before == word else f"{before}/…")


def _meant_hosts(word: str) -> str:
    """Take schemes and paths off, and put commas for spaces; "" if that makes no hosts."""
    found = [part.partition("://")[2] or part for part in word.split()]
    bare = [part.partition("/")[0] for part in found]
    return "" if any(map(host_fault, bare)) or bare == [word] else ",".join(bare)


def _meant_origin(word: str) -> str:
    scheme, separator, rest = word.partition("://")
    origin = f"{scheme if separator else 'https'}://{(rest if separator else scheme).partition('/')[0]}"
    return "" if origin_fault(origin) else origin


def _as_sent(origin: str) -> str:
    scheme, separator, rest = origin.lower().partition("://")
    return f"{scheme}://{rest.removesuffix(_OWN_PORTS[scheme])}" if separator else origin
