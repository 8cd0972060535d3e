"""Brakes on models and tools, as people see it: since when, why, until when; and how to end that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import script
from executor_worker.broker.names import AWAITED, BREAKER_PREFIX, THROTTLE_PREFIX, THROTTLED_CHANNEL

_PREFIXES = (THROTTLE_PREFIX.encode(), BREAKER_PREFIX.encode())


@dataclass(frozen=True, slots=True)
class Throttled:
    """
    One throttle as it is now, for people.

    Attributes:
        key: Names the throttle in Redis.
        account: Stands for address and key; one-way.
        since: When the first refusal came, in seconds since the epoch; 0: not known.
        why: The error code of it, or the status by which a key is refused.
        refused: It is the key that is refused.
        is_tool: No model, but a tool or a server of tools: *provider* says which, *model* is its name.
        opens_s: Until calls are allowed again; 0: they are.
        at_once: How many calls may be made at the same time; None: as many as one likes.
        calling, waiting: Calls in flight, and items that wait.
    """

    provider: str
    model: str
    opens_s: float
    at_once: int | None
    calling: int
    waiting: int
    key: str = ""
    account: str = ""
    since: float = 0.0
    why: str = ""
    refused: bool = False
    is_tool: bool = False

    @property
    def name(self) -> str:
        return f"{self.provider}/{self.model}"


def throttled(link: Link) -> list[Throttled]:
    """
    Look at what holds callers back, or did a moment ago.

    Raises:
        StreamUnavailable: No reply.
    """
    names = sorted(name for name in link.call("SMEMBERS", AWAITED) if name.startswith(_PREFIXES))
    now_s, now_us = link.call("TIME")
    seen = [_seen(link, name.decode("utf-8", "replace"), int(now_s) + int(now_us) / 1e6) for name in names]
    return [one for one in seen if one.opens_s or one.waiting or one.at_once is not None]


def _seen(link: Link, key: str, now: float) -> Throttled:
    fields = ("not_before", "limit", "since", "began", "why", "refused")
    not_before, limit, since, began, why, refused = link.call("HMGET", key, *fields)
    calling, waiting = (link.call("ZCARD", f"{key}:{row}") for row in ("calls", "waiting"))
    is_tool = key.startswith(BREAKER_PREFIX)
    provider, _, rest = key.removeprefix(BREAKER_PREFIX if is_tool else THROTTLE_PREFIX).partition(":")
    account, _, model = rest.partition(":")
    put_back = int(since or 0) / 1000 > now  # the clock was: then it does not hold
    return Throttled(
        provider,
        model,
        opens_s=0.0 if put_back else max(int(not_before or 0) / 1000 - now, 0.0),
        at_once=None if limit is None else int(limit),
        calling=calling,
        waiting=waiting,
        key=key,
        account=account,
        since=int(began or 0) / 1000,
        why=(why or b"").decode("utf-8", "replace"),
        refused=refused is not None,
        is_tool=is_tool,
    )


def clear(link: Link, throttle: Throttled) -> bool:
    """
    Hold no caller back by *throttle* any more; what waits for it is taken within a second.

    Returns:
        Whether it was still there.

    Raises:
        StreamUnavailable: No reply.
    """
    return bool(link.run(script("clear_throttle"), [throttle.key], [THROTTLED_CHANNEL]))


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    A key that is refused.

    Attributes:
        throttle: Its name in Redis.
        since: When it was first, in seconds since the epoch.
        waiting: Items that wait for it.
    """

    throttle: str
    model: str
    why: str
    since: float
    waiting: int


def refusals(held_back: Iterable[Throttled]) -> list[Refusal]:
    """List the models whose key is refused, of whatever pool."""
    return [Refusal(one.key, one.name, one.why, one.since, one.waiting) for one in held_back if one.refused]


def waiting_for(link: Link, throttle: str, most: int) -> list[tuple[str, str]]:
    """
    List stream and entry of the oldest *most* items that wait for *throttle*.

    Raises:
        StreamUnavailable: No reply.
    """
    members = link.call("ZRANGE", f"{throttle}:waiting", 0, most - 1)
    pairs = (member.decode().rpartition(" ") for member in members)
    return [(stream, entry) for stream, _, entry in pairs]
