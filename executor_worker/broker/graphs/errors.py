"""Errors of a run's verbs: why one can't be done; all for its caller to act on."""

from __future__ import annotations

from executor_worker.errors import ExecutorError, StreamUnavailable


class RunError(ExecutorError):
    """Of a run, named by `graph_id`."""

    def __init__(self, graph_id: str, message: str, status: str = "") -> None:
        super().__init__(message)
        self.graph_id = graph_id
        self.status = status


class RunUnknown(RunError):
    """There is no such run, or it has expired."""

    def __init__(self, graph_id: str) -> None:
        super().__init__(graph_id, f"there is no run {graph_id}")


class RunNotEnded(RunError):
    """It still runs, or is stopping."""

    def __init__(self, graph_id: str, status: str) -> None:
        super().__init__(graph_id, f"the run {graph_id} has not ended yet: it is {status}", status)


class RunEnded(RunError):
    """It has ended already."""

    def __init__(self, graph_id: str, status: str) -> None:
        super().__init__(graph_id, f"the run {graph_id} has ended already: it is {status}", status)


class RunStopping(RunError):
    """It was cancelled or has failed, and what it runs is about to end."""

    def __init__(self, graph_id: str, status: str) -> None:
        super().__init__(graph_id, f"the run {graph_id} is being stopped; wait until it has ended", status)


class NothingToRetry(RunError):
    """It has completed."""

    def __init__(self, graph_id: str) -> None:
        super().__init__(graph_id, f"the run {graph_id} has completed: there is nothing to retry", "completed")


class StaleEpoch(RunError):
    """The run was retried meanwhile by another."""

    def __init__(self, graph_id: str) -> None:
        super().__init__(graph_id, f"the run {graph_id} was retried by another caller meanwhile")


class IdempotencyMismatch(RunError):
    """The key was used with another body; `graph_id` is the run it has made."""

    def __init__(self, graph_id: str) -> None:
        super().__init__(graph_id, f"this idempotency key has made the run {graph_id} of another body; use a new key")


class TooManyRuns(RunError):
    """The limit of runs at once is reached."""

    def __init__(self, active: int) -> None:
        super().__init__("", f"{active} runs are active already, which is the limit; try again later")


class RedisFull(StreamUnavailable):
    """Redis is nearly full: what is left is for runs that are there already."""

    def __init__(self, used: int = 0, limit: int = 0) -> None:
        mib, how = 2**20, "up to its maxmemory"
        if limit:
            how = f"to {100 * used / limit:.0f} % of its maxmemory ({used / mib:,.0f} of {limit / mib:,.0f} MiB)"
        super().__init__(
            f"Redis is full {how}: no run is accepted, so that those that go on can end; raise maxmemory, or let ended"
            " runs expire sooner (STATE_TTL)"
        )
