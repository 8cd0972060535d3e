"""
Throttles shared by the fleet: what a provider asks of one worker is kept by all that use its key and model.

While nobody is held back a model call costs no round trip: the keeper looks for throttles once a second, is told
of new ones at once, and says on the scoreboard whether there are any.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import Script, script
from executor_worker.broker.names import PARKED, THROTTLE_PREFIX, THROTTLED_CHANNEL, THROTTLES
from executor_worker.errors import ModelError, StreamError, StreamRefused
from executor_worker.providers.throttle import Wait
from executor_worker.run_context import RunContext
from executor_worker.telemetry import logs

PLACE_S = 15.0
"""A caller that is neither renewed nor heard of for so long has lost its place."""
QUIET_S = 60.0
"""A throttle that has held nobody back for so long is forgotten."""
FULL_S = 1.5
"""Where another's call has to end first: when to ask again at the latest."""
FIRST_S, LONGEST_S = 1.0, 30.0
"""Where the provider names no time; doubles from refusal to refusal."""
LONGEST_ASKED_S = 900.0
"""Somebody tries again after that, whatever was asked for: accounts are topped up, and servers mistaken."""
TOLD_S = 2.0  # until the keeper has surely heard of what we have written
_MODEL_CHARS = 200


def scripts() -> tuple[Script, Script, Script]:
    """Those to ask, to tell of a refusal and of an end; read once, best before the workers are forked."""
    return script("admit", "throttle"), script("throttled", "throttle"), script("called", "throttle")


class FleetThrottle:
    """
    One provider, address and key, as one worker sees it.

    Where Redis can't be asked nobody is held back by us: the provider will say so itself.

    Args:
        link: Used between takes only, by the worker's one thread.
        caller: Whose place is taken; each has one call at a time.
        active: Tells whether there may be any throttle at all.
        calling: Counts the calls that are in flight in this pool.
    """

    def __init__(
        self,
        link: Link,
        caller: str,
        provider: str,
        base_url: str,
        key: str,
        *,
        active: Callable[[], bool],
        calling: Callable[[], int],
    ) -> None:
        self._link = link
        self._caller = caller
        self._admit, self._refused, self._called = scripts()
        self._prefix = f"{THROTTLE_PREFIX}{provider}:{_account(base_url, key)}:"
        self._active = active
        self._calling = calling
        self._told = False  # Redis has taken our word for the last refusal: items can wait for it there
        self._told_until = 0.0
        self._cut = 0

    def place(self, model: str) -> str:
        return self._name(model) if self._told else ""

    def _name(self, model: str) -> str:
        return self._prefix + model[:_MODEL_CHARS].encode("utf-8", "replace").decode()

    def admit(self, model: str, run_context: RunContext) -> Wait | None:
        self._cut = 0
        if not self._active() and time.monotonic() > self._told_until:
            return None
        place = self._name(model)
        try:
            wait_ms, self._cut = self._link.run(self._admit, [place], [self._caller, _ms(PLACE_S), _ms(QUIET_S)])
        except StreamError as error:
            logs.debug("throttle.unknown", reason=str(error))
            return None
        if not wait_ms:
            return None
        return Wait(wait_ms / 1000 if wait_ms > 0 else random.uniform(FULL_S * 2 / 3 + 0.1, FULL_S), place)

    def ended(self, model: str, run_context: RunContext, error: ModelError | None, *, answered: bool) -> None:
        try:
            if error is not None:
                self._cut_down(model, error)
            elif self._cut:
                words = [self._caller, "1" if answered else ""]
                self._link.run(self._called, [self._name(model)], words)
        except StreamError as unavailable:
            logs.debug("throttle.untold", reason=str(unavailable))

    def _cut_down(self, model: str, error: ModelError) -> None:
        self._told = False
        asked_s = error.retry_after
        asked_ms = -1 if asked_s is None else _ms(min(asked_s, LONGEST_ASKED_S))
        words: list[Word] = [
            self._caller, asked_ms, self._cut, max(self._calling(), 1), _ms(FIRST_S), _ms(LONGEST_S), _ms(QUIET_S),
            THROTTLED_CHANNEL,
        ]  # fmt: skip
        _, wait_ms = self._link.run(self._refused, [self._name(model)], words)
        self._told, self._told_until = True, time.monotonic() + TOLD_S
        logs.info("model.throttled", model=model[:_MODEL_CHARS], error_code=error.code, wait_s=round(wait_ms / 1000, 3))


