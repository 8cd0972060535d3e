"""Every problem at once, each with place, code and fix; what is odd is a warning; hostile graphs are answered soon."""

from __future__ import annotations

import json
from time import process_time
from typing import Any

import pytest

from executor_worker.graph.validation import Report, check
from executor_worker.nodes import spec

Document = dict[str, Any]

TOOL: Document = {"type": "tool", "tool_name": "work"}


def checked(document: Any, **known: Any) -> Report:
    return check(document, config_rules=spec.read, **known)


def told(report: Report) -> set[tuple[str, str]]:
    return {(problem.pointer, problem.code) for problem in report.errors}


def warned(report: Report) -> set[tuple[str, str]]:
    return {(problem.pointer, problem.code) for problem in report.warnings}


def graph(nodes: Document, *ways: str, **more: Any) -> Document:
    """Build a graph: `"a>b"` is an edge."""
    edges = [dict(zip(("from", "to"), way.split(">"), strict=True)) for way in ways]
    return {"nodes": nodes, "edges": edges, "timeout": 60, **more}


def test_a_good_graph_has_no_problem_and_an_order() -> None:
    llm = {"type": "llm", "prompt": "{{a}} {{question}}"}
    report = checked(graph({"a": TOOL, "b": llm, "c": llm, "d": {"type": "end"}}, "a>b", "a>c", "b>d", "c>d"))
    assert report.valid and not report.warnings
    assert report.as_dict() == {"valid": True, "errors": [], "warnings": [], "order": [["a"], ["b", "c"], ["d"]]}


ROUTER: Document = {"type": "router", "fallback": "b"}

