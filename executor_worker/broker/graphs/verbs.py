"""What can be done to a run."""

from __future__ import annotations

from dataclasses import dataclass

from executor_worker.broker.graphs.errors import RunEnded, RunStopping, RunUnknown
from executor_worker.broker.graphs.requests import ScriptCall, Steps, checked
from executor_worker.broker.graphs.scripts import cancel_script
from executor_worker.broker.graphs.views import known_id
from executor_worker.broker.names import run_key


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Attributes: running, queued (nodes that were so when the run was cancelled)."""

    graph_id: str
    cancelled_at_ms: int
    running: int
    queued: int


def cancel(graph_id: str) -> Steps[Cancelled]:
    """
    Cancel a run: from now on nothing of it starts.

    Raises:
        RunUnknown, RunEnded, RunStopping: It can't be cancelled.
    """
    if not known_id(graph_id):
        raise RunUnknown(graph_id)
    (reply,) = checked((yield [ScriptCall(cancel_script(), [run_key(graph_id)], [])]))
    refuse(graph_id, reply)
    return Cancelled(graph_id, *reply[1:4])


def refuse(graph_id: str, reply: list[bytes]) -> None:
    """
    Raises:
        RunUnknown, RunEnded, RunStopping: A script has answered so.
    """
    match reply[0]:
        case b"unknown":
            raise RunUnknown(graph_id)
        case b"ended":
            raise RunEnded(graph_id, reply[1].decode())
        case b"stopping":
            raise RunStopping(graph_id, reply[1].decode())
