"""A client of the API for ordinary programs: each call waits for its answer."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import httpx2

from executor_worker.client import protocol
from executor_worker.client.errors import DagoError, DagoUnavailable, NotEnded
from executor_worker.client.protocol import ANSWER_S, PAUSES_S, POLL_S, READ_S, TRIES, Blocks, Call, Position

Document = dict[str, Any]


class DagoClient:
    """
    Args:
        url: Of the API, e.g. http://localhost:8080.
        token: Where it takes one.
        timeout: Seconds for one answer, long polls and streams excepted.

    Calls that change nothing twice are repeated while the API can't be reached, for some seconds; not those that it has
    taken and does not answer in time.
    """

    def __init__(self, url: str, token: str | None = None, *, timeout: float = ANSWER_S) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx2.Client(base_url=url.rstrip("/"), headers=headers, timeout=timeout)
        self._limit_s = timeout

    def __enter__(self) -> DagoClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def submit_graph(
        self,
        graph: Mapping[str, Any],
        inputs: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        timeout: float | str | None = None,
    ) -> str:
        """
        Submit a graph; however often its answer is lost, it is one run.

        Args:
            idempotency_key: The same one with the same graph is the same run, for a day; None: one of its own.
            timeout: Of the run.

        Returns:
            The run's `graph_id`.

        Raises:
            DagoError: It was refused; VALIDATION_ERROR tells in `details["errors"]` all that is wrong.
        """
        more = {"labels": labels, "metadata": metadata, "timeout": timeout}
        made = self._ask(protocol.submit(graph, inputs, idempotency_key or uuid.uuid4().hex, more))
        return str(made["graph_id"])

    def validate(self, graph: Mapping[str, Any], inputs: Mapping[str, Any] | None = None) -> Document:
        """Tell all that is wrong with a graph: `valid`, `errors`, `warnings`, `order`."""
        body = {"graph": graph, "inputs": dict(inputs or {})}
        found: Document = self._ask(Call("POST", f"{protocol.V1}/graphs/validate", body=body))
        return found

    def get_status(self, graph_id: str) -> Document:
        """Say how far a run is: `status`, `submitted_at`, `started_at`, `completed_at`, `seq`."""
        found: Document = self._ask(protocol.of_run(graph_id, "/status"))
        return found

    def get_graph(self, graph_id: str) -> Document:
        """Answer a whole run: its graph, inputs, nodes and what it has used."""
        found: Document = self._ask(protocol.of_run(graph_id))
        return found

    def get_result(self, graph_id: str) -> Document:
        """
        Answer an ended run's `status`, `output`, `error` and `result` by node.

        Raises:
            DagoError: NOT_COMPLETED: it has not ended.
        """
        found: Document = self._ask(protocol.of_run(graph_id, "/result"))
        return found

    def wait(self, graph_id: str, timeout: float | None = None) -> Document:
        """
        Wait for a run's end, and answer its result.

        Raises:
            NotEnded: It has not ended within *timeout* seconds; it goes on.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        while True:
            left = POLL_S if ends is None else min(max(ends - time.monotonic(), 0), POLL_S)
            try:
                self._ask(protocol.of_run(graph_id, "/status", wait=int(left)), seconds=left + self._limit_s)
            except DagoUnavailable as error:
                if not error.timed_out or left < POLL_S:
                    raise  # else the connection may have got lost in silence: the next call finds out
            try:
                return self.get_result(graph_id)
            except DagoError as error:
                if error.code != "NOT_COMPLETED":
                    raise
            if ends is not None and time.monotonic() >= ends:
                raise NotEnded(graph_id, timeout or 0)
            time.sleep(PAUSES_S[0])

    def events(self, graph_id: str, after: int = 0, *, deltas: bool = False) -> Iterator[Document]:
        """
        Yield a run's events after number *after*, as they come, until its last one; rejoins by itself.

        Args:
            deltas: Also what models and tools say meanwhile, in pools with EVENT_CONTENT=1: events without id and seq.

        Raises:
            DagoError: There is no such run, or it may not be read.
            DagoUnavailable: The API could not be reached for some seconds.
        """
        position, failures = Position(after), 0
        while True:
            try:
                for event in self._stream(graph_id, position, deltas):
                    failures = 0
                    yield event
            except (DagoUnavailable, httpx2.TransportError) as error:
                failed = self._unreachable(error, self._limit_s)
                failures += TRIES if failed.timed_out else 1
                if failures > TRIES * 2 or (failed.timed_out and not position.joined):
                    raise failed from error
                time.sleep(PAUSES_S[min(failures, len(PAUSES_S)) - 1])
            else:
                if self._has_ended(graph_id, position):
                    return

    def cancel(self, graph_id: str) -> Document:
        """Cancel a run: nothing of it starts any more."""
        found: Document = self._ask(protocol.of_run(graph_id, "/cancel", "POST"))
        return found

    def retry(self, graph_id: str) -> Document:
        """Begin a failed or cancelled run again; what completed stays."""
        found: Document = self._ask(protocol.of_run(graph_id, "/retry", "POST"))
        return found

    def hold(self, graph_id: str) -> Document:
        """Let nothing new of a run start."""
        found: Document = self._ask(protocol.of_run(graph_id, "/hold", "POST"))
        return found

    def resume(self, graph_id: str) -> Document:
        """Let a held run go on."""
        found: Document = self._ask(protocol.of_run(graph_id, "/resume", "POST"))
        return found

    def delete(self, graph_id: str) -> None:
        """Forget an ended run."""
        self._ask(protocol.of_run(graph_id, "", "DELETE"))

    def list(self, limit: int = 20, cursor: str | None = None, **wanted: Any) -> Document:
        """
        List runs, newest first: `graphs`, `total`, `next_cursor`.

        Args:
            wanted: status, name, labels (an object), since, until, q.
        """
        found: Document = self._ask(protocol.listing(limit, cursor, wanted))
        return found

    def _ask(self, call: Call, seconds: float | None = None) -> Any:
        for attempt in range(1, TRIES + 1):
            try:
                return self._once(call, seconds)
            except DagoUnavailable as error:
                if attempt == TRIES or not call.repeatable or error.timed_out:
                    raise
                time.sleep(PAUSES_S[attempt - 1])
        raise AssertionError("unreachable")

    def _once(self, call: Call, seconds: float | None) -> Any:
        limit_s = self._limit_s if seconds is None else seconds
        try:
            answer = self._http.request(
                call.method,
                call.path,
                params=dict(call.query),
                content=call.content,
                headers=dict(call.headers),
                timeout=limit_s,
            )
        except httpx2.TransportError as error:
            raise self._unreachable(error, limit_s, call) from error
        return protocol.answer_of(answer.status_code, answer.headers, answer.content)

    def _stream(self, graph_id: str, position: Position, deltas: bool) -> Iterator[Document]:
        call = protocol.of_run(graph_id, "/events", after=position.cursor, deltas=int(deltas))
        headers = {"Accept": "text/event-stream"}
        blocks = Blocks()
        limits = protocol.limits(self._limit_s)
        parameters, extensions = dict(call.query), {"timeout": limits}
        with self._http.stream("GET", call.path, params=parameters, headers=headers, extensions=extensions) as answer:
            limits["read"] = READ_S  # from here on: it has answered
            if answer.status_code != 200:
                protocol.refuse(answer.status_code, answer.headers, answer.read())
            position.joined = True
            for line in answer.iter_lines():
                for cursor, name, data in blocks.line(line):
                    event = position.take(cursor, name, data)
                    if event is not None:
                        yield event

    def _has_ended(self, graph_id: str, position: Position) -> bool:
        """Tell whether there is nothing more to come: the reader may have begun behind the last event."""
        status = self.get_status(graph_id)
        seq = int(position.cursor.partition("-")[0] or 0)
        return status["completed_at"] is not None and status["seq"] <= seq

    def _unreachable(self, error: Exception, limit_s: float, call: Call | None = None) -> DagoUnavailable:
        return protocol.unreachable(self._http.base_url, error, limit_s, call)