ERRORS: list[tuple[str, Document, set[tuple[str, str]]]] = [
    ("no nodes", graph({}), {("/nodes", "no_nodes")}),
    ("nodes missing", {"edges": []}, {("/nodes", "missing")} - {("/nodes", "missing")} | {("", "missing")}),
    (
        "unknown ends",
        graph({"a": TOOL}, "a>z", "y>a"),
        {("/edges/0/to", "unknown_node"), ("/edges/1/from", "unknown_node")},
    ),
    (
        "unknown dependency",
        {"nodes": {"a": {**TOOL, "dependencies": ["z"]}}},
        {("/nodes/a/dependencies/0", "unknown_node")},
    ),
    ("self-loop", graph({"a": TOOL}, "a>a"), {("/edges/0", "self_loop")}),
    ("duplicate id", {"nodes": [{"id": "a", **TOOL}, {"id": "a", **TOOL}]}, {("/nodes/1", "duplicate_id")}),
    ("key and id differ", {"nodes": {"a": {"id": "b", **TOOL}}}, {("/nodes/a/id", "id_mismatch")}),
    (
        "two circles",
        graph(dict.fromkeys("abcd", TOOL), "a>b", "b>a", "c>d", "d>c"),
        {("/edges/0", "cycle"), ("/edges/2", "cycle")},
    ),
    ("unknown entry", graph({"a": TOOL}, entry_node="z"), {("/entry_node", "unknown_node")}),
    ("second root", graph({"a": TOOL, "b": TOOL}, entry_point="a"), {("/nodes/b", "unreachable")}),
    (
        "second root with nothing to do",
        graph({"a": TOOL, "b": {"type": "tool"}}, entry_node="a"),
        {("/nodes/b", "unreachable"), ("/nodes/b", "invalid_node")},
    ),
    ("join too high", graph({"a": TOOL, "b": {**TOOL, "join": 2}}, "a>b"), {("/nodes/b/join", "never_runs")}),
    (
        "failure of a start",
        {"nodes": {"a": {"type": "start"}, "b": TOOL}, "edges": [{"from": "a", "to": "b", "on": "failure"}]},
        {("/nodes/b", "never_runs")},
    ),
    (
        "both ends of one node",
        {
            "nodes": {"a": TOOL, "b": {**TOOL, "join": 2}},
            "edges": [{"from": "a", "to": "b"}, {"from": "a", "to": "b", "on": "failure"}],
        },
        {("/nodes/b/join", "never_runs")},
    ),
    ("not a target", graph({"r": ROUTER, "b": TOOL, "c": TOOL}, "r>c"), {("/nodes/c", "never_runs")}),
    ("unknown target", graph({"r": {**ROUTER, "fallback": "z"}}), {("/nodes/r/fallback", "unknown_node")}),
    ("routes to itself", graph({"r": {**ROUTER, "fallback": "r"}}), {("/nodes/r/fallback", "self_loop")}),
    ("map is later", graph({"m": {"type": "map"}}), {("/nodes/m/type", "not_yet_supported")}),
    (
        "queue",
        graph({"q": {"type": "llm", "config": {"prompt": "x", "queue": "dead"}}}),
        {("/nodes/q/config/queue", "invalid_queue")},
    ),
    ("python", graph({"p": {"executor_type": "python"}}), {("/nodes/p/executor_type", "executor_type_refused")}),
    (
        "config",
        graph({"a": {"type": "llm", "config": {"prompt": "x", "temperature": "hot", "max_tokens": 0}}}),
        {("/nodes/a/config/temperature", "invalid_node"), ("/nodes/a/config/max_tokens", "invalid_node")},
    ),
    ("config on the node", graph({"a": {"prompt": 5}}), {("/nodes/a/prompt", "invalid_node")}),
    ("nothing to do", graph({"a": {"type": "tool"}}), {("/nodes/a", "invalid_node")}),
    ("told once", graph({"a": {**TOOL, "timeout": 0}}), {("/nodes/a/timeout", "bad_duration")}),
    (
        "CEL",
        {"nodes": {"a": TOOL, "b": TOOL}, "edges": [{"from": "a", "to": "b", "condition": "output.x >"}]},
        {("/edges/0/condition", "invalid_condition")},
    ),
    (
        "names of a condition",
        {
            "nodes": {"a": TOOL, "b": TOOL, "c": TOOL},
            "edges": [{"from": "a", "to": "b", "condition": "score > 1 && nodes.c.x && nodes.b && nodes.z"}],
        },
        {
            ("/edges/0/condition", "unknown_name"),
            ("/edges/0/condition", "not_upstream"),
            ("/edges/0/condition", "unknown_node"),
        },
    ),
    (
        "output in a rule",
        graph({"r": {"type": "router", "rules": [{"condition": "output.x", "target": "b"}]}, "b": TOOL}),
        {("/nodes/r/rules/0/condition", "unknown_name")},
    ),
    (
        "state of a node after it",
        graph(
            {
                "r": {"type": "router", "rules": [{"condition": "state.node_states.b.output.x", "target": "b"}]},
                "b": TOOL,
            }
        ),
        {("/nodes/r/rules/0/condition", "not_upstream")},
    ),
    ("itself", graph({"a": {"type": "llm", "prompt": "{{a.text}}"}}), {("/nodes/a/prompt", "not_upstream")}),
    (
        "beside it",
        graph({"a": TOOL, "b": {"type": "tool", "tool_name": "x", "tool_params": {"p": [{"q": "{{nodes.a}}"}]}}}),
        {("/nodes/b/tool_params/p/0/q", "not_upstream")},
    ),
    (
        "mapping",
        graph({"a": {**TOOL, "input_mapping": {"x": "nodes.b.y"}}, "b": TOOL}),
        {("/nodes/a/input_mapping/x", "not_upstream")},
    ),
    (
        "error codes of a retry",
        graph(
            {
                "a": {**TOOL, "retry": {"max_attempts": 2, "on": ["tool_failed", "tool_fail"]}},
                "b": {
                    "type": "tool",
                    "config": {"tool_name": "x", "retry": {"on": ["timeout", "no_route"]}},
                    "retry": [1],
                },
            }
        ),
        {
            ("/nodes/a/retry/on/1", "unknown_error_code"),
            ("/nodes/b/config/retry/on/0", "unknown_error_code"),
            ("/nodes/b/retry", "wrong_type"),
        },
    ),
    (
        "figures of a retry",
        graph(
            {
                "a": {**TOOL, "retry": {"max_attempts": "lots", "backoff": "x"}},
                "b": {
                    "type": "tool",
                    "config": {"tool_name": "x", "retry": {"max_attempts": 0, "delay": -1}, "cache": {}},
                },
            }
        ),
        {
            ("/nodes/a/retry/max_attempts", "wrong_type"),
            ("/nodes/a/retry/backoff", "wrong_type"),
            ("/nodes/b/config/retry/max_attempts", "wrong_type"),
            ("/nodes/b/config/retry/delay", "bad_duration"),
            ("/nodes/b/config/cache", "missing"),
        },
    ),
    ("output", graph({"a": TOOL}, output={"x": "{{nodes.zz.y}}"}), {("/output/x", "unknown_node")}),
    (
        "prompt of a router",
        graph({"r": {"type": "router", "prompt_template": "{{#if x}}", "routes": {"y": "b"}}, "b": TOOL}),
        {("/nodes/r/prompt_template", "invalid_template")},
    ),
]


