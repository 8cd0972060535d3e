"""
The transitions of a run, pure: what `broker/lua/lib/runs/advance.lua` does in Redis, here over Python's values.

The engine is the script: this is its model, run by tests and a benchmark alone, so a breakpoint here is never reached
in a pool. Both must agree on every step (a test compares them for graphs, ends and orders made up by chance), so this
is where to read what follows when a node ends: edges are decided, joins counted, skips cascade, nodes without work
are done at once, what is ready is queued as far as the run's window is open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from executor_worker.graph.plan import Place

ENDED = frozenset({"completed", "failed", "skipped", "cancelled"})


@dataclass(slots=True)
class NodeState:
    """
    A node that is no longer pending.

    Attributes:
        ready, ended: Number of the last event of the log when it became ready, and of the event of its end.
        took: See `graph/judging.py`.
    """

    status: str
    attempt: int = 1
    ready: int = 0
    ended: int = 0
    took: str = "-"


@dataclass(slots=True)
class Join:
    """A node's join: how many edges to it are undecided, and how many were taken."""

    open: int
    taken: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """
    The end of a node that needs no worker.

    Attributes:
        assumed: Nodes of its past that had not ended when it was decided.
    """

    status: str
    took: str
    assumed: tuple[str, ...] = ()


Judge = Callable[["Run", str], Answer | None]
"""Decides a node that has become ready; None if it can't yet."""


class Undecided(Exception):
    """A node is not decided, or was decided without one that had ended by then: nothing may be kept of the attempt."""

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self.node = node


@dataclass(slots=True)
class Run:
    """
    A run that has not ended, or has.

    Attributes:
        places: Of all nodes, in the graph's order.
        window: How many nodes may be queued or held at once.
        log: Type and node of each event; its length is the number of the last one.
    """

    places: Mapping[str, Place]
    window: int = 500
    failure: str = "fail_fast"
    status: str = "submitted"
    stopping: str = ""
    error: str = ""
    nodes: dict[str, NodeState] = field(default_factory=dict)
    joins: dict[str, Join] = field(default_factory=dict)
    ready: list[str] = field(default_factory=list)
    log: list[tuple[str, str]] = field(default_factory=list)
    slots: int = 0
    _work: list[str] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Count the nodes that have not ended."""
        return len(self.places) - sum(node.status in ENDED for node in self.nodes.values())

    def submit(self, roots: Iterable[str], judge: Judge) -> None:
        """Begin: nodes without incoming edges are ready."""
        self._tell("graph.submitted")
        for node in roots:
            self._make_ready(node)
        self._settle_down(judge)

    def start(self, node: str) -> bool:
        """Start a queued node; tell whether it may run."""
        state = self.nodes.get(node)
        if self.stopping or state is None or state.status not in ("queued", "running"):
            return False
        self._begin()
        state.status = "running"
        self._tell("node.started", node)
        return True

    def end(self, node: str, status: str, took: str, judge: Judge) -> bool:
        """End a running node, and do all that follows; tell whether it counted."""
        state = self.nodes.get(node)
        if state is None or state.status != "running":
            return False
        self._finish(node, status, took)
        if not self.stopping:
            self._follow(node)
        self._settle_down(judge)
        return True

    def cancel(self, judge: Judge) -> bool:
        """Stop: nothing starts any more; tell whether it ran."""
        if self.stopping or self.status in ENDED:
            return False
        self._stop("cancelled")
        self._settle_down(judge)
        return True

    # -- inside ---------------------------------------------------------------------------------------

    def _tell(self, kind: str, node: str = "") -> None:
        self.log.append((kind, node))

    def _begin(self) -> None:
        if self.status == "submitted":
            self.status = "running"
            self._tell("graph.started")

    def _make_ready(self, node: str) -> None:
        self.nodes[node] = NodeState("ready", ready=len(self.log))
        self.joins.pop(node, None)
        (self.ready if self.places[node].inline == "w" else self._work).append(node)

    def _finish(self, node: str, status: str, took: str) -> None:
        state = self.nodes.setdefault(node, NodeState("", attempt=0, ready=len(self.log)))
        if state.status in ("queued", "running", "waiting"):
            self.slots -= 1
        self._tell(f"node.{status}", node)
        state.status, state.took, state.ended = status, took, len(self.log)
        self.joins.pop(node, None)

    def _follow(self, node: str) -> None:
        state = self.nodes[node]
        if state.status == "failed" and not self.places[node].handled:
            self.error = self.error or node
            if self.failure != "finish":
                self._stop("failed")
                return
            state.took = "x"
        for at, (target, need, edges) in enumerate(self.places[node].out):
            self._decide(target, need, edges, _verdict(state.took, at))

    def _decide(self, node: str, need: int, edges: int, verdict: str) -> None:
        """One edge to *node* is decided: taken, not taken or dead."""
        if node in self.nodes:
            return
        join = self.joins.setdefault(node, Join(edges))
        join.open -= 1
        join.taken += verdict == "1"
        if need:
            if join.taken >= need:
                self._make_ready(node)
            elif join.taken + join.open < need:
                self._skip(node)
        elif verdict == "x":
            self._skip(node)
        elif not join.open:
            if join.taken:
                self._make_ready(node)
            else:
                self._skip(node)

    def _skip(self, node: str) -> None:
        self._finish(node, "skipped", "-")
        self._work.append(node)

    def _settle_down(self, judge: Judge) -> None:
        while self._work and not self.stopping:
            node = self._work.pop()
            if self.nodes[node].status == "ready":
                self._do_inline(node, judge)
            self._follow(node)
        self._work.clear()
        if self.stopping:
            self._cancel_rest()
        self._pump()
        self._end_if_over()

    def _do_inline(self, node: str, judge: Judge) -> None:
        self._begin()
        if self.places[node].inline in "as":
            self._finish(node, "completed", "*")
        else:
            answer = judge(self, node)
            if answer is None or self._outdated(node, answer):
                raise Undecided(node)
            self._finish(node, answer.status, answer.took)

    def _outdated(self, node: str, answer: Answer) -> bool:
        return any(self.sees(node, other) for other in answer.assumed)

    def sees(self, node: str, other: str) -> bool:
        """Tell whether *other* had ended before *node* became ready."""
        state = self.nodes.get(other)
        return state is not None and state.status in ENDED and state.ended <= self.nodes[node].ready

    def _pump(self) -> None:
        """Queue what is ready, the oldest first, as far as the window is open."""
        while self.ready and self.slots < self.window and not self.stopping:
            node = self.ready.pop(0)
            self.nodes[node].status = "queued"
            self.slots += 1
            self._tell("node.queued", node)

    def _stop(self, why: str) -> None:
        self.stopping = why
        if why == "cancelled":
            self.status = "cancelled"
        self.ready.clear()

    def _cancel_rest(self) -> None:
        for node in self.places:
            state = self.nodes.get(node)
            if state is None or state.status in ("ready", "queued", "waiting"):
                self._finish(node, "cancelled", "-")

    def _end_if_over(self) -> None:
        if self.left or (self.status in ENDED and not self.stopping):
            return
        self._begin()
        self.status = "cancelled" if self.stopping == "cancelled" else "failed" if self.error else "completed"
        self.stopping = ""
        self._tell(f"graph.{self.status}")


def _verdict(took: str, at: int) -> str:
    return {"*": "1", "-": "0", "x": "x"}.get(took) or took[at]
