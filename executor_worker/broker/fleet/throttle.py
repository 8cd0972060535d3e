"""
Throttles shared by the fleet: what a provider asks of one worker is kept by all that use its key and model.

While no caller is held back a model call costs no round trip: the keeper looks for throttles once a second, is told
of new ones at once, and says on the scoreboard whether there are any.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import Script, script
from executor_worker.broker.names import THROTTLE_PREFIX, THROTTLED_CHANNEL, WORKED_PREFIX
from executor_worker.broker.queue.gates import THROTTLE, WAITING
from executor_worker.errors import ModelError, ModelRefused, StreamError
from executor_worker.providers.throttle import LONGEST_HELD_S, Wait
from executor_worker.run_context import RunContext
from executor_worker.telemetry import logs

PLACE_S = 15.0
"""A caller that is neither renewed nor heard of for so long has lost its place."""
QUIET_S = 60.0
"""A throttle that has held no caller back for so long is forgotten."""
FULL_S = 1.5
"""If another's call has to end first: when to ask again at the latest."""
FIRST_S, LONGEST_S = 1.0, 30.0
"""If the provider names no time; doubles from refusal to refusal."""
PROBE_S = 60.0
"""So often one call tries whether a refused key is taken again."""
REMEMBERED_S = 30 * 86400.0
"""For how long it is known that a key has worked; said again by each worker once a day."""
SAID_AGAIN_S = 86400.0
TOLD_S = 2.0  # until the keeper has surely heard of what we have written
_MODEL_CHARS = 200


def scripts() -> list[Script]:
    """Those to ask, and to tell how a call has ended; read once, best before the workers are forked."""
    return [script(name, *WAITING, *THROTTLE) for name in ("admit", "throttled", "called", "key_refused", "worked")]


class FleetThrottle:
    """
    One provider, address and key, as one worker sees it.

    If Redis can't be asked we hold no caller back: the provider will say so itself.

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
        self._admit, self._throttled, self._called, self._key_refused, self._worked = scripts()
        self._prefix = account_prefix(provider, base_url, key)
        self._models = f"{WORKED_PREFIX}{self._prefix.removeprefix(THROTTLE_PREFIX).rstrip(':')}"
        self._known: dict[str, float] = {}  # model → when we have said last that the key works for it
        self._active = active
        self._calling = calling
        self._told = False  # Redis has taken our word for the last refusal: items can wait for it there
        self._told_until = 0.0
        self._cut = 0

    def key(self, model: str) -> str:
        return self._name(model) if self._told else ""

    def _name(self, model: str) -> str:
        return self._prefix + model[:_MODEL_CHARS].encode("utf-8", "replace").decode()

    def admit(self, model: str, run_context: RunContext) -> Wait | None:
        self._cut = 0
        if not self._active() and time.monotonic() > self._told_until:
            return None
        key = self._name(model)
        try:
            words: list[Word] = [self._caller, _ms(PLACE_S), _ms(QUIET_S)]
            wait_ms, self._cut, refused = self._link.run(self._admit, [key], words)
        except StreamError as error:
            logs.debug("throttle.unknown", reason=str(error))
            return None
        if not wait_ms:
            return None
        seconds = wait_ms / 1000 if wait_ms > 0 else random.uniform(FULL_S * 2 / 3 + 0.1, FULL_S)
        return Wait(seconds, key, bool(refused))

    def ended(self, model: str, run_context: RunContext, error: ModelError | None, *, answered: bool) -> None:
        try:
            if error is not None:
                self._cut_down(model, error)
                return
            if self._cut:
                words: list[Word] = [self._caller, "1" if answered else "", _ms(PROBE_S)]
                if self._link.run(self._called, [self._name(model)], words):
                    logs.info("model.accepted", model=model[:_MODEL_CHARS])
            if answered:
                self._remember(model)
        except StreamError as unavailable:
            logs.debug("throttle.untold", reason=str(unavailable))

    def refused(self, model: str, run_context: RunContext, error: ModelRefused) -> Wait | None:
        self._told = False
        only = "" if error.whole_key else model
        known = bool(self._known) if error.whole_key else model in self._known
        words: list[Word] = [
            self._caller, only[:_MODEL_CHARS], "1" if known else "", _ms(PROBE_S), _ms(REMEMBERED_S), error.why,
            THROTTLED_CHANNEL,
        ]  # fmt: skip
        try:
            wait_ms = self._link.run(self._key_refused, [self._name(model), self._models], words)
        except StreamError as unavailable:
            logs.debug("throttle.untold", reason=str(unavailable))
            return None
        if wait_ms < 0:
            return None
        self._told, self._told_until = True, time.monotonic() + TOLD_S
        advice = "correct the key or fill its account; items that need it wait, and one call a minute tries"
        logs.error("model.refused", model=model[:_MODEL_CHARS], reason=error.why, advice=advice)
        return Wait(wait_ms / 1000, self._name(model), refused=True)

    def _remember(self, model: str) -> None:
        """Say that the key works for *model*: in Redis, as a later refusal may meet a worker that has not seen it."""
        now = time.monotonic()
        if now >= self._known.get(model, now) + SAID_AGAIN_S or model not in self._known:
            self._known[model] = now
            self._link.run(self._worked, [self._models], [model[:_MODEL_CHARS], _ms(REMEMBERED_S)])

    def _cut_down(self, model: str, error: ModelError) -> None:
        self._told = False
        asked_s = error.retry_after
        asked_ms = -1 if asked_s is None else _ms(asked_s)
        words: list[Word] = [
            self._caller, asked_ms, self._cut, max(self._calling(), 1), _ms(FIRST_S), _ms(LONGEST_S), _ms(QUIET_S),
            THROTTLED_CHANNEL, _ms(LONGEST_HELD_S), error.code,
        ]  # fmt: skip
        _, wait_ms = self._link.run(self._throttled, [self._name(model)], words)
        self._told, self._told_until = True, time.monotonic() + TOLD_S
        logs.info("model.throttled", model=model[:_MODEL_CHARS], error_code=error.code, wait_s=round(wait_ms / 1000, 3))


def account_prefix(provider: str, base_url: str, key: str) -> str:
    """Give what the names of all throttles of a provider, address and key begin with."""
    return f"{THROTTLE_PREFIX}{provider}:{_account(base_url, key)}:"


def _account(base_url: str, key: str) -> str:
    """Name who pays: one-way, so that the key can't be read off it."""
    secret = hashlib.blake2b(key.encode(), digest_size=32, person=b"throttle").digest()
    return hashlib.blake2b(base_url.encode(), key=secret, digest_size=8).hexdigest()


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