@pytest.mark.parametrize(("case", "document", "expected"), ERRORS, ids=[case for case, _, _ in ERRORS])
def test_an_error_is_told_with_its_place(case: str, document: Document, expected: set[tuple[str, str]]) -> None:
    report = checked(document)
    assert told(report) == expected
    assert not report.valid
    assert all(problem.message and problem.fix for problem in report.errors)


def test_a_wrong_error_code_of_a_retry_is_told_with_the_right_one() -> None:
    (problem,) = checked({"nodes": {"a": {**TOOL, "retry": {"on": ["tool_fail"]}}}}).errors
    assert problem.message == 'no node fails with the text "tool_fail"' and problem.fix == 'Write "tool_failed".'


@pytest.mark.parametrize("retry", [{"max_attempts": 10**400, "backoff": 10**400}, {"max_attempts": float("inf")}])
def test_a_retry_of_any_figures_gets_an_answer(retry: Any) -> None:
    checked({"nodes": {"a": {**TOOL, "retry": retry}}, "max_parallel": float("inf")})


def test_all_errors_of_a_graph_are_told_at_once() -> None:
    several = {name: part for _, document, _ in ERRORS[2:] for name, part in [("nodes", document["nodes"])]}
    documents = {"nodes": {**several["nodes"], "a.b": TOOL, "p": {"executor_type": "bash"}}, "edges": [{"from": "q"}]}
    codes = {problem.code for problem in checked(documents).errors}
    assert {"bad_id", "executor_type_refused", "missing", "invalid_template"} <= codes


def test_a_cycle_is_told_as_the_documents_promise() -> None:
    report = checked(graph(dict.fromkeys("abc", TOOL), "a>b", "b>c", "c>b"))
    assert [problem.message for problem in report.errors] == ["Graph contains cycles"]
    assert report.circles == (("b", "c", "b"),)
    assert "b → c → b" in report.errors[0].fix


def test_known_inputs_make_a_wrong_name_an_error() -> None:
    document = graph(
        {"a": {"type": "llm", "prompt": "{{question}} {{qestion}}", "input_mapping": {"extra": "inputs.question"}}}
    )
    assert checked(document).valid
    report = checked(document, inputs={"question": "?"})
    assert told(report) == {("/nodes/a/prompt", "unknown_name")}
    assert report.errors[0].fix == "Write {{question}}."


def test_a_missing_input_in_a_rule_is_no_error_since_the_rule_is_then_skipped() -> None:
    rule = {"condition": "state.priority == 'high'", "target": "b"}
    assert checked(graph({"r": {"type": "router", "rules": [rule], "fallback": "b"}, "b": TOOL}), inputs={}).valid


STATE_NAMES = ("q", "inputs.q.x", "inputs", "graph_id", "status", "node_states.a.output")


@pytest.mark.parametrize("name", STATE_NAMES)
def test_templates_see_the_state_that_conditions_see(name: str) -> None:
    """In parameters, prompts, a router's prompt and the run's output alike; what is not there is still told."""
    text = f"{{{{state.{name}}}}}"
    router = {"type": "router", "prompt_template": text, "routes": {"y": "d"}}
    nodes = {"a": TOOL, "b": {**TOOL, "tool_params": {"x": text}}, "c": router, "d": {"type": "llm", "prompt": text}}
    document = {**graph(nodes, "a>b", "b>c"), "output": text}
    assert checked(document, inputs={"q": 1}).valid
    assert told(checked({**document, "output": "{{state.b}}"}, inputs={"q": 1})) == {("/output", "unknown_name")}
    missing = {**TOOL, "tool_params": {"x": "{{state.zz}}"}}
    report = checked(graph({"a": TOOL, "b": missing}, "a>b"), inputs={"q": 1})
    assert told(report) == {("/nodes/b/tool_params/x", "unknown_name")}


def test_a_name_that_a_router_only_asks_for_may_be_missing() -> None:
    router = {"type": "router", "prompt_template": "{{#if vip}}VIP{{/if}} {{message}}", "routes": {"y": "b"}}
    assert checked(graph({"r": router, "b": TOOL}), inputs={"message": "m"}).valid
    assert told(checked(graph({"r": router, "b": TOOL}), inputs={})) == {("/nodes/r/prompt_template", "unknown_name")}


