"""Three spellings become one graph; what a document says beside its shape is kept."""

from __future__ import annotations

from typing import Any

import pytest

from executor_worker.graph.definition import Edge, Graph, InvalidGraph
from executor_worker.graph.parts import Retry

ENDS = [("fetch", "sum"), ("sum", "send")]

SPELLINGS: dict[str, dict[str, Any]] = {
    "map": {
        "nodes": {name: {"type": "tool", "config": {"tool_name": name}} for name in ("fetch", "sum", "send")},
        "edges": [{"from": source, "to": target} for source, target in ENDS],
        "entry_node": "fetch",
    },
    "array": {
        "nodes": [{"id": name, "type": "tool", "config": {"tool_name": name}} for name in ("fetch", "sum", "send")],
        "edges": [{"source": source, "target": target} for source, target in ENDS],
        "entry_point": "fetch",
    },
    "dependencies": {
        "nodes": [
            {"id": "fetch", "type": "tool", "tool_name": "fetch", "dependencies": []},
            {"id": "sum", "type": "tool", "tool_name": "sum", "dependencies": ["fetch"]},
            {"id": "send", "type": "tool", "tool_name": "send", "dependencies": ["sum"]},
        ],
        "entry_node": "fetch",
    },
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_each_spelling_becomes_the_same_graph(spelling: str) -> None:
    graph = Graph.read(SPELLINGS[spelling])
    assert list(graph.nodes) == ["fetch", "sum", "send"]
    assert [(edge.source, edge.target) for edge in graph.edges] == ENDS
    assert {node.config["tool_name"] for node in graph.nodes.values()} == {"fetch", "sum", "send"}
    assert (graph.entry_node, graph.roots(), graph.leaves()) == ("fetch", ("fetch",), ("send",))
    assert graph.document == SPELLINGS[spelling]


def test_a_dependency_beside_its_edge_is_one_edge() -> None:
    graph = Graph.read({"nodes": {"a": {}, "b": {"dependencies": ["a"]}}, "edges": [{"from": "a", "to": "b"}]})
    assert graph.edges == (Edge("a", "b"),)


def test_a_routers_target_without_an_edge_gets_one() -> None:
    router = {"type": "router", "config": {"rules": [{"condition": "true", "target": "b"}], "fallback": "c"}}
    graph = Graph.read({"nodes": {"r": router, "b": {}, "c": {}}, "edges": [{"from": "r", "to": "c", "on": "always"}]})
    assert graph.edges == (Edge("r", "c", on="always"), Edge("r", "b", implied=True))


def test_fields_of_the_config_may_stand_on_the_node() -> None:
    node = Graph.read({"nodes": {"a": {"type": "llm", "prompt": "Hi {{name}}", "timeout": "1m30s"}}}).nodes["a"]
    assert node.config == {"prompt": "Hi {{name}}", "timeout": 90.0}
    assert node.timeout_s == 90


def test_config_goes_before_a_field_on_the_node() -> None:
    node = Graph.read({"nodes": {"a": {"type": "llm", "prompt": "out", "config": {"prompt": "in"}}}}).nodes["a"]
    assert node.config["prompt"] == "in"


def test_http_is_the_tool_http_request() -> None:
    config = {"url": "https://example.org", "method": "GET", "headers": {"a": "b"}}
    node = Graph.read({"nodes": {"a": {"type": "executor", "executor_type": "http", "config": config}}}).nodes["a"]
    assert node.config == {"tool_name": "http_request", "tool_params": config}


def test_retry_of_the_node_goes_before_that_of_its_config() -> None:
    both = {"retry": {"max_attempts": 2}, "config": {"retry": {"max_attempts": 5}, "tool_name": "x"}}
    inner = {"config": {"retry": {"max_attempts": 5, "delay": "2s", "on": ["tool_failed"]}, "tool_name": "x"}}
    graph = Graph.read({"nodes": {"a": both, "b": inner}})
    assert graph.nodes["a"].retry == Retry(max_attempts=2)
    assert graph.nodes["b"].retry == Retry(max_attempts=5, delay_s=2, on=frozenset({"tool_failed"}))
    assert graph.nodes["b"].config == {"tool_name": "x"}


def test_null_is_the_same_as_leaving_out() -> None:
    graph = Graph.read({"nodes": {"a": {"type": None, "join": None, "config": None}}, "edges": None, "timeout": None})
    assert graph == Graph.read({"nodes": {"a": {}}})


def test_all_that_is_wrong_with_the_shape_is_told_at_once() -> None:
    document = {
        "nodes": [{"type": "xx"}, {"id": "a.b", "join": 0}, 3],
        "edges": [{"from": "a"}],
        "timeout": "soon",
        "failure": "never",
    }
    with pytest.raises(InvalidGraph) as caught:
        Graph.read(document)
    assert {(problem.pointer, problem.code) for problem in caught.value.problems} == {
        ("/nodes/0", "missing"),
        ("/nodes/0/type", "unknown_type"),
        ("/nodes/1/id", "bad_id"),
        ("/nodes/1/join", "wrong_type"),
        ("/nodes/2", "wrong_type"),
        ("/edges/0", "missing"),
        ("/timeout", "bad_duration"),
        ("/failure", "unknown_value"),
    }
    assert all(problem.message and problem.fix for problem in caught.value.problems)


def test_an_id_with_a_slash_is_escaped_in_the_pointer() -> None:
    with pytest.raises(InvalidGraph) as caught:
        Graph.read({"nodes": {"a/b~c": {}}})
    assert caught.value.problems[0].pointer == "/nodes/a~1b~0c"


def test_retry_waits_longer_each_time_up_to_its_limit_spread_by_a_quarter() -> None:
    retry = Retry(max_attempts=9, delay_s=2, backoff=3, max_delay_s=30)
    assert [retry.wait_s(attempt, 0.5) for attempt in (1, 2, 3, 4, 2000)] == [2, 6, 18, 30, 30]
    assert (retry.wait_s(1, 0), retry.wait_s(1, 1)) == (1.5, 2.5)


@pytest.mark.parametrize(
    ("code", "attempt", "again"),
    [("tool_failed", 1, True), ("tool_failed", 3, False), ("template_error", 1, False), ("node_timeout", 2, True)],
)
def test_retry_repeats_all_but_what_fails_the_same_again(code: str, attempt: int, again: bool) -> None:
    assert Retry(max_attempts=3).repeats(code, attempt) is again


def test_retry_with_codes_repeats_these_alone() -> None:
    retry = Retry(max_attempts=3, on=frozenset({"invalid_node"}))
    assert retry.repeats("invalid_node", 1) and not retry.repeats("tool_failed", 1)
