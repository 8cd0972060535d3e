"""A run as one document: its state and its result, put together of its keys."""

from __future__ import annotations

from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs.document_pieces import document_pieces, gathered, result_pieces
from executor_worker.broker.graphs.errors import RunUnknown
from executor_worker.broker.graphs.heads import head
from executor_worker.broker.graphs.requests import Steps
from executor_worker.broker.names import STATE_PREFIX


def document(graph_id: str, *, full: bool = False) -> Steps[bytes | None]:
    """Write a run's state document as it is now; None if there is no such run."""
    try:
        return (yield from gathered(document_pieces(graph_id, full=full))) + b"}"
    except RunUnknown:
        return None


def result(graph_id: str, *, full: bool = False) -> Steps[bytes]:
    """
    Write the result of an ended run.

    Raises:
        RunUnknown, RunNotEnded: There is none.
    """
    return (yield from gathered(result_pieces(graph_id, full=full)))


def write_document(graph_id: str, ttl_s: int) -> Steps[None]:
    """Store an ended run's document where programs of others read it; another epoch's is not touched."""
    about = yield from head(graph_id)
    written = yield from document(graph_id)
    now = yield from head(graph_id)
    if about is not None and now is not None and written is not None and now.ended and now.epoch == about.epoch:
        checked((yield [(b"SET", STATE_PREFIX + graph_id, written, b"EX", ttl_s)]))
