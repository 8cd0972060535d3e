"""Kinds of settings: one small reader for each turns text into a value, and says what it takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

from executor_worker.envelopes.queue_name import NOTHING, WANTED, is_queue_name
from executor_worker.settings.addresses import is_url, split
from executor_worker.settings.header_text import stray

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|m|h|d)?", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+(?:\.\d*)?)\s*([KMG]i?)?B?", re.IGNORECASE)
_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_PRINTABLE = re.compile(r"[ -~]*")
_REDIS_SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix", "redis+sentinel", "rediss+sentinel")
# A year of seconds: more is a slip of the keyboard, and it overflows what Redis and the kernel take.
LONGEST_S = 366 * 86400.0
EMBEDDED = "embedded"


class Shown(str):
    """The default for people, if it can't be read off the value."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """
    One kind of value; `Annotated` with it, a field of pydantic's is read by it.

    Attributes:
        wanted: What it takes, as in "is not <wanted>".
        example: A good value for the fix.
        read: Turns the text, stripped and not empty, into the value; raises ValueError, without it, if it can't.
        show: Turns a value into what people would write.
        secret: Its value is never shown.
        address: It may hold a password: a bad one is shown only if it certainly holds none.
        fault: Says what in a bad value is wrong, without showing it.
        shared: Others read the variable too, and may take what we don't: a bad value is passed over.
    """

    wanted: str
    example: str
    read: Callable[[str], Any]
    show: Callable[[Any], str] = str
    secret: bool = False
    address: bool = False
    fault: Callable[[str], str] = lambda _: ""
    shared: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic import PlainValidator  # the command line reads its options by kinds too, and does without

        # Nothing is left to check after us, and pydantic's own `str` refuses paths that are not UTF-8.
        return PlainValidator(lambda given: self.read(str(given))).__get_pydantic_core_schema__(source, handler)


def whole(least: int, most: int, example: int) -> Kind:
    def read(text: str) -> int:
        # int() also takes "1_000" and other scripts' digits, which no one else reading this variable would.
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise ValueError
        return int(text)

    return Kind(f"a whole number from {least} to {most}", str(example), read)


class Span(NamedTuple):
    """A span of numbers, from the least to the most; a single number is both."""

    least: int
    most: int

    def __str__(self) -> str:
        return str(self.least) if self.least == self.most else f"{self.least}-{self.most}"


def span(least: int, most: int, example: int) -> Kind:
    """A number, or two with a dash between them."""
    number = whole(least, most, example)

    def read(text: str) -> Span:
        first, dash, second = text.partition("-")
        found = Span(number.read(first.strip()), number.read((second if dash else first).strip()))
        if found.least > found.most:
            raise ValueError
        return found

    return Kind(f"{number.wanted}, or two such as 2-20", number.example, read)


def duration(least_s: float, example: str) -> Kind:
    """Seconds as a float, from `90`, `1.5`, `90s`, `5m`, `1h`, `500ms`, `1d`."""

    def read(text: str) -> float:
        found = _DURATION.fullmatch(text)
        if not found:
            raise ValueError
        seconds = float(found[1]) * _SECONDS[(found[2] or "s").lower()]
        if not least_s <= seconds <= LONGEST_S:
            raise ValueError
        return seconds

    return Kind(f"a duration of at least {least_s:g} s, such as 90, 90s, 5m or 1h", example, read, "{:g}s".format)


def size(example: str) -> Kind:
    """Bytes, from `4194304`, `4MiB`, `4M` (10^6) or `512k`."""

    def read(text: str) -> int:
        found = _SIZE.fullmatch(text)
        value = int(float(found[1]) * _BYTES[(found[2] or "").lower()]) if found else 0
        if not 1 <= value <= 2**40:
            raise ValueError
        return value

    return Kind("a size in bytes, such as 4194304 or 4MiB", example, read)


def switch(example: str) -> Kind:
    def read(text: str) -> bool:
        if text.lower() not in _YES | _NO:
            raise ValueError
        return text.lower() in _YES

    return Kind("1 or 0", example, read, "{:d}".format)


def choice(*names: str, **aliases: str) -> Kind:
    """One of *names*, in any case, or one of the *aliases* for them."""

    def read(text: str) -> str:
        name = aliases.get(text.lower(), text.lower())
        if name not in names:
            raise ValueError
        return name

    return Kind(f"one of {', '.join(names)}", names[0], read)


def text(wanted: str = "text", example: str = "…", pattern: str = r".*") -> Kind:
    def read(value: str) -> str:
        if not re.fullmatch(pattern, value, re.DOTALL):
            raise ValueError
        return value

    return Kind(wanted, example, read)


def secret() -> Kind:
    return replace(text(), secret=True)


def key() -> Kind:
    """A provider's key: it goes into an HTTP header."""
    wanted = "a key of printable ASCII characters on one line"
    return replace(text(wanted, "the-key-as-it-was-given", r"[ -~]*"), secret=True, fault=stray)


def token() -> Kind:
    """A secret that goes into an HTTP header as one word."""
    known = text("printable ASCII without spaces", "a-long-random-word", r"[!-~]+")
    return replace(known, secret=True, fault=partial(stray, spaces=False))


def shared(kind: Kind) -> Kind:
    """Read what *kind* reads, and leave the rest to others who read the variable."""
    return replace(kind, shared=True)


def or_none(kind: Kind) -> Kind:
    """Read what *kind* reads, and an empty text as None."""
    return replace(kind, read=lambda value: kind.read(value) if value else None)


