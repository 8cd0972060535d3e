"""When to call a model again, and how long to wait before: shared by all adapters."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from loguru import logger

from executor_worker.errors import ModelError
from executor_worker.watch import Watch

T = TypeVar("T")
SLICE_S = 0.25


class Retries:
    """
    Exponential backoff with full jitter; what the provider asks for goes first.

    Args:
        max_retries: Attempts after the first.
        base_s: Longest first wait; it doubles with each attempt, up to *cap_s*.
    """

    def __init__(
        self,
        max_retries: int,
        *,
        base_s: float = 0.5,
        cap_s: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._max_retries = max_retries
        self._base_s = base_s
        self._cap_s = cap_s
        self._sleep = sleep
        self._chance = chance

    def run(self, attempt: Callable[[int], T], watch: Watch) -> T:
        """
        Call *attempt* with its number, from 0, until it answers or a further one is of no use.

        Raises:
            ModelError: The last attempt's. At once where it is not retryable or where the wait would
                reach beyond the item's deadline.
        """
        number = 0
        while True:
            watch.check()
            try:
                return attempt(number)
            except ModelError as error:
                wait_s = self._wait_s(number, error)
                if not error.retryable or number >= self._max_retries:
                    raise _told(error, _attempts(number + 1)) from error
                if wait_s >= watch.left():
                    raise _told(error, f"{_attempts(number + 1)}the node has {watch.left():.0f} s left") from error
                logger.bind(error_code=error.code, attempt=number + 1, wait_s=round(wait_s, 3)).info("model.retried")
            pause(wait_s, watch, self._sleep)
            number += 1

    def _wait_s(self, number: int, error: ModelError) -> float:
        if error.retry_after is not None:
            # Never earlier than asked, and not all workers at the same instant.
            return error.retry_after + self._chance() * min(1.0, error.retry_after / 10)
        return self._chance() * min(self._cap_s, self._base_s * 2.0 ** min(number, 30))


def pause(seconds: float, watch: Watch, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait, asking the watch now and then."""
    until = watch.clock() + seconds
    while (left := until - watch.clock()) > 0:
        watch.check()
        sleep(min(left, SLICE_S, max(watch.left(), 0.001)))
    watch.check()


def _attempts(count: int) -> str:
    return f"tried {count} times; " if count > 1 else ""


def _told(error: ModelError, more: str) -> ModelError:
    """The same error, saying as well how often it was tried and what the provider asked for."""
    if error.retry_after is not None:
        more = f"asked to wait {error.retry_after:g} s; {more}"
    if not more:
        return error
    told = type(error)(f"{error} ({more.removesuffix('; ')})", retry_after=error.retry_after)
    told.retryable = error.retryable
    return told


def asked_wait_s(headers: Mapping[str, str], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """
    Read how long the provider asks us to wait.

    Args:
        headers: With case-insensitive names; `retry-after-ms`, or `retry-after` in seconds or as an HTTP date.

    Returns:
        Seconds, 0 or more; None where it says nothing that can be understood.
    """
    if (ms := _number(headers.get("retry-after-ms"))) is not None:
        return max(0.0, ms / 1000)
    text = headers.get("retry-after")
    if (seconds := _number(text)) is not None:
        return max(0.0, seconds)
    try:
        at = parsedate_to_datetime(text or "")
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now()).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
