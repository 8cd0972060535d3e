"""
Runs of graphs in Redis: what can be asked of them and done to them.

Every verb is a generator that yields requests and is sent their replies, so that it runs over a `Link` (`drive`) as
well as over redis.asyncio (`requests_async.adrive`). No verb keeps anything between two calls.
"""

from executor_worker.broker.graphs.errors import (
    IdempotencyMismatch,
    NothingToRetry,
    RedisFull,
    RunEnded,
    RunError,
    RunNotEnded,
    RunStopping,
    RunUnknown,
    StaleEpoch,
    TooManyRuns,
)
from executor_worker.broker.graphs.requests import Request, ScriptCall, Steps, drive
from executor_worker.broker.names import live_channel

__all__ = [
    "IdempotencyMismatch",
    "NothingToRetry",
    "RedisFull",
    "Request",
    "RunEnded",
    "RunError",
    "RunNotEnded",
    "RunStopping",
    "RunUnknown",
    "ScriptCall",
    "StaleEpoch",
    "Steps",
    "TooManyRuns",
    "drive",
    "live_channel",
]
