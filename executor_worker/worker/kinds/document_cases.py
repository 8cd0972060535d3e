"""Cases that only some items of graphs that others schedule are: a policy of retries, a router, no config."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from executor_worker.broker import Claim
from executor_worker.broker.names import FOREIGN_STATE_PREFIX
from executor_worker.envelopes.work_item import Item
from executor_worker.errors import InvalidNode, StateMissing
from executor_worker.graph.fields import RETRY
from executor_worker.graph.problems import Problems
from executor_worker.graph.reading import retry_of
from executor_worker.graph.state import GraphState
from executor_worker.outcome import Failed
from executor_worker.worker.stages import Conclusion

if TYPE_CHECKING:
    from executor_worker.worker.kinds.document import DocumentWork

Read = Callable[[], bytes | None]


def read_foreign(work: DocumentWork, insist: Callable[[Read], bytes | None]) -> None:
    """Read the document of a router's graph where the original's routers looked for it."""
    key = FOREIGN_STATE_PREFIX + work.graph_id
    state = insist(lambda: work.claim.state(key))
    if state is not None:
        work.watched, work.state = key, state


def settled_before(claim: Claim, item: Item, state: GraphState) -> bool:
    """Tell whether the node has this very item's result, even if it came late and another worker had settled it."""
    if item.work_id and state.finished_work_id(item.node_id) == item.work_id:
        return True
    return claim.delivery.row_lost and (state.metadata(item.node_id) or {}).get("entry") == claim.held.entry


def no_config(work: DocumentWork, state: GraphState | None) -> NoReturn:
    """
    Raises:
        StateMissing, InvalidNode: Neither the item nor its graph has a config.
    """
    if state is None:
        advice = 'add "config" to the item, or store the state first'
        raise StateMissing(f"the item brings no config and there is no state {work.watched} to find it in: {advice}")
    raise InvalidNode(f"the item brings no config and the graph has no node {work.node_id!r} with one")


def unfinished(state: GraphState) -> dict[str, str]:
    """Status by id of the nodes that have no output."""
    waiting = {node: entry for node, entry in state.nodes.items() if node not in state.outputs}
    statuses = {node: entry.get("status") for node, entry in waiting.items() if isinstance(entry, dict)}
    return {node: status if isinstance(status, str) else "" for node, status in statuses.items()}


def read_retry(work: DocumentWork) -> str:
    """Read the node's own policy; answers what is wrong with it."""
    given = (work.config or {}).get("retry")
    if given is None:
        return ""
    problems = Problems()
    RETRY.check(given, (None, "retry"), problems)
    wrong = next(iter(problems), None)
    if wrong is not None:
        return f"{wrong.pointer.lstrip('/').replace('/', '.')} {wrong.message}"
    work.retry = retry_of(given)
    return ""


def repeats_in_s(work: DocumentWork, conclusion: Conclusion) -> float | None:
    """Answer in how many seconds the node's policy, or its tool's, has it run again; None: it is over."""
    outcome = conclusion.outcome
    if not isinstance(outcome, Failed) or conclusion.dead_reason is not None:
        return None
    retry = work.retry or (retry_of(outcome.retry) if outcome.retry else None)
    if retry is None or not retry.repeats(outcome.code, work.repeats + 1):
        return None
    wait_s = retry.wait_s(work.repeats + 1, random.random())
    late = work.deadline is not None and time.time() + wait_s >= work.deadline
    return None if late else wait_s
