"""
Pasts of nodes: which others each has in its past, what can run beside what, and where edges form circles.

A set of nodes is one integer with a bit for each: ten thousand nodes with fifty thousand edges take some
milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Past:
    """
    The order of a graph's nodes.

    Attributes:
        levels: Ids in the document's order; the nodes of one level can run together, after those of the levels before.
            Nodes in a circle, and behind one, are in none.
        circles: A path of ids for each circle; the last id leads back to the first.
    """

    levels: tuple[tuple[str, ...], ...]
    circles: tuple[tuple[str, ...], ...]
    _at: dict[str, int] = field(repr=False)
    _ids: tuple[str, ...] = field(repr=False)
    _before: list[int | None] = field(repr=False)

    @classmethod
    def of(cls, ids: Iterable[str], edges: Iterable[tuple[str, str]]) -> Past:
        """
        Args:
            ids: Of the nodes.
            edges: Source and target; those that name no node are left out.
        """
        names = tuple(ids)
        at = {name: index for index, name in enumerate(names)}
        sources: list[list[int]] = [[] for _ in names]
        targets: list[list[int]] = [[] for _ in names]
        for source, target in edges:
            if source in at and target in at:
                sources[at[target]].append(at[source])
                targets[at[source]].append(at[target])
        levels, before = _levels(sources, targets)
        circles = tuple(tuple(names[index] for index in circle) for circle in _circles(sources, targets, before))
        return cls(tuple(tuple(names[index] for index in level) for level in levels), circles, at, names, before)

    def sees(self, node: str, other: str) -> bool:
        """Tell whether a path leads from *other* to *node*; True if *node* is in or behind a circle."""
        before, position = self._before[self._at[node]], self._at.get(other)
        return position is not None and (before is None or bool(before >> position & 1))

    def knows(self, node: str) -> bool:
        """Tell whether the past of *node* can be told: it is not in or behind a circle."""
        return self._before[self._at[node]] is not None

    def of_node(self, node: str) -> tuple[str, ...]:
        """Answer the ids of all nodes from which a path leads to *node*, in the document's order."""
        return tuple(self._ids[index] for index in _bits(self._before[self._at[node]] or 0))


def reachable(start: str, edges: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Answer *start* and all ids to which a path leads from it."""
    targets: dict[str, list[str]] = {}
    for source, target in edges:
        targets.setdefault(source, []).append(target)
    seen, left = {start}, [start]
    while left:
        for target in targets.get(left.pop(), ()):
            if target not in seen:
                seen.add(target)
                left.append(target)
    return frozenset(seen)


def _levels(sources: Sequence[list[int]], targets: Sequence[list[int]]) -> tuple[list[list[int]], list[int | None]]:
    """Peel off what has no source left, level by level; answer also everything before each node as bits."""
    missing = [len(each) for each in sources]
    before: list[int | None] = [None] * len(sources)
    level = [index for index, count in enumerate(missing) if not count]
    levels = []
    while level:
        levels.append(level)
        following = []
        for index in level:
            before[index] = _before(sources[index], before)
            for target in targets[index]:
                missing[target] -= 1
                if not missing[target]:
                    following.append(target)
        level = sorted(following)
    return levels, before


def _before(sources: Iterable[int], before: Sequence[int | None]) -> int:
    bits = 0
    for source in sources:
        bits |= (before[source] or 0) | (1 << source)
    return bits


def _circles(
    sources: Sequence[list[int]], targets: Sequence[list[int]], before: Sequence[int | None]
) -> Iterator[list[int]]:
    """Yield a circle for each knot of nodes that reach one another."""
    left = {index for index, bits in enumerate(before) if bits is None}
    for knot in _knots(targets, left):
        if len(knot) > 1 or knot[0] in sources[knot[0]]:
            yield _walked(min(knot), sources, set(knot))


def _knots(targets: Sequence[list[int]], left: set[int]) -> Iterator[list[int]]:
    """Yield the strongly connected components of *left*: Tarjan's algorithm, without recursion."""
    number: dict[int, int] = {}
    lowest: dict[int, int] = {}
    stack: list[int] = []
    open_nodes: set[int] = set()
    for start in sorted(left):
        if start in number:
            continue
        walk = [(start, iter(targets[start]))]
        number[start] = lowest[start] = len(number)
        stack.append(start)
        open_nodes.add(start)
        while walk:
            node, ways = walk[-1]
            target = next((way for way in ways if way in left and (way not in number or way in open_nodes)), None)
            if target is None:
                walk.pop()
                if walk:
                    lowest[walk[-1][0]] = min(lowest[walk[-1][0]], lowest[node])
                if lowest[node] == number[node]:
                    knot = _cut_off(stack, node)
                    open_nodes.difference_update(knot)
                    yield knot
            elif target in number:
                lowest[node] = min(lowest[node], number[target])
            else:
                number[target] = lowest[target] = len(number)
                stack.append(target)
                open_nodes.add(target)
                walk.append((target, iter(targets[target])))


def _cut_off(stack: list[int], node: int) -> list[int]:
    knot = [stack.pop()]
    while knot[-1] != node:
        knot.append(stack.pop())
    return knot


def _walked(start: int, sources: Sequence[list[int]], knot: set[int]) -> list[int]:
    """Walk backwards from *start* inside *knot*, where every node has a source, until a node comes again."""
    path: list[int] = []
    seen: dict[int, int] = {}
    node = start
    while node not in seen:
        seen[node] = len(path)
        path.append(node)
        node = next(source for source in sources[node] if source in knot)
    circle = path[seen[node] :][::-1]
    first = circle.index(min(circle))
    return circle[first:] + circle[:first]


def _bits(bits: int) -> Iterator[int]:
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low
