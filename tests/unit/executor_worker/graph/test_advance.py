"""Edges and joins are as the final states say, in whatever order nodes end, however old what was decided is."""

from __future__ import annotations

import copy
import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from executor_worker.graph.advance import ENDED, Answer, Run, Undecided
from executor_worker.graph.plan import Place
from tests.kit.effort import tries

GRAPHS = int(os.environ.get("KERNEL_GRAPHS", tries(2000)))


@dataclass
class Made:
    """A graph made up: joins all, any and 2, chains of nodes without work, and a past for each node."""

    seed: float
    count: int
    out: list[list[int]] = field(default_factory=list)
    into: list[list[int]] = field(default_factory=list)
    need: list[int] = field(default_factory=list)
    inline: list[bool] = field(default_factory=list)
    past: list[set[int]] = field(default_factory=list)

    @classmethod
    def by(cls, chance: random.Random) -> Made:
        count = chance.randint(3, 11)
        made = cls(chance.random(), count, [[] for _ in range(count)], [[] for _ in range(count)])
        for node in range(1, count):
            for source in chance.sample(range(node), min(node, chance.choice([0, 1, 1, 2, 2, 3, 4]))):
                made.out[source].append(node)
                made.into[node].append(source)
        for node in range(count):
            need = chance.choice([0, 0, 1, 2])
            made.need.append(0 if need == 2 and len(made.into[node]) < 2 else need)
            made.inline.append(chance.random() < 0.45 and bool(made.into[node]))
            made.past.append(set().union(*(made.past[source] | {source} for source in made.into[node])))
        return made

    def places(self) -> dict[str, Place]:
        return {
            str(node): Place(
                inline="i" if self.inline[node] else "w",
                need=self.need[node],
                edges=len(self.into[node]),
                type="tool",
                queue="",
                handled=True,
                inputs=False,
                reads=(),
                out=tuple((str(target), self.need[target], len(self.into[target])) for target in self.out[node]),
            )
            for node in range(self.count)
        }

    def roots(self) -> list[str]:
        return [str(node) for node in range(self.count) if not self.into[node]]

    def took(self, run: Run, node: str, status: str) -> str:
        """Which edges are taken: by chance, but always the same for the same past."""
        if status == "failed":
            return "-"
        seen = tuple(sorted((one, run.nodes[str(one)].status) for one in self._seen(run, node)))
        return "".join(str(int(_number(self.seed, node, target, seen) % 4 != 0)) for target in self.out[int(node)])

    def answer(self, run: Run, node: str) -> Answer:
        unseen = tuple(str(one) for one in sorted(self.past[int(node)] - set(self._seen(run, node))))
        return Answer("completed", self.took(run, node, "completed"), unseen)

    def outcome(self, node: str) -> str:
        return "failed" if _number(self.seed, "outcome", node) % 6 == 0 else "completed"

    def _seen(self, run: Run, node: str) -> Iterator[int]:
        return (one for one in self.past[int(node)] if run.sees(node, str(one)))


def _number(*parts: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=4).digest(), "big")


@pytest.mark.parametrize("seed", [1])
def test_final_states_alone_decide_edges_and_joins(seed: int) -> None:
    """Settles on old snapshots in any order; those that were decided too early are decided again, at most thrice."""
    chance = random.Random(seed)
    repeated = [_play(Made.by(chance), chance) for _ in range(GRAPHS)]
    assert max(repeated) >= 1, "no decision was ever outdated: nothing is tried here"


def _play(made: Made, chance: random.Random) -> int:
    run = Run(made.places(), window=chance.choice([1, 2, 500]))
    run.submit(made.roots(), made.answer)
    decided: dict[str, dict[str, Answer]] = {}
    tries: dict[str, int] = {}
    while running := [node for node, state in run.nodes.items() if state.status in ("queued", "running")]:
        node = chance.choice(running)
        if run.nodes[node].status == "queued":
            assert run.start(node)
        if node not in decided:
            decided[node] = _decide(made, run, node)
            if chance.random() < 0.6:
                continue  # others may end first: what was decided grows old
        given, later = decided[node], copy.deepcopy(run)
        try:
            status = made.outcome(node)
            later.end(node, status, made.took(later, node, status), lambda _, name: given.get(name))  # noqa: B023
            run = later
        except Undecided:
            tries[node] = tries.get(node, 0) + 1
            decided[node] = _decide(made, run, node)
    _check(made, run)
    return max(tries.values(), default=0)


def _decide(made: Made, run: Run, node: str) -> dict[str, Answer]:
    """Decide on a snapshot all that would follow from the end of *node*."""
    given: dict[str, Answer] = {}
    then = copy.deepcopy(run)

    def remembered(now: Run, name: str) -> Answer:
        given[name] = made.answer(now, name)
        return given[name]

    then.end(node, made.outcome(node), made.took(then, node, made.outcome(node)), remembered)
    return given


def _check(made: Made, run: Run) -> None:
    assert run.status == "completed", run
    assert not run.left and not run.joins and not run.ready and not run.slots
    taken = {}
    for node, state in run.nodes.items():
        assert state.status in ENDED
        took = "-" if state.status == "skipped" else made.took(run, node, state.status)
        for at, target in enumerate(made.out[int(node)]):
            taken[node, target] = took != "-" and took[at] == "1"
            assert (state.took != "-" and state.took[at] == "1") == taken[node, target], (node, target)
    for target in range(made.count):
        count = sum(taken[str(source), target] for source in made.into[target])
        if made.into[target]:
            assert (run.nodes[str(target)].status != "skipped") == (count >= max(made.need[target], 1)), target
