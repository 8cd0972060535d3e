"""Retries of model calls, and the waits before them: shared by all adapters."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from loguru import logger

from executor_worker.errors import ModelError, ModelRateLimited, ModelRefused, ModelRejected
from executor_worker.providers.throttle import LONGEST_HELD_S, Alone, Throttle, Wait
from executor_worker.run_context import RunContext

T = TypeVar("T")
SLICE_S = 0.25
LONGEST_WAIT_S = 86400.0


class Retries:
    """
    Exponential backoff with full jitter; what the provider asks for goes first.

    Args:
        max_retries: Attempts after the first.
        base_s: Longest first wait; it doubles with each attempt, up to *cap_s*.
        throttle: Asked before each attempt.
    """

    def __init__(
        self,
        max_retries: int,
        *,
        base_s: float = 0.5,
        cap_s: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
        throttle: Throttle | None = None,
    ) -> None:
        self._max_retries = max_retries
        self._base_s = base_s
        self._cap_s = cap_s
        self._sleep = sleep
        self._chance = chance
        self._throttle = throttle or Alone()

    def run(self, attempt: Callable[[int], T], run_context: RunContext, model: str = "") -> T:
        """
        Call *attempt* with its number, from 0, until it answers or a further one is of no use.

        What was tried in runs that have given the item back counts: it can't go round for ever.

        Args:
            model: What the attempts call.

        Raises:
            ModelError: The last attempt's. At once if it is not retryable or if the wait would
                reach beyond the item's deadline; without an attempt if the throttle's does.
            Parked: The item rather waits in the stream.
            ModelRefused: The key is refused, and has never worked.
        """
        number = run_context.tries
        try:
            while True:
                run_context.check()
                run_context.tries = number  # for the worker that goes on if the item is given back
                self._await_turn(model, run_context)
                try:
                    return self._tried(attempt, number, run_context, model)
                except ModelRefused as error:
                    self._await_key(error, model, run_context)
                    continue
                except ModelError as error:
                    wait_s = self._wait_s(number, error)
                    self._judge(error, number, wait_s, run_context)
                    throttled = error.throttled
                number += 1
                if throttled:
                    run_context.tries = number
                    run_context.may_park(wait_s, self._throttle.key(model))
                pause(min(wait_s, LONGEST_HELD_S), run_context, self._sleep)
        finally:
            run_context.tries = 0  # those were this call's

    def _await_turn(self, model: str, run_context: RunContext) -> None:
        """Wait until *model* may be called; not all who wait come back at the same instant."""
        while (wait := self._throttle.admit(model, run_context)) is not None:
            if wait.refused:
                run_context.may_park(wait.seconds, wait.key)
            if wait.seconds >= run_context.left():
                raise self._not_called(wait, model, run_context)
            run_context.may_park(wait.seconds, wait.key)
            pause(wait.seconds + self._chance() * min(1.0, wait.seconds / 10), run_context, self._sleep)

    @staticmethod
    def _not_called(wait: Wait, model: str, run_context: RunContext) -> ModelError:
        left = f"not called; the node has {run_context.left():.0f} s left"
        if wait.refused:
            return ModelRefused(f"the key for {model} is refused ({left})")
        return _told(ModelRateLimited(f"{model} is throttled", retry_after=round(wait.seconds, 1)), left)

    def _await_key(self, error: ModelRefused, model: str, run_context: RunContext) -> None:
        """
        Wait until it is worth calling again by a key that has worked; that is not one of the call's own tries.

        Raises:
            ModelRefused: *error*, if it never has, or the node has no time for that.
        """
        wait = self._throttle.refused(model, run_context, error)
        if wait is None:
            raise error
        run_context.may_park(wait.seconds, wait.key)
        if wait.seconds >= run_context.left():
            raise error
        pause(wait.seconds, run_context, self._sleep)

    def _tried(self, attempt: Callable[[int], T], number: int, run_context: RunContext, model: str) -> T:
        asked: ModelError | None = None
        answered = refused = False
        try:
            answer = attempt(number)
            answered = True
            return answer
        except ModelRefused:
            refused = True
            raise
        except ModelError as error:
            run_context.void_deltas()
            asked = error if error.throttled and error.retryable else None
            answered = isinstance(error, ModelRejected)  # it was read, and by this key
            raise
        finally:
            if not refused:
                self._throttle.ended(model, run_context, asked, answered=answered)

    def _judge(self, error: ModelError, number: int, wait_s: float, run_context: RunContext) -> None:
        """
        Raises:
            ModelError: *error*, where no further attempt follows.
        """
        if not error.retryable or number >= self._max_retries:
            raise _told(error, _attempts(number + 1)) from error
        if wait_s >= run_context.left():
            raise _told(error, f"{_attempts(number + 1)}the node has {run_context.left():.0f} s left") from error
        logger.bind(error_code=error.code, attempt=number + 1, wait_s=round(wait_s, 3)).info("model.retried")

    def _wait_s(self, number: int, error: ModelError) -> float:
        if error.retry_after is not None:
            # Never earlier than asked, and not all workers at the same instant.
            return error.retry_after + self._chance() * min(1.0, error.retry_after / 10)
        return self._chance() * min(self._cap_s, self._base_s * 2.0 ** min(number, 30))


def pause(seconds: float, run_context: RunContext, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait, asking the run context now and then."""
    until = run_context.clock() + seconds
    while (left := until - run_context.clock()) > 0:
        run_context.check()
        sleep(min(left, SLICE_S, max(run_context.left(), 0.001)))
    run_context.check()


def _attempts(count: int) -> str:
    return f"tried {count} times; " if count > 1 else ""


def _told(error: ModelError, more: str) -> ModelError:
    """The same error, saying as well how often it was tried and what the provider asked for."""
    if error.retry_after is not None:
        more = f"asked to wait {error.retry_after:g} s; {more}"
    if not more:
        return error
    told = type(error)(f"{error} ({more.removesuffix('; ')})", retry_after=error.retry_after)
    told.retryable, told.throttled = error.retryable, error.throttled
    return told


def asked_wait_s(headers: Mapping[str, str], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """
    Read how long the provider asks us to wait.

    Args:
        headers: With case-insensitive names; `retry-after-ms`, or `retry-after` in seconds, or as an HTTP date by
            the clock of `date`.

    Returns:
        Seconds, from 0 to a day; None if it says nothing that can be understood.
    """
    wait_s = _asked_s(headers, now)
    # All who use the model wait for it: one odd header must not end that for good.
    return None if wait_s is None else min(max(0.0, wait_s), LONGEST_WAIT_S)


def _asked_s(headers: Mapping[str, str], now: Callable[[], datetime]) -> float | None:
    if (ms := _number(headers.get("retry-after-ms"))) is not None:
        return ms / 1000
    text = headers.get("retry-after")
    if (seconds := _number(text)) is not None:
        return seconds
    at = _date(text)
    if at is None:
        return None
    seen = _date(headers.get("date")) or now()  # by the clock that wrote it: ours may be wrong
    return (at - seen).total_seconds()


def _date(text: str | None) -> datetime | None:
    try:
        at = parsedate_to_datetime(text or "")
    except (ValueError, TypeError, OverflowError):
        return None
    return at.replace(tzinfo=at.tzinfo or UTC)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
