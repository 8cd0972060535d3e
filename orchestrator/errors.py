"""
Every way a call of the API can go wrong, whatever it came by.

    ApiError
    ├── InvalidRequest INVALID_REQUEST 400 · Unauthorized UNAUTHORIZED 401 · Forbidden FORBIDDEN 403
    ├── NotFound NOT_FOUND 404 · WorkerNotFound WORKER_NOT_FOUND 404 · MethodNotAllowed METHOD_NOT_ALLOWED 405
    ├── NotCompleted NOT_COMPLETED 409 · CancellationFailed CANCELLATION_FAILED 409 · Conflict CONFLICT 409
    ├── UnknownEncoding INVALID_REQUEST 415 · TooLarge TOO_LARGE 413 · HeadTooLarge TOO_LARGE 431
    ├── Invalid VALIDATION_ERROR 422 · KeyReused IDEMPOTENCY_MISMATCH 422
    ├── RateLimited RATE_LIMIT_EXCEEDED 429
    └── Internal INTERNAL_ERROR 500 · Unavailable UNAVAILABLE 503
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from executor_worker.errors import ExecutorError


class ApiError(ExecutorError):
    """
    A call is answered with this instead of what it asked for.

    Attributes:
        status: HTTP's.
        code: The stable word for programs.
        title: What RFC 9457 calls so: the same for every error of this class.
        grpc: The name of gRPC's status code.
        details: More for programs, a JSON value; None: nothing.
        headers: Further HTTP headers of the answer.
    """

    status = 500
    code = "INTERNAL_ERROR"
    title = "Internal error"
    grpc = "INTERNAL"

    def __init__(self, message: str, *, details: Any = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.details = details
        self.headers = dict(headers or {})


class InvalidRequest(ApiError):
    status, code, title, grpc = 400, "INVALID_REQUEST", "Invalid request", "INVALID_ARGUMENT"


class InvalidWorkerType(ApiError):
    status, code, title, grpc = 400, "INVALID_WORKER_TYPE", "Invalid worker type", "INVALID_ARGUMENT"


class Unauthorized(ApiError):
    """No token was brought, or one that is not known."""

    status, code, title, grpc = 401, "UNAUTHORIZED", "Not authenticated", "UNAUTHENTICATED"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(ApiError):
    """The token's role does not allow it."""

    status, code, title, grpc = 403, "FORBIDDEN", "Not allowed", "PERMISSION_DENIED"


class NotFound(ApiError):
    status, code, title, grpc = 404, "NOT_FOUND", "Not found", "NOT_FOUND"


class WorkerNotFound(NotFound):
    code = "WORKER_NOT_FOUND"


class MethodNotAllowed(ApiError):
    status, code, title, grpc = 405, "METHOD_NOT_ALLOWED", "Method not allowed", "UNIMPLEMENTED"

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        allow = ", ".join(allowed)
        super().__init__(f"{method} is not possible here; possible: {allow}", headers={"Allow": allow})


class NotCompleted(ApiError):
    """The run has not ended."""

    status, code, title, grpc = 409, "NOT_COMPLETED", "Not completed", "FAILED_PRECONDITION"


class CancellationFailed(ApiError):
    """The run has ended, or is stopping already."""

    status, code, title, grpc = 409, "CANCELLATION_FAILED", "Cancellation failed", "FAILED_PRECONDITION"


class Conflict(ApiError):
    """The run is in a state in which that can't be done."""

    status, code, title, grpc = 409, "CONFLICT", "Conflict", "FAILED_PRECONDITION"


class UnknownEncoding(ApiError):
    """A body that is packed in a way that is not unpacked here."""

    status, code, title, grpc = 415, "INVALID_REQUEST", "Unsupported encoding", "INVALID_ARGUMENT"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"Accept-Encoding": "identity"})


class TooLarge(ApiError):
    status, code, title, grpc = 413, "TOO_LARGE", "Too large", "RESOURCE_EXHAUSTED"


class HeadTooLarge(TooLarge):
    """Address and headers of a request are longer together than is read."""

    status = 431


class Invalid(ApiError):
    """The request is understood and can't be run; `details.errors` tells all problems."""

    status, code, title, grpc = 422, "VALIDATION_ERROR", "Validation failed", "INVALID_ARGUMENT"


class KeyReused(ApiError):
    """An Idempotency-Key came with another body than the first time."""

    status, code, title, grpc = 422, "IDEMPOTENCY_MISMATCH", "Idempotency key reused", "INVALID_ARGUMENT"


class RateLimited(ApiError):
    status, code, title, grpc = 429, "RATE_LIMIT_EXCEEDED", "Too many", "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, wait_s: int = 1) -> None:
        super().__init__(message, headers={"Retry-After": str(wait_s)})


class Internal(ApiError):
    """A mistake of ours: what it was is in the log, not in the answer."""

    def __init__(self) -> None:
        super().__init__("a mistake in this program; its log says more")


class Unavailable(ApiError):
    """Redis does not answer, or is full: later the same call may succeed."""

    status, code, title, grpc = 503, "UNAVAILABLE", "Unavailable", "UNAVAILABLE"

    def __init__(self, message: str, wait_s: int = 1) -> None:
        super().__init__(message, headers={"Retry-After": str(wait_s)})