def test_an_edges_condition_sees_its_source_and_what_is_before() -> None:
    nodes = {"a": TOOL, "b": TOOL, "c": TOOL}
    edges = [
        {"from": "a", "to": "b"},
        {
            "from": "b",
            "to": "c",
            "condition": "output.x && nodes.b.x && nodes.a.y && inputs.z && state.w && state.status == ''",
        },
    ]
    assert checked({"nodes": nodes, "edges": edges}).valid


def test_pointers_can_be_from_the_root_of_a_request() -> None:
    report = checked(graph({"a": {"prompt": 5}})).under("/graph")
    assert told(report) == {("/graph/nodes/a/prompt", "invalid_node")}


def chain(**second: Any) -> Document:
    return graph({"a": TOOL, "b": {"type": "llm", **second}}, "a>b")


WARNINGS: list[tuple[str, Document, set[tuple[str, str]]]] = [
    ("special id", graph({"inputs": TOOL}), {("/nodes/inputs", "special_id")}),
    ("unknown field", graph({"a": {**TOOL, "joiin": "any"}}), {("/nodes/a/joiin", "unknown_field")}),
    (
        "always true",
        graph({"r": {"type": "router", "rules": [{"condition": "true", "target": "b"}], "fallback": "b"}, "b": TOOL}),
        {("/nodes/r/fallback", "unreachable_default")},
    ),
    (
        "continue",
        graph({"a": {**TOOL, "on_failure": "continue"}, "b": {"type": "llm", "prompt": "{{a}}"}}, "a>b"),
        {("/nodes/a/on_failure", "continues_nowhere")},
    ),
    (
        "switched off",
        {"nodes": {"a": TOOL, "b": TOOL}, "edges": [{"from": "a", "to": "b", "condition": " false"}]},
        {("/edges/0/condition", "never_taken")},
    ),
    (
        "join of a root",
        graph({"a": {**TOOL, "join": 2}, "b": {**TOOL, "join": "any"}, "c": {**TOOL, "join": "all"}}),
        {("/nodes/a/join", "needless_join"), ("/nodes/b/join", "needless_join")},
    ),
    ("join of a node behind", chain(prompt="{{a}}", join=1), set()),
    (
        "chosen in vain",
        {
            "nodes": {
                "r": {"type": "router", "routes": [{"target": "b", "condition": "inputs.x"}, {"target": "c"}]},
                "b": TOOL,
                "c": TOOL,
            },
            "edges": [{"from": "r", "to": "b", "on": "failure"}, {"from": "r", "to": "c", "on": "always"}],
        },
        {("/nodes/r/routes/0/target", "chosen_in_vain")},
    ),
    (
        "chosen by a model in vain",
        {
            "nodes": {
                "r": {
                    "type": "router",
                    "timeout": 5,
                    "prompt_template": "?",
                    "routes": {"y": "b", "n": "c"},
                    "fallback": "b",
                },
                "b": TOOL,
                "c": TOOL,
            },
            "edges": [
                {"from": "r", "to": "b", "on": "failure"},
                {"from": "r", "to": "c", "on": "failure"},
                {"from": "r", "to": "c"},
            ],
        },
        {("/nodes/r/routes/y", "chosen_in_vain"), ("/nodes/r/fallback", "chosen_in_vain")},
    ),
    ("needless order", chain(prompt="hello"), {("/edges/0", "needless_order")}),
    ("needed", chain(prompt="{{a}}"), set()),
    ("given what came before", chain(model="m", tools=["t"]), set()),
    ("no limit", {"nodes": {"a": {"type": "llm", "prompt": "x"}}}, {("/nodes/a", "no_limit")}),
    ("node's limit", {"nodes": {"a": {"type": "llm", "prompt": "x", "timeout": 5}}}, set()),
    ("tool not there", graph({"a": {"tool_name": "wrk"}}), {("/nodes/a/tool_name", "tool_not_offered")}),
    (
        "agent's tool not there",
        graph({"a": {"prompt": "x", "config": {"tools": ["work", "other", "*"]}}}),
        {("/nodes/a/config/tools/1", "tool_not_offered")},
    ),
    (
        "retired",
        graph({"a": {"prompt": "x", "config": {"model": "old"}}}),
        {("/nodes/a/config/model", "retired_model")},
    ),
    (
        "two values",
        {
            "nodes": {"a": TOOL, "b": {"type": "end"}, "c": {"type": "end"}},
            "edges": [{"from": "a", "source": "b", "to": "c"}, {"from": "a", "to": "b", "target": "c", "source": "a"}],
            "entry_node": "a",
            "entry_point": "b",
        },
        {("/edges/0/source", "two_values"), ("/edges/1/target", "two_values"), ("/entry_point", "two_values")},
    ),
    ("strange type", graph({"a": {**TOOL, "executor_type": "lllm"}}), {("/nodes/a/executor_type", "unknown_value")}),
]


