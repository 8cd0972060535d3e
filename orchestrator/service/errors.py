"""Errors of Redis, of graphs and of the kernel: the one border where they become the API's."""

from __future__ import annotations

from executor_worker.broker.connection.replies import NewerLayout
from executor_worker.broker.graphs import (
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
from executor_worker.errors import StreamError
from orchestrator.errors import (
    ApiError,
    CancellationFailed,
    Conflict,
    Internal,
    KeyReused,
    NotCompleted,
    NotFound,
    RateLimited,
    Unavailable,
)

BUSY_S = 5  # before a run that was one too many is worth another try


def as_api_error(error: Exception) -> ApiError:
    """Answer what *error* means to the caller; what is not known here is a mistake of ours."""
    match error:
        case ApiError():
            return error
        case RunError():
            return _of_run(error)
        case RedisFull() | NewerLayout():
            return Unavailable(str(error))
        case StreamError():
            return Unavailable("Redis does not answer, or refuses; try again")
    return Internal()


def _of_run(error: RunError) -> ApiError:
    match error:
        case RunUnknown():
            return NotFound("Graph not found")
        case RunNotEnded():
            return NotCompleted(str(error), details={"status": error.status})
        case RunEnded() | RunStopping():
            return CancellationFailed(str(error), details={"status": error.status})
        case IdempotencyMismatch():
            return KeyReused(str(error), details={"graph_id": error.graph_id})
        case TooManyRuns():
            return RateLimited(str(error), BUSY_S)
        case NothingToRetry() | StaleEpoch():
            return Conflict(str(error))
    return Conflict(str(error))