def words(wanted: str, example: str, accepts: Callable[[str], object] = bool) -> Kind:
    """A tuple, from comma-separated words."""

    def read(value: str) -> tuple[str, ...]:
        found = _words_of(value)
        if not all(accepts(word) for word in found):
            raise ValueError
        return found

    def fault(value: str) -> str:
        most, number = len(_words_of(value)), bad_word(value, accepts)[0]
        return f"a wrong part, number {number} of {most}" if most > 1 else ""

    return Kind(wanted, example, read, ",".join, fault=fault)


def bad_word(value: str, accepts: Callable[[str], object]) -> tuple[int, str]:
    """Find the number, from 1, and the text of the first comma-separated word that won't do; 0 if all will."""
    return next(((at, word) for at, word in enumerate(_words_of(value), 1) if not accepts(word)), (0, ""))


def _words_of(value: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in value.split(",") if word.strip())


def queues() -> Kind:
    """A tuple of queues, each once; `none` stands alone."""
    known = words(f"a list of queues ({WANTED}, or default), or none", "gpu,default", is_queue_name)

    def read(value: str) -> tuple[str, ...]:
        if value.strip() == NOTHING:
            return (NOTHING,)
        found: tuple[str, ...] = tuple(dict.fromkeys(known.read(value)))
        if not found:
            raise ValueError
        return found

    return replace(known, read=read)


def lowercase_words(wanted: str, example: str) -> Kind:
    """A tuple, from comma-separated words in any case."""
    known = words(wanted, example)
    return replace(known, read=lambda value: known.read(value.lower()))


def pairs(wanted: str, example: str) -> Kind:
    """A dict, from comma-separated `name=value`; what is not printable ASCII, and commas, as `%XX`."""

    def read(value: str) -> dict[str, str]:
        found = [word.partition("=") for word in value.split(",") if word.strip()]
        if not all(
            _NAME.fullmatch(name.strip()) and equals and _PRINTABLE.fullmatch(text) for name, equals, text in found
        ):
            raise ValueError
        return {name.strip(): unquote(text.strip()) for name, _, text in found}

    return Kind(wanted, example, read, lambda known: ",".join(f"{name}={quote(text)}" for name, text in known.items()))


def headers(example: str) -> Kind:
    """A dict of secret headers, from comma-separated `name=value`."""
    known = pairs("a list of name=value, each of what a header can carry", example)

    def read(value: str) -> dict[str, str]:
        found: dict[str, str] = known.read(value)
        if any(map(stray, found.values())):
            raise ValueError
        return found

    return replace(known, read=read, secret=True, fault=lambda value: stray(unquote(value)))


def share() -> Kind:
    def read(value: str) -> float:
        if not re.fullmatch(r"[01]|[01]?\.[0-9]{1,9}", value) or float(value) > 1:
            raise ValueError
        return float(value)

    return Kind("a number from 0 to 1", "0.1", read, "{:g}".format)


def is_module(word: str) -> bool:
    return _MODULE.fullmatch(word) is not None


def url() -> Kind:
    def read(value: str) -> str:
        if not is_url(value):
            raise ValueError
        return value.rstrip("/")

    return Kind("an http:// or https:// URL", "https://host/path", read, address=True)


def base_url() -> Kind:
    """A provider's address, with or without the scheme and the path of the call."""

    def read(value: str) -> str:
        if not is_url(value if "://" in value else f"http://{value}") or _half_a_scheme(value):
            raise ValueError
        return value

    return Kind("the address of a server", "http://localhost:11434/v1", read, address=True)


def _half_a_scheme(value: str) -> bool:
    """Tell whether a slip of the keyboard makes a host of the scheme: `https//host`, `https:/host`."""
    return re.match(r"https?(:/?(?!/|\d)|/)", value, re.IGNORECASE) is not None


def urls(wanted: str, example: str, accepts: Callable[[str], bool]) -> Kind:
    """A tuple, from comma-separated addresses; *accepts* looks at each."""
    return replace(words(wanted, example, accepts), address=True)


def is_named_url(value: str) -> bool:
    """Accept `url` and `name=url`."""
    name, equals, address = value.partition("=")
    named = bool(equals) and "/" not in name and bool(name.strip())
    return is_url(address.strip() if named else value)


def redis_address() -> Kind:
    def read(value: str) -> str:
        if value.lower() == EMBEDDED:
            return EMBEDDED
        if not (value.startswith("/") or _is_redis_url(value) or _is_host_port(value)):
            raise ValueError
        return value

    wanted = "host:port, a redis://, rediss://, unix:// or redis+sentinel:// URL, or embedded"
    return Kind(wanted, "localhost:6379", read, address=True)


def _is_redis_url(value: str) -> bool:
    parts = split(value)
    if parts is None or parts.scheme not in _REDIS_SCHEMES:
        return False
    if parts.scheme == "unix":
        # What has no @ behind it is no password but a part of the path, and no path holds a colon there.
        return bool((parts.netloc + parts.path).strip("/")) and ":" not in parts.netloc.rpartition("@")[2]
    if "@" in parts.path:
        return False
    if parts.scheme.endswith("+sentinel"):
        hosts = parts.netloc.rpartition("@")[2].split(",")
        return all(_is_host_port(host) for host in hosts) and bool(parts.path.strip("/"))
    return _is_host_port(parts.netloc.rpartition("@")[2])


def _is_host_port(value: str) -> bool:
    parts = split(f"//{value}")
    return parts is not None and bool(parts.hostname) and not re.search(r"[/\s@?#]", value)