@dataclass(frozen=True, slots=True)
class Survey:
    """
    Attributes:
        throttles: How many there are.
        opens_s: Until the next one may be called again; None where that is for a call's end to say.
        ready: Pairs of stream and entry that waited and could run now.
    """

    throttles: int
    opens_s: float | None
    ready: list[tuple[str, str]]


def survey(link: Link, calling: Sequence[str], *, most: int) -> Survey:
    """
    Look at all throttles, and keep their places for those who still call.

    Args:
        calling: Consumers of ours that are in a model call.
        most: Entries wanted.

    Raises:
        StreamUnavailable: No reply.
    """
    if not _are_there(link):
        return Survey(0, None, [])  # nearly always: one command, not a script and what it asks
    left, opens_ms, *flat = link.run(script("survey", "throttle"), [THROTTLES], [_ms(PLACE_S), most, *calling])
    words = [word.decode() for word in flat]
    ready = list(zip(words[::2], words[1::2], strict=True))
    return Survey(left, opens_ms / 1000 if opens_ms >= 0 else None, ready)


def _are_there(link: Link) -> bool:
    """Whether anybody is throttled; a user who may not ask does without."""
    try:
        return bool(link.call("SMEMBERS", THROTTLES))
    except StreamRefused:
        return False


@dataclass(frozen=True, slots=True)
class Parked:
    """
    An entry that waits.

    Attributes:
        ends_at: When it is too late for it, in seconds since the epoch; 0: never.
        state_key: Its graph's document; empty where it has none.
    """

    stream: str
    entry: str
    ends_at: float
    state_key: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """
    One throttle as it is now, for people.

    Attributes:
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


def throttled(link: Link) -> list[Throttled]:
    """
    Look at what holds somebody back, or did a moment ago.

    Raises:
        StreamUnavailable: No reply.
    """
    names = sorted(link.call("SMEMBERS", THROTTLES))
    now_s, now_us = link.call("TIME")
    seen = [_seen(link, name.decode("utf-8", "replace"), int(now_s) + int(now_us) / 1e6) for name in names]
    return [one for one in seen if one.opens_s or one.waiting or one.at_once is not None]


def _seen(link: Link, name: str, now: float) -> Throttled:
    not_before, limit, since = link.call("HMGET", name, "not_before", "limit", "since")
    calling, waiting = (link.call("ZCARD", f"{name}:{row}") for row in ("calls", "waiting"))
    provider, _, rest = name.removeprefix(THROTTLE_PREFIX).partition(":")
    put_back = int(since or 0) / 1000 > now  # the clock was: then it does not hold
    opens_s = 0.0 if put_back else max(int(not_before or 0) / 1000 - now, 0.0)
    return Throttled(provider, rest.partition(":")[2], opens_s, None if limit is None else int(limit), calling, waiting)


def parked(link: Link, cursor: bytes, *, page: int) -> tuple[bytes, list[Parked]]:
    """
    Look at some of what waits.

    Args:
        cursor: Where the look before has ended; b"0" to begin.

    Returns:
        Where to go on, and about *page* of them.

    Raises:
        StreamUnavailable: No reply.
    """
    after, flat = link.call("HSCAN", PARKED, cursor, "COUNT", page)
    return after, [_parked(*pair) for pair in zip(flat[::2], flat[1::2], strict=True)]


def let_go(link: Link, entries: Sequence[tuple[str, str]]) -> None:
    """
    Let *entries* wait no longer, whatever their throttles say.

    Raises:
        StreamUnavailable: No reply.
    """
    if entries:
        link.run(script("let_go", "throttle"), [PARKED], [word for pair in entries for word in pair])


def _parked(member: bytes, about: bytes) -> Parked:
    stream, _, entry = member.decode().rpartition(" ")
    ends_ms, _, key = about.decode("utf-8", "replace").partition(" ")
    return Parked(stream, entry, int(ends_ms) / 1000, key)


def _account(base_url: str, key: str) -> str:
    """Name who pays: one-way, so that the key can't be read off it."""
    secret = hashlib.blake2b(key.encode(), digest_size=32, person=b"throttle").digest()
    return hashlib.blake2b(base_url.encode(), key=secret, digest_size=8).hexdigest()


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
