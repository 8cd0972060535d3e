"""
A graph as text: a line for each node, beside it a lane for each node that is still waited for.

    ● question  start
    ├─╮
    ● │ search  tool
    │ ● prices  tool · 3 attempts
    ├─╯
    ● answer  llm
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from executor_worker.graph.definition import Graph
from executor_worker.graph.drawing.words import drawing_order, edge_note, node_notes
from executor_worker.graph.parts import Edge
from executor_worker.graph.past import Past

MOST_LANES = 16
"""Beside one another; wider graphs are listed by what can run together."""

_LISTED = 12
_NODE, _ROUTER = "●", "◆"
_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8
_LINES = {
    _UP | _DOWN: "│",
    _LEFT | _RIGHT: "─",
    _DOWN | _RIGHT: "╭",
    _DOWN | _LEFT: "╮",
    _UP | _RIGHT: "╰",
    _UP | _LEFT: "╯",
    _UP | _DOWN | _RIGHT: "├",
    _UP | _DOWN | _LEFT: "┤",
    _LEFT | _RIGHT | _DOWN: "┬",
    _LEFT | _RIGHT | _UP: "┴",
    _UP | _DOWN | _LEFT | _RIGHT: "┼",
    _UP: "╵",
    _DOWN: "╷",
    0: " ",
}
_ASCII = str.maketrans("●◆│─╭╮╰╯├┤┬┴┼╵╷·→…", "o*|-+++++++++||,>.")


def draw(graph: Graph, width: int = 80, *, ascii_only: bool = False) -> str:
    """Draw *graph* in lines of at most *width* characters."""
    lines = _few(_Lanes(graph).lines()) or list(_listed(graph))
    drawn = "\n".join(_cut(f"{beside} {text}".rstrip(), width) for beside, text in lines)
    return drawn.translate(_ASCII) if ascii_only else drawn


def _few(lines: Iterator[tuple[str, str]]) -> list[tuple[str, str]]:
    """Take all lines, none if one of them has too many lanes."""
    drawn = []
    for beside, text in lines:
        if len(beside) > 2 * MOST_LANES:
            return []
        drawn.append((beside, text))
    return drawn


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: max(width - 1, 1)] + "…"


def _said(graph: Graph, node: str, incoming: list[Edge]) -> str:
    """Write what stands beside a node: its id, type, and what is special about it and the way to it."""
    placed = graph.nodes[node]
    ways = [f"{note} ({edge.source})" for edge in incoming if (note := edge_note(edge))]
    return " · ".join([f"{node}  {placed.type}", *node_notes(placed), *ways])


def _by_target(graph: Graph) -> dict[str, list[Edge]]:
    incoming: dict[str, list[Edge]] = {}
    for edge in graph.edges:
        incoming.setdefault(edge.target, []).append(edge)
    return incoming


@dataclass(slots=True)
class _Lanes:
    """Goes from node to node; a lane holds the node that it leads to, None if it is free."""

    graph: Graph
    lanes: list[str | None] = field(default_factory=list)

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield what stands at the left and at the right of each line."""
        incoming, targets = _by_target(self.graph), self._targets()
        drawn: set[str] = set()
        for node in drawing_order(self.graph):
            drawn.add(node)
            lane = self.lanes.index(node) if node in self.lanes else self._free()
            self.lanes[lane] = node
            sign = _ROUTER if self.graph.nodes[node].type == "router" else _NODE
            beside = [sign if at == lane else " " if one is None else "│" for at, one in enumerate(self.lanes)]
            yield " ".join(beside).rstrip(), _said(self.graph, node, incoming.get(node, []))
            following = [target for target in targets.get(node, ()) if target not in drawn]
            line = self._lead_on(lane, following)
            if line:
                yield line, ""

    def _targets(self) -> dict[str, list[str]]:
        targets: dict[str, list[str]] = {}
        for edge in self.graph.edges:
            if edge.target in self.graph.nodes and edge.target not in targets.setdefault(edge.source, []):
                targets[edge.source].append(edge.target)
        return targets

    def _free(self) -> int:
        """Find a lane that leads nowhere, or make one."""
        if None in self.lanes:
            return self.lanes.index(None)
        self.lanes.append(None)
        return len(self.lanes) - 1

    def _lead_on(self, lane: int, targets: list[str]) -> str:
        """Lead the node's lane to its targets; answer the line that joins them, "" if it only goes on."""
        above = [one is not None for one in self.lanes]
        old = [self.lanes.index(target) for target in targets if target in self.lanes]
        new = [target for target in targets if target not in self.lanes]
        self.lanes[lane] = new[0] if new else None
        ends = set(old)
        for target in new[1:]:
            free = self._free()
            self.lanes[free] = target
            ends.add(free)
        if not ends:
            self._forget()
            return ""
        line = _joined(lane, ends, above, [one is not None for one in self.lanes])
        self._forget()
        return line

    def _forget(self) -> None:
        while self.lanes and self.lanes[-1] is None:
            self.lanes.pop()


def _joined(lane: int, ends: set[int], above: list[bool], below: list[bool]) -> str:
    """Draw one line from *lane* to all *ends*; lanes between that have nothing to do with it are crossed."""
    first, last = min({lane, *ends}), max({lane, *ends})
    line = []
    for at in range(len(below)):
        lines = (_UP if at < len(above) and above[at] else 0) | (_DOWN if below[at] else 0)
        if at == lane or at in ends:
            lines |= (_LEFT if at > first else 0) | (_RIGHT if at < last else 0)
        elif first < at < last and not lines:
            lines = _LEFT | _RIGHT
        line.append(_LINES.get(lines, "─"))
        line.append("─" if first <= at < last else " ")
    return "".join(line).rstrip()


def _listed(graph: Graph) -> Iterator[tuple[str, str]]:
    """List what can run together, level by level."""
    past = Past.of(graph.nodes, [(edge.source, edge.target) for edge in graph.edges])
    incoming = _by_target(graph)
    for number, level in enumerate(past.levels, 1):
        yield f"{number}.", f"{len(level)} nodes" if len(level) > 1 else "1 node"
        for node in level[:_LISTED]:
            before = [edge.source for edge in incoming.get(node, [])]
            more = f" · after {', '.join(before[:3])}{', …' if len(before) > 3 else ''}" if before else ""
            yield f"   {_NODE}", f"{_said(graph, node, [])}{more}"
        if len(level) > _LISTED:
            yield "   …", f"{len(level) - _LISTED} more"
