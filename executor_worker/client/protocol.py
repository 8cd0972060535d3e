"""Protocol of both clients: requests as data, answers read, streams taken apart; nothing here waits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import quote

import httpx2

from executor_worker.client.errors import DagoError, DagoUnavailable
from executor_worker.json_text import dumps_exactly, loads
from executor_worker.network_errors import reason_of
from executor_worker.settings.addresses import without_password

V1 = "/api/v1"
ANSWER_S = 30.0  # for one answer; more than a busy API needs, and little enough for who sits before it
POLL_S = 30  # how long one long poll waits
READ_S = 60.0  # without a byte a stream counts as lost; it says something every 15 s
TRIES = 5  # of what may be repeated; a call that was not answered in time is not
PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0)
_NO_API = "what answers is not the API, or a proxy before it; see that the address is the API's"


@dataclass(frozen=True, slots=True)
class Call:
    """
    One request.

    Attributes:
        body: As JSON; None: none.
        repeatable: A second one changes nothing that the first has not.
    """

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True

    @property
    def content(self) -> bytes | None:
        return None if self.body is None else dumps_exactly(self.body)


def submit(graph: Mapping[str, Any], inputs: Mapping[str, Any] | None, key: str, more: Mapping[str, Any]) -> Call:
    body = {"graph": graph, "inputs": dict(inputs or {}), **{name: value for name, value in more.items() if value}}
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    return Call("POST", f"{V1}/graphs", body=body, headers=headers)


def of_run(graph_id: str, what: str = "", method: str = "GET", **query: Any) -> Call:
    """A request about one run; *what* is the rest of its path."""
    path = f"{V1}/graphs/{quote(graph_id, safe='')}{what}"
    return Call(method, path, query=query, repeatable=method == "GET")


def listing(limit: int, cursor: str | None, wanted: Mapping[str, Any]) -> Call:
    labels = [f"{name}:{value}" for name, value in (wanted.get("labels") or {}).items()]
    query = {name: value for name, value in wanted.items() if value and name != "labels"}
    return Call("GET", f"{V1}/graphs", query={**query, "limit": limit, "label": labels, "cursor": cursor or ""})


def limits(seconds: float) -> dict[str, float]:
    """The limits of one request, each in seconds; its client reads them anew for the body of an answer."""
    return dict.fromkeys(("connect", "read", "write", "pool"), seconds)


def answer_of(status: int, headers: Mapping[str, str], content: bytes) -> Any:
    """
    Read an answer.

    Raises:
        DagoError: It is a refusal.
    """
    if status >= 400:
        refuse(status, headers, content)
    try:
        return loads(content) if content else None
    except ValueError:
        raise DagoError(f"HTTP {status} without JSON: {_NO_API}", "INVALID_REQUEST", status) from None


def refuse(status: int, headers: Mapping[str, str], content: bytes) -> NoReturn:
    """
    Raises:
        DagoError: What the API has answered.
    """
    text = headers.get("retry-after", "")
    retry_after = float(text) if text.isdigit() else None
    try:
        error = loads(content)["error"]
        code, message, details = str(error["code"]), str(error["message"]), error.get("details")
    except (ValueError, KeyError, TypeError):
        code, message, details = (
            "UNAVAILABLE" if status >= 500 else "INVALID_REQUEST",
            f"HTTP {status}: {_NO_API}",
            None,
        )
    if status == 503:
        raise DagoUnavailable(message, status, retry_after)
    raise DagoError(message, code, status, details, retry_after)


def unreachable(url: object, error: Exception, limit_s: float, call: Call | None = None) -> DagoUnavailable:
    """
    Tell of a connection that could not be made, was lost, or brought no answer: where to, and why.

    Args:
        limit_s: Seconds that were waited for an answer.
        call: What was asked; None: it may be asked again.
    """
    if isinstance(error, DagoUnavailable):
        return error
    api = f"the API at {without_password(str(url)).rstrip('/')}"
    if not isinstance(error, httpx2.TimeoutException):
        return DagoUnavailable(f"{api} can't be reached ({reason_of(error)})")
    if isinstance(error, httpx2.ConnectTimeout):
        return DagoUnavailable(f"{api} can't be reached (no connection within {limit_s:.3g} s)", timed_out=True)
    changes = call is not None and (not call.repeatable or "Idempotency-Key" in call.headers)
    open_end = "; what was asked may have been done all the same" if changes else ""
    return DagoUnavailable(f"{api} has not answered within {limit_s:.3g} s{open_end}", timed_out=True)


class Blocks:
    """Takes server-sent events out of lines."""

    def __init__(self) -> None:
        self._id = self._name = self._data = ""

    def line(self, line: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Take one line; yield the event that it completes: id, name, data."""
        if line:
            name, _, value = line.partition(": ")
            match name:
                case "id":
                    self._id = value
                case "event":
                    self._name = value
                case "data":
                    self._data = value
            return
        done = (self._id, self._name, self._data)
        self._id = self._name = self._data = ""
        if done[1]:
            yield done[0], done[1], loads(done[2].encode())


class Position:
    """
    The position of a reader in a run's log, through all its connections.

    Attributes:
        joined: The log has been open for it.
    """

    def __init__(self, after: int) -> None:
        self.cursor = str(after) if after else ""
        self.joined = False

    def take(self, cursor: str, name: str, event: dict[str, Any]) -> dict[str, Any] | None:
        """Note an event that has come; None: it is none, but says that all comes again."""
        if name == "reset":
            self.cursor = ""
            return None
        self.cursor = cursor or self.cursor  # what is shown between events has none
        return event
