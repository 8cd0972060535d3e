"""Verbs of a run: what can be done to it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs.errors import (
    NothingToRetry,
    RunEnded,
    RunNotEnded,
    RunStopping,
    RunUnknown,
    StaleEpoch,
)
from executor_worker.broker.graphs.heads import Head, hash_of, ids_of, known_id, require
from executor_worker.broker.graphs.letters import forget_letters
from executor_worker.broker.graphs.records import NodeField
from executor_worker.broker.graphs.requests import Request, ScriptCall, Steps
from executor_worker.broker.graphs.scripts import cancel_script, delete_script, hold_script, retry_script
from executor_worker.broker.names import run_key
from executor_worker.errors import StreamUnavailable
from executor_worker.graph.ends import RunEnd, run_ends


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Attributes: running, queued (nodes that were so when the run was cancelled), ends (the run's, if it is over)."""

    graph_id: str
    cancelled_at_ms: int
    running: int
    queued: int
    ends: tuple[RunEnd, ...] = ()


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
    _, at_ms, running, queued, told = reply
    return Cancelled(graph_id, at_ms, running, queued, run_ends(told))


@dataclass(frozen=True, slots=True)
class Retried:
    """Attributes: kept (nodes that stay as they are), again (nodes that are decided anew)."""

    graph_id: str
    epoch: int
    kept: int
    again: int


PREPARED_S = 300
SLICE = 500


def retry(graph_id: str, epoch: int | None = None) -> Steps[Retried]:
    """
    Begin a failed or cancelled run again; what completed stays, and failures that were handled.

    Args:
        epoch: The one that the caller has seen end; None: whichever has.

    Raises:
        RunUnknown, RunNotEnded, NothingToRetry: It can't be retried.
        StaleEpoch: It was retried by another caller meanwhile.
    """
    about = yield from require(graph_id)
    if not about.ended:
        raise RunNotEnded(graph_id, "stopping" if about.stopping else about.status)
    base = run_key(graph_id)
    ids = yield from ids_of(graph_id)
    fields = yield from hash_of(f"{base}:nodes", ids)
    places = yield from hash_of(f"{base}:edges", ids)
    nodes = {name: NodeField.parse(raw) for name, raw in fields.items()}
    kept = [name for name in ids if _is_kept(nodes.get(name), places[name])]
    token = os.urandom(6).hex()
    yield from _prepare(base, token, ids, sorted(kept, key=lambda name: nodes[name].ended), fields, places)
    completed = sum(nodes[name].status == "completed" for name in kept)
    words: list[Word] = [epoch or about.epoch, token, len(ids) - len(kept), completed, len(kept) - completed]
    (reply,) = checked((yield [ScriptCall(retry_script(), [base], words)]))
    match reply[0]:
        case b"retried":
            return Retried(graph_id, reply[1], len(kept), len(ids) - len(kept))
        case b"completed":
            raise NothingToRetry(graph_id)
        case b"stale":
            raise StaleEpoch(graph_id)
        case b"running" | b"stopping":
            raise RunNotEnded(graph_id, reply[1].decode())
        case b"unknown":
            raise RunUnknown(graph_id)
    raise StreamUnavailable("what was prepared for the retry was lost; try again")


def _is_kept(node: NodeField | None, place: bytes) -> bool:
    """Completed nodes stay, and those whose failure is handled by an edge or by going on."""
    if node is None or node.status not in ("completed", "failed"):
        return False
    handled = place.split(b"\n", 1)[0].split(b"\t")[5] == b"1"
    return node.status == "completed" or handled


def _prepare(
    base: str,
    token: str,
    ids: Sequence[str],
    kept: Sequence[str],
    fields: Mapping[str, bytes],
    places: Mapping[str, bytes],
) -> Steps[None]:
    """Write what the run begins again with beside it: the nodes that stay, and what has to be decided first."""
    staying = set(kept)
    roots = [name for name in ids if name not in staying and places[name].split(b"\t", 3)[2] == b"0"]
    cursors = [f"root\t{name}\t1" for name in roots] + [f"edges\t{name}\t1" for name in kept]
    nodes, todo = f"{base}:nodes:{token}", f"{base}:todo:{token}"
    requests: list[Request] = []
    for at in range(0, len(kept), SLICE):
        words: list[Any] = [word for name in kept[at : at + SLICE] for word in (name, fields[name])]
        requests += [(b"HSET", nodes, *words), (b"EXPIRE", nodes, PREPARED_S)]
    for at in range(0, len(cursors), SLICE):
        requests += [(b"RPUSH", todo, *cursors[at : at + SLICE]), (b"EXPIRE", todo, PREPARED_S)]
    checked((yield requests))


def hold(graph_id: str) -> Steps[Head]:
    """
    Let nothing new of a run start.

    Raises:
        RunUnknown, RunEnded, RunStopping: It can't be held.
    """
    return (yield from _hold(graph_id, "1"))


def resume(graph_id: str) -> Steps[Head]:
    """
    Let a held run go on.

    Raises:
        RunUnknown, RunEnded, RunStopping: It can't go on.
    """
    return (yield from _hold(graph_id, ""))


def _hold(graph_id: str, word: str) -> Steps[Head]:
    if not known_id(graph_id):
        raise RunUnknown(graph_id)
    (reply,) = checked((yield [ScriptCall(hold_script(), [run_key(graph_id)], [word])]))
    refuse(graph_id, reply)
    return (yield from require(graph_id))


def delete(graph_id: str) -> Steps[None]:
    """
    Forget an ended run, with its events, journals and dead letters.

    Raises:
        RunUnknown, RunNotEnded: It can't be deleted.
    """
    about = yield from require(graph_id)
    if about.ended:
        yield from forget_letters(graph_id)  # first: where this breaks off the run can still be named
    (reply,) = checked((yield [ScriptCall(delete_script(), [run_key(graph_id)], [])]))
    if reply[0] in (b"running", b"stopping"):
        raise RunNotEnded(graph_id, reply[1].decode())
    refuse(graph_id, reply)


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
