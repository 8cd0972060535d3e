"""Errors in which a call of the API can end."""

from __future__ import annotations

from typing import Any

from executor_worker.errors import ExecutorError


class DagoError(ExecutorError):
    """
    The API has refused something.

    Attributes:
        code: The API's word for it, e.g. NOT_FOUND, VALIDATION_ERROR, CONFLICT.
        status: HTTP's number.
        details: More of it, e.g. all that is wrong with a graph; None: nothing.
        retry_after: Seconds after which the same may succeed; None: it was not said.
    """

    def __init__(
        self, message: str, code: str, status: int = 0, details: Any = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.details = details
        self.retry_after = retry_after


class DagoUnavailable(DagoError):
    """
    The API can't be reached, or can't reach its Redis: later the same may succeed.

    Attributes:
        timed_out: Nothing came within the time for one answer: it hangs, or is no API.
    """

    def __init__(
        self, message: str, status: int = 0, retry_after: float | None = None, *, timed_out: bool = False
    ) -> None:
        super().__init__(message, "UNAVAILABLE", status, None, retry_after)
        self.timed_out = timed_out


class NotEnded(DagoError):
    """A run has not ended within the time that was given."""

    def __init__(self, graph_id: str, seconds: float) -> None:
        super().__init__(f"the run {graph_id} has not ended within {seconds:g} s; it goes on", "NOT_COMPLETED")