@pytest.mark.parametrize(("case", "document", "expected"), WARNINGS, ids=[case for case, _, _ in WARNINGS])
def test_what_is_odd_is_a_warning(case: str, document: Document, expected: set[tuple[str, str]]) -> None:
    offered = frozenset({"work", "t"})
    report = checked(document, offered_tools=offered, retired=lambda model: "it is retired" if model == "old" else None)
    assert report.valid
    assert warned(report) == expected


def test_a_run_with_a_limit_of_its_own_needs_none_on_its_nodes() -> None:
    assert not checked({"nodes": {"a": {"type": "llm", "prompt": "x"}}}, bounded=True).warnings


MANY = 10_000


def nested(depth: int) -> Document:
    document: Document = {"nodes": {}}
    inside = document
    for _ in range(depth):
        inner: Document = {}
        inside["nodes"] = inner
        inside = inner
    return document


def exploding(edges: int) -> Document:
    text = "1" + "+1" * 1990
    ways = [{"from": f"n{at}", "to": f"n{at + 1}", "condition": f"{text} == {at}"} for at in range(edges)]
    return {"nodes": {f"n{at}": TOOL for at in range(edges + 1)}, "edges": ways}


HOSTILE: dict[str, tuple[Document, str]] = {
    "100 000 nodes": ({"nodes": {f"n{at}": {} for at in range(100_000)}}, "too_many_nodes"),
    "100 000 edges": ({"nodes": {"a": TOOL}, "edges": [{}] * 100_000}, "too_many_edges"),
    "100 000 dependencies": ({"nodes": {"a": {"dependencies": ["a"] * 100_000}}}, "too_many_edges"),
    "depth 10 000": (nested(10_000), "nested_too_deeply"),
    "one circle of all": (
        {
            "nodes": {f"n{at}": TOOL for at in range(MANY)},
            "edges": [{"from": f"n{at}", "to": f"n{(at + 1) % MANY}"} for at in range(MANY)],
        },
        "cycle",
    ),
    "all wrong": ({"nodes": [{"id": f"a.{at}", "type": f"t{at}", "joyn": 1} for at in range(MANY)]}, "bad_id"),
    "conditions that explode": (exploding(990), "too_much_cel"),
    "templates that name themselves": (
        {"nodes": {f"n{at}": {"type": "llm", "prompt": f"{{{{n{at}}}}}" * 30} for at in range(MANY)}},
        "not_upstream",
    ),
    "400 000 names": (
        {"nodes": {"a": {"type": "llm", "prompt": "".join(f"{{{{x{at}}}}}" for at in range(400_000))}}},
        "unknown_name",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_graph_is_answered_soon(name: str) -> None:
    document, code = HOSTILE[name]
    began = process_time()
    report = checked(document, inputs={})
    took = process_time() - began
    assert code in {problem.code for problem in report.errors}
    assert len(report.errors) <= 1001
    assert took < 6  # some second on a quiet machine


def test_the_largest_graph_is_checked_soon() -> None:
    nodes = {f"n{at}": {"type": "llm", "prompt": "{{x}} " + (f"{{{{n{at - 1}}}}}" if at else "")} for at in range(MANY)}
    ways = [(at, at + step) for at in range(MANY) for step in range(1, 6) if at + step < MANY]
    edges = [{"from": f"n{one}", "to": f"n{two}", "condition": f"output.score > {two - one}"} for one, two in ways]
    began = process_time()
    report = checked({"nodes": nodes, "edges": edges, "timeout": 60}, inputs={"x": 1})
    took = process_time() - began
    assert report.valid and len(report.order) == MANY
    assert took < 6  # some second on a quiet machine


@pytest.mark.parametrize(
    "value", [None, 1, "x", [], [[]], {"nodes": None}, {"nodes": 3}, {"nodes": [None, 1, {}]}, {"nodes": {"": 1}}]
)
def test_a_document_of_any_shape_gets_an_answer(value: Any) -> None:
    report = checked(value)
    assert not report.valid
    assert json.dumps(report.as_dict())
