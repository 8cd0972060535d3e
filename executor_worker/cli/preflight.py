"""Preflight of `submit`: looks up missing states before it sends, and after it whether a pool takes the items."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence

from executor_worker.broker.connection.link import Link
from executor_worker.broker.fleet.registry import read_registry, registry_keys
from executor_worker.broker.names import STATE_PREFIX
from executor_worker.broker.queue.queues import queue_of
from executor_worker.broker.queue.submit import states_of
from executor_worker.cli.exits import FAILED, Quit
from executor_worker.cli.parser import PROGRAM
from executor_worker.cli.status.pools import PoolEntry, pools_of
from executor_worker.envelopes.queue_name import DEFAULT
from executor_worker.envelopes.work_item import Item
from executor_worker.errors import StateInvalid, StreamError
from executor_worker.graph.state import GraphState

NOTHING = "Nothing was submitted."
SHOWN_PROBLEMS = 20
SHOWN_POOLS = 5
_IDLE_CONDITIONS = ("paused", "draining", "unhealthy")


def refuse_what_cannot_run(link: Link, items: Sequence[Item | None], state: tuple[str, bytes] | None) -> None:
    """
    See what a worker would fail with `state_missing`, or for want of a config, before it is sent.

    Args:
        items: None for one that needs no state: its number stays.
        state: The state that is stored first, with its graph's id.

    Raises:
        Quit: There is such an item.
    """
    needed = [one for one in items if one and (one.config is None or one.given_inputs is None)]
    graphs = dict.fromkeys(one.graph_id for one in needed)
    read = {one.graph_id for one in needed if one.config is None}
    known = states_of(link, [name for name in graphs if name in read], read=True)
    known |= states_of(link, [name for name in graphs if name not in read], read=False)
    known |= dict([state] if state else [])
    problems = [
        f"item {number}: {problem}." for number, one in enumerate(items, 1) if one and (problem := _problem(one, known))
    ]
    if problems:
        more = [f"And {len(problems) - SHOWN_PROBLEMS} more."] if len(problems) > SHOWN_PROBLEMS else []
        raise Quit(FAILED, *problems[:SHOWN_PROBLEMS], *more, NOTHING)


def _problem(item: Item, known: Mapping[str, bytes]) -> str:
    lacks = [name for name, there in (("inputs", item.given_inputs), ("config", item.config)) if there is None]
    if not lacks:
        return ""
    if item.graph_id not in known:
        adding = " and ".join(f'"{name}"' for name in lacks) + (" ({} will do)" if lacks == ["inputs"] else "")
        return (
            f"there is no state {STATE_PREFIX}{item.graph_id} and the item brings no {' and no '.join(lacks)}"
            f" (state_missing): add {adding} to the item, or store the state by --state FILE"
        )
    if item.config is None:
        return _without_config(item, known[item.graph_id])
    return ""


def _without_config(item: Item, raw: bytes) -> str:
    try:
        found = GraphState.parse(raw).config_of(item.node_id)
    except StateInvalid as error:
        return f"{error} (state_invalid): correct it, or overwrite it by --state FILE --replace"
    if found is not None:
        return ""
    return (
        f"it brings no config, and the graph in the state of {item.graph_id!r} has no node {item.node_id!r} with one:"
        ' add "config" to the item, or to graph.nodes in the state'
    )


def tell_of_missing_pool(link: Link, streams: Iterable[str]) -> None:
    """Say on stderr of each queue among *streams* that no pool takes from it, if it is so; its items wait."""
    try:
        pools = pools_of(read_registry(link, registry_keys(link)))
    except StreamError:
        return  # without the right to look nothing is said
    for queue in dict.fromkeys(map(queue_of, streams)):
        problem = _no_pool_for(queue, pools)
        if problem:
            print(f"{PROGRAM}: {problem}.", file=sys.stderr)
        if not pools:
            return


def _no_pool_for(queue: str, pools: Sequence[PoolEntry]) -> str:
    """Say why no pool takes from *queue* now; empty if one does."""
    if not pools:
        return "no pool takes from this Redis: items wait until one does; `executor-worker run` starts one"
    serving = [pool for pool in pools if pool.queues is None or queue in pool.queues]
    if not serving:
        others = ", ".join(f"{pool.worker_id} serves {' and '.join(pool.queues or [])}" for pool in pools[:SHOWN_POOLS])
        return (
            f"no pool on this Redis takes from the queue {queue} ({others}): items wait until one does;"
            f" `QUEUES={queue} executor-worker run` starts one"
        )
    if any(pool.condition not in _IDLE_CONDITIONS for pool in serving):
        return ""
    told = ", ".join(f"{pool.worker_id} is {pool.condition}" for pool in serving[:SHOWN_POOLS])
    whence = "this Redis" if queue == DEFAULT else f"the queue {queue}"
    return f"no pool takes from {whence} now ({told}): items wait"
