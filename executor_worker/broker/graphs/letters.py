"""Dead letters of a run, which go with it."""

from __future__ import annotations

from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs.requests import Request, Steps
from executor_worker.broker.names import QUEUE_PREFIX, QUEUES, WORK_STREAMS, dead_stream

PAGE = 500


def forget_letters(graph_id: str) -> Steps[int]:
    """Delete the dead letters of a run's items; answers how many there were."""
    (queues,) = checked((yield [(b"SMEMBERS", QUEUES)]))
    streams = [*WORK_STREAMS, *(QUEUE_PREFIX + queue.decode() for queue in sorted(queues))]
    # Its id says when it was made: none of its letters is older.
    first = int(graph_id.replace("-", "")[:12], 16)
    mark = b'"graph_id":"%b"' % graph_id.encode()
    count = 0
    for stream in map(dead_stream, streams):
        start = str(first)
        while True:
            (page,) = checked((yield [(b"XRANGE", stream, start, b"+", b"COUNT", PAGE)]))
            own = [entry for entry, fields in page if any(mark in value for value in fields[1::2])]
            if own:
                requests: list[Request] = [(b"XDEL", stream, *own)]
                checked((yield requests))
                count += len(own)
            if len(page) < PAGE:
                break
            start = "(" + page[-1][0].decode()
    return count
