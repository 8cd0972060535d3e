"""Failures as events tell them: of an item that could not be read, no state says that it has failed."""

from __future__ import annotations

from typing import Any

from executor_worker.broker.connection.link import Link
from executor_worker.broker.names import FAILED_STREAM
from executor_worker.json_text import loads

PAGE = 500


class FailureEvents:
    """
    Events of `node.failed`, looked through for a failure of one graph; each look goes on where the last one ended.

    Args:
        since_ms: Earlier events are passed over, by Redis' clock.
    """

    def __init__(self, link: Link, graph_id: str, since_ms: int = 0) -> None:
        self._link = link
        self._graph_id = graph_id
        self._place: bytes = b"%d-0" % max(since_ms, 0)
        self._found: dict[str, Any] | None = None

    def look(self) -> dict[str, Any] | None:
        """
        Find a failure of a node of the graph: its `error`, `error_code` and so on; once found it is known.

        Raises:
            StreamUnavailable: No reply.
        """
        if self._found is None:
            self._found = self._look_on()
        return self._found

    def _look_on(self) -> dict[str, Any] | None:
        while reply := self._link.call("XREAD", "COUNT", PAGE, "STREAMS", FAILED_STREAM, self._place):
            entries = reply[0][1]
            for entry, words in entries:
                self._place = entry
                data = _data_of(dict(zip(words[::2], words[1::2], strict=True)).get(b"data"))
                if data.get("graph_id") == self._graph_id:
                    return data
            if len(entries) < PAGE:
                return None
        return None


def _data_of(text: bytes | None) -> dict[str, Any]:
    """Read what an event tells; nothing of one that another program wrote otherwise."""
    try:
        event = loads(text or b"null")
    except ValueError:
        return {}
    data = event.get("data") if isinstance(event, dict) else None
    return data if isinstance(data, dict) else {}
