"""Pictures of graphs, as text and as SVG."""

from __future__ import annotations

import random
from itertools import pairwise
from time import process_time
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor_worker.graph.definition import Graph
from executor_worker.graph.drawing import svg, text

SVG = "{http://www.w3.org/2000/svg}"


def graph(ways: str, **nodes: Any) -> Graph:
    """`"a>b b>c"` are two edges; *nodes* say more of some."""
    pairs = [way.split(">") for way in ways.split()]
    ids = dict.fromkeys(node for pair in pairs for node in pair)
    edges = [{"from": source, "to": target} for source, target in pairs]
    return Graph.read({"nodes": {node: nodes.get(node, {"type": "tool"}) for node in ids}, "edges": edges})


def test_branches_that_meet_again() -> None:
    drawn = text.draw(graph("plan>for plan>against for>report against>report", plan={"type": "start"}))
    assert drawn.splitlines() == [
        "● plan  start",
        "├─╮",
        "● │ for  tool",
        "│ ● against  tool",
        "├─╯",
        "● report  tool",
    ]


def test_a_way_that_passes_a_node() -> None:
    drawn = text.draw(graph("a>b a>c b>d c>d a>d"))
    assert [line.removesuffix("  tool") for line in drawn.splitlines()] == [
        "● a",
        "├─┬─╮",
        "● │ │ b",
        "╰─│─┤",
        "  ● │ c",
        "  ╰─┤",
        "    ● d",
    ]


def test_routers_and_notes_are_told_apart() -> None:
    router = {"type": "router", "rules": [{"condition": "true", "target": "b"}]}
    document = {
        "nodes": {
            "r": router,
            "b": {"type": "llm", "join": "any", "retry": {"max_attempts": 3}},
            "c": {"on_failure": "continue"},
        },
        "edges": [{"from": "r", "to": "c", "on": "failure", "condition": "output.x > 1"}],
    }
    drawn = text.draw(Graph.read(document)).splitlines()
    assert drawn[0] == "◆ r  router"
    assert "b  llm · join any · 3 attempts" in drawn[3]
    assert "c  executor · may fail · on failure if output.x > 1 (r)" in drawn[2]


def test_lines_are_cut_to_the_width_and_can_do_without_unicode() -> None:
    drawn = text.draw(graph("a>b a>c", b={"type": "tool", "timeout": 5, "join": "any"}), 12, ascii_only=True)
    assert all(len(line) <= 12 for line in drawn.splitlines())
    assert drawn.isascii()


def test_a_wide_graph_is_listed_by_what_runs_together() -> None:
    drawn = text.draw(graph(" ".join(f"s>n{at} n{at}>e" for at in range(50)))).splitlines()
    assert drawn[0] == "1. 1 node" and drawn[2] == "2. 50 nodes"
    assert "   … 38 more" in drawn


WAYS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")), min_size=1, max_size=20)


@given(WAYS)
def test_every_node_is_drawn_once_whatever_the_edges(ways: list[tuple[str, str]]) -> None:
    drawn = graph(" ".join(f"{source}>{target}" for source, target in ways))
    lines = text.draw(drawn).splitlines()
    named = [line.split("  tool")[0].split(" ")[-1] for line in lines if "  tool" in line]
    assert sorted(named) == sorted(drawn.nodes)
    assert sum(line.count("●") for line in lines) == len(drawn.nodes)
    picture = ElementTree.fromstring(svg.draw(drawn))
    assert len(picture.findall(f".//{SVG}rect")) == len(drawn.nodes)


@given(WAYS)
def test_every_line_has_ends(ways: list[tuple[str, str]]) -> None:
    """A stroke that leads up or down meets one there, and one that leads aside meets one beside it."""
    up, down, left, right = "│├┤┼╰╯┴╵●", "│├┤┼╭╮┬╷●", "─┤┼╮╯┬┴│", "─├┼╭╰┬┴│"
    forward = [(source, target) for source, target in ways if source < target] or [("a", "b")]
    lines = text.draw(graph(" ".join(f"{source}>{target}" for source, target in forward))).splitlines()
    beside = [line.split("  tool")[0] for line in lines]
    for above, below in pairwise(beside):
        for at, sign in enumerate(above):
            if sign in down.replace("●", ""):
                assert at < len(below) and below[at] in up
    for line in beside:
        for one, two in pairwise(line):
            assert one not in "─├╭╰┬┴┼" or two in left or two == " "
            assert two != "─" or one in right


def test_an_svg_says_how_edges_are_taken_and_escapes_what_it_says() -> None:
    document = {
        "name": "<a> & b",
        "nodes": {'x<"': {"type": "llm", "description": "a\x01b]]>"}, "b": {"join": "any"}},
        "edges": [{"from": 'x<"', "to": "b", "on": "failure", "condition": "output.x < 1 && true"}],
    }
    picture = ElementTree.fromstring(svg.draw(Graph.read(document)))
    assert picture.findtext(f"{SVG}title") == "<a> & b"
    texts = [element.text for element in picture.iter(f"{SVG}text")]
    assert 'x<"' in texts and "executor · join any" in texts and "on failure if output.x < 1 && true" in texts
    assert "failure" in next(path.get("class", "") for path in picture.findall(f"{SVG}path"))


def test_boxes_of_a_layer_do_not_overlap_and_edges_lead_down() -> None:
    picture = ElementTree.fromstring(svg.draw(graph("a>b a>c a>d b>e c>e d>e a>e e>f")))
    boxes = [(float(box.get("x", 0)), float(box.get("y", 0))) for box in picture.iter(f"{SVG}rect")]
    for one in boxes:
        for two in boxes:
            assert one == two or one[1] != two[1] or abs(one[0] - two[0]) >= 180
    for path in picture.findall(f"{SVG}path"):
        numbers = [float(number) for number in path.get("d", "").replace("M", " ").replace("C", " ").split()]
        assert numbers[1] < numbers[-1]


@pytest.mark.parametrize("kind", ["text", "svg"])
def test_the_largest_graph_is_drawn_soon(kind: str) -> None:
    luck = random.Random(3)
    ways = " ".join(
        f"n{one:04}>n{two:04}" for one, two in (sorted(luck.sample(range(9_000), 2)) for _ in range(20_000))
    )
    large = graph(ways)
    began = process_time()
    assert (text.draw if kind == "text" else svg.draw)(large)
    assert process_time() - began < 5
