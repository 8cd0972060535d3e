"""Who comes before whom, what can run together, and where edges go round."""

from __future__ import annotations

import random
from time import process_time

from hypothesis import given
from hypothesis import strategies as st

from executor_worker.graph.past import Past, reachable

WAYS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")), max_size=24)


def test_levels_are_what_can_run_together() -> None:
    past = Past.of("dcba", [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])
    assert past.levels == (("a",), ("c", "b"), ("d",))
    assert past.of_node("d") == ("c", "b", "a")
    assert past.sees("d", "a") and not past.sees("b", "c") and not past.sees("b", "b") and not past.sees("b", "?")


def test_a_circle_is_told_as_a_path_and_what_is_behind_it_has_no_level() -> None:
    past = Past.of("abcdef", [("a", "b"), ("b", "c"), ("c", "b"), ("c", "d"), ("e", "f")])
    assert past.circles == (("b", "c"),)
    assert past.levels == (("a", "e"), ("f",))
    assert past.knows("f") and not past.knows("d")


def test_each_knot_of_circles_is_told() -> None:
    past = Past.of("abcdx", [("a", "b"), ("b", "a"), ("b", "c"), ("c", "d"), ("d", "c"), ("x", "x")])
    assert sorted(past.circles) == [("a", "b"), ("c", "d"), ("x",)]


@given(WAYS)
def test_the_past_is_what_a_path_leads_from(ways: list[tuple[str, str]]) -> None:
    past = Past.of("abcdefgh", ways)
    backwards = [(target, source) for source, target in ways]
    for node in "abcdefgh":
        before = {end for source, target in backwards if source == node for end in reachable(target, backwards)}
        if past.knows(node):
            assert set(past.of_node(node)) == before
        else:
            circles = {member for circle in past.circles for member in circle}
            assert circles & (before | {node})
    assert all(
        (one, two) in ways for circle in past.circles for one, two in zip(circle, circle[1:] + circle[:1], strict=True)
    )


@given(WAYS)
def test_a_level_comes_after_all_its_sources(ways: list[tuple[str, str]]) -> None:
    past = Past.of("abcdefgh", ways)
    level = {node: number for number, nodes in enumerate(past.levels) for node in nodes}
    for source, target in ways:
        if target in level:
            assert level[source] < level[target]


def test_ten_thousand_nodes_with_fifty_thousand_edges_are_ordered_soon() -> None:
    luck = random.Random(7)
    ids = [f"n{number}" for number in range(10_000)]
    pairs = [sorted(luck.sample(range(10_000), 2)) for _ in range(50_000)]
    began = process_time()
    past = Past.of(ids, [(ids[one], ids[two]) for one, two in pairs])
    assert process_time() - began < 4
    assert not past.circles


def test_a_circle_of_ten_thousand_and_five_thousand_circles_are_found_soon() -> None:
    ids = [str(number) for number in range(10_000)]
    began = process_time()
    one = Past.of(ids, [(ids[at], ids[(at + 1) % 10_000]) for at in range(10_000)])
    many = Past.of(ids, [(ids[at], ids[at ^ 1]) for at in range(10_000)])
    assert process_time() - began < 4
    assert len(one.circles[0]) == 10_000 and len(many.circles) == 5_000
