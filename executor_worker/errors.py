"""
Every way a run can go wrong, split by who has to act.

    ExecutorError
    ├── ConfigError            the operator: a setting is wrong (exit status 78)
    ├── NodeError              the node fails; `code` is the one on the wire
    │   ├── GraphError         the graph's author
    │   │     InvalidItem invalid_item · InvalidNode invalid_node · TemplateError template_error
    │   │     StateMissing state_missing · StateInvalid state_invalid · Cancelled cancelled
    │   │     UnknownTool unknown_tool · MaxIterations max_iterations · BudgetExceeded budget_exceeded
    │   │     NoRoute no_route
    │   ├── ToolError          the operator of the tool
    │   │     ToolFailed tool_failed · ToolTimeout tool_timeout
    │   │     ToolUnavailable tool_unavailable · ToolUncertain tool_uncertain
    │   ├── ModelError         the model's provider
    │   │     ModelRateLimited llm_rate_limited · ModelUnavailable llm_unavailable
    │   │     ModelTimeout llm_timeout · ModelRejected, ContextExceeded, ModelNotFound llm_rejected
    │   │     ModelRefused llm_refused · ModelBadResponse llm_bad_response
    │   └── NodeTimeout node_timeout · Poisoned poisoned · InternalError internal
    ├── StreamError            Redis; raised by `stream` only
    │     StreamUnavailable · StreamRefused
    └── HistoryError           PostgreSQL; what is to be written there stays in Redis meanwhile
          HistoryUnavailable · HistoryRefused

    Interrupt (BaseException)  stops a run from outside: never caught by a tool's `except Exception`
    ├── Overdue                the item's or the call's time is up
    ├── Stopped                the node's result is not wanted any more
    ├── Abandoned              the item is no longer ours, or must be given back: write nothing
    └── Parked                 its model can't be called for a while: it waits in the stream, held by no worker
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class ExecutorError(Exception):
    """Anything this program raises on purpose."""


class ConfigError(ExecutorError):
    """
    A setting can't be used.

    Args:
        variable: Its name in the environment, e.g. ``REDIS_ADDR``.
        problem: What is wrong with it, the bad value included (never a secret's).
        fix: What to do, as an imperative sentence.
        place: File and line that its value was read from; empty: the environment, or not known.
    """

    def __init__(self, variable: str, problem: str, fix: str, place: str = "") -> None:
        super().__init__(variable, problem, fix, place)
        self.variable = variable
        self.problem = problem
        self.fix = fix
        self.place = place

    def __str__(self) -> str:
        return f"{self.variable}: {self.advice}"

    @property
    def advice(self) -> str:
        """Problem, fix and place, in sentences."""
        return f"{self.problem} {self.fix}{self.place and f' It stands in {self.place}.'}"


class NodeError(ExecutorError):
    """
    The node ends as `node.failed` with this class's code.

    Attributes:
        code: `data.error_code` on the wire (CONTRACT: error codes); stable.
        retryable: Whether the same call may succeed if made again later.
        where: For the log: file and line in the user's own code, or the step that was in progress; empty: not known.
        trace: The traceback of a tool's exception that was raised in another process; empty: none, or raised here.
        retry: How its tool asks for such a node to be run again; None: it does not.
    """

    code = "internal"
    retry: Mapping[str, Any] | None = None
    retryable = False
    where = ""
    trace = ""


class GraphError(NodeError):
    """The graph's author has to change something."""


class InvalidItem(GraphError):
    code = "invalid_item"


class InvalidNode(GraphError):
    code = "invalid_node"


class TemplateError(GraphError):
    code = "template_error"


class StateMissing(GraphError):
    code = "state_missing"


class StateInvalid(GraphError):
    code = "state_invalid"


class Cancelled(GraphError):
    code = "cancelled"


class UnknownTool(GraphError):
    code = "unknown_tool"


class MaxIterations(GraphError):
    code = "max_iterations"


class BudgetExceeded(GraphError):
    code = "budget_exceeded"


class NoRoute(GraphError):
    code = "no_route"


class ToolError(NodeError):
    """A tool did not do what it was asked."""


class ToolFailed(ToolError):
    code = "tool_failed"


class ToolTimeout(ToolError):
    code = "tool_timeout"


class ToolUnavailable(ToolError):
    code = "tool_unavailable"
    retryable = True


class ToolUncertain(ToolError):
    code = "tool_uncertain"


class ModelError(NodeError):
    """
    A model call did not bring an answer.

    Args:
        message: A sentence for the graph's author: provider, model, what it said.
        retry_after: Seconds the provider asked us to wait, None if it said nothing.

    Attributes:
        throttled: The provider asked for fewer calls (429, 529), and means all who use this key and model.
    """

    throttled = False

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ModelRateLimited(ModelError):
    code = "llm_rate_limited"
    retryable = True


class ModelUnavailable(ModelError):
    code = "llm_unavailable"
    retryable = True


class ModelTimeout(ModelError):
    code = "llm_timeout"
    retryable = True


class ModelRejected(ModelError):
    code = "llm_rejected"


class ModelRefused(ModelError):
    """
    The provider takes no call by this key: it is wrong or revoked, its account empty, or it may not use the model.

    Args:
        why: Status and kind of the refusal, without the provider's own sentence, which may quote the key.
        whole_key: It holds for every model.
    """

    code = "llm_refused"

    def __init__(
        self, message: str, *, retry_after: float | None = None, why: str = "", whole_key: bool = True
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.why = why
        self.whole_key = whole_key


class ContextExceeded(ModelRejected):
    """The prompt is longer than the model takes; a shorter one may be answered."""


class ModelNotFound(ModelRejected):
    """There is no such model, or no longer."""


class ModelBadResponse(ModelError):
    code = "llm_bad_response"
    retryable = True


class NodeTimeout(NodeError):
    code = "node_timeout"


class Poisoned(NodeError):
    code = "poisoned"


class InternalError(NodeError):
    code = "internal"


def _codes(kind: type[NodeError]) -> Iterator[str]:
    yield kind.code
    for narrower in kind.__subclasses__():
        yield from _codes(narrower)


ERROR_CODES = frozenset(_codes(NodeError))
"""All that a node can fail with."""

NOT_RETRIABLE = frozenset(kind.code for kind in (InvalidItem, InvalidNode, TemplateError, UnknownTool, Cancelled))
"""Codes of nodes that would fail the same again: `data.retriable` is false, a `retry` without `on` skips them."""


class StreamError(ExecutorError):
    """Redis did not do what it was asked."""


class StreamUnavailable(StreamError):
    """No usable reply: connection lost, refused, loading, read-only, out of memory. Wait and try again."""


class StreamRefused(StreamError):
    """Redis answers, but not to us: wrong password, missing permission, too old. The operator has to act."""


class HistoryError(ExecutorError):
    """
    PostgreSQL does not do what it was asked to.

    Attributes:
        fix: What an operator can do about it.
    """

    def __init__(self, said: str, *, fix: str = "") -> None:
        super().__init__(said)
        self.fix = fix


class HistoryUnavailable(HistoryError):
    """It can't be reached, does not answer, or takes nothing now, whatever the value: it is full, or read-only."""


class HistoryRefused(HistoryError):
    """
    It answers, and will not.

    Attributes:
        unmigrated: Its tables are not there.
        data: A value is to blame: other rows may be taken.
    """

    def __init__(self, said: str, *, fix: str = "", unmigrated: bool = False, data: bool = False) -> None:
        super().__init__(said, fix=fix)
        self.unmigrated = unmigrated
        self.data = data


class Interrupt(BaseException):
    """
    Stops a run from outside.

    Not an Exception: libraries take those for connection errors and try again.

    Attributes:
        where: See `NodeError`.
    """

    where = ""


class Overdue(Interrupt):
    """The time of the call or item in progress is up."""


class Stopped(Interrupt):
    """The graph was cancelled: the node ends as failed with `Cancelled`."""


class Abandoned(Interrupt):
    """The item was taken over or must be given back: stop, write nothing."""


class Parked(Interrupt):
    """
    The item's model can't be called now: give the item back, it is run when there is room.

    Args:
        throttle_key: What it waits for.
        refused: How often the call that it waits with was refused by the provider.
        ends_at: When it is too late for it, in seconds since the epoch; 0: never.
    """

    def __init__(self, throttle_key: str, refused: int = 0, ends_at: float = 0.0) -> None:
        super().__init__("what it needs is not there now")
        self.ends_at = ends_at
        self.throttle_key = throttle_key
        self.refused = refused
