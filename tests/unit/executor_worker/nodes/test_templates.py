"""Templates put inputs and outputs into texts and parameters, once, and say what they don't know."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor_worker.errors import TemplateError
from executor_worker.nodes.templates import MAX_DEPTH, Scope, as_json, sendable
from tests.kit import Stopwatch

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.text(alphabet="abcxyz_-09 é", min_size=1, max_size=8).map(str.strip).filter(bool)
TEMPLATES = st.lists(
    st.sampled_from(["{{", "}}", "{", "}", "a", "b.c", ".", " ", "inputs", "nodes", "0", "x y", "\n", "{{a}}", "\x00"]),
    max_size=30,
).map("".join)

SCOPE = Scope(
    inputs={
        "topic": "whales",
        "count": 3,
        "big": 2**80,
        "price": 1.10,
        "empty": [],
        "nothing": None,
        "user": {"name": "Ada", "tags": ["x", {"deep": True}]},
        "same": "from the input",
        "quoted": "{{topic}}",
    },
    outputs={
        "search": {"hits": [{"title": "One"}, {"title": "Two"}]},
        "same": {"from": "the node"},
        "my-node.v2": {"content": "dashed and dotted"},
        "two words": "spaced",
    },
    unfinished={"later": "pending", "broken": "failed"},
)


def text(template: str) -> str:
    return SCOPE.text(template, "prompt")


def value(template: Any) -> Any:
    return SCOPE.value(template, "tool_params")


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("About {{topic}}!", "About whales!"),
        ("{{ topic }}/{{\ttopic\n}}", "whales/whales"),
        ("{{count}} {{big}} {{price}} {{nothing}} {{empty}}", "3 1208925819614629174706176 1.1 null []"),
        ("{{user}}", '{"name":"Ada","tags":["x",{"deep":true}]}'),
        ("{{user.name}} {{user.tags.0}} {{user.tags.1.deep}}", "Ada x true"),
        ("{{search.hits.1.title}}", "Two"),
        ("{{inputs.same}} {{nodes.same.from}}", "from the input the node"),
        ("{{same}}", "from the input"),
        ("{{same.from}}", "the node"),
        ("{{my-node.v2.content}} {{two words}}", "dashed and dotted spaced"),
        ("{{nodes.my-node.v2.content}}", "dashed and dotted"),
        ("no names, { one brace }, a }} b", "no names, { one brace }, a }} b"),
        ("open {{topic", "open {{topic"),
        ("{{ never {{topic}}", "{{ never whales"),
        ('{"a":{{count}}}', '{"a":3}'),
        ("{{{count}}}", "{3}"),
        ("", ""),
    ],
)
def test_names_in_a_text_are_filled_in(template: str, rendered: str) -> None:
    """Strings go in as they are, all else as JSON."""
    assert text(template) == rendered


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("{{count}}", 3),
        ("{{ big }}", 2**80),
        ("{{nothing}}", None),
        ("{{user.tags}}", ["x", {"deep": True}]),
        (" {{count}}", " 3"),
        ("{{count}}{{count}}", "33"),
        ({"a": [{"b": "{{count}}", "c": "n={{count}}"}]}, {"a": [{"b": 3, "c": "n=3"}]}),
        ({"{{topic}}": 1}, {"{{topic}}": 1}),
        ([1, None, True, 1.5], [1, None, True, 1.5]),
    ],
)
def test_a_parameter_that_is_one_placeholder_keeps_its_type(template: Any, rendered: Any) -> None:
    """At any depth; beside other text it becomes text, and keys of objects are left alone."""
    found = value(template)
    assert found == rendered
    assert type(found) is type(rendered)


def test_what_was_filled_in_is_not_rendered_again() -> None:
    """One pass: an input may hold braces."""
    assert text("{{quoted}}") == "{{topic}}"
    assert value(["{{quoted}}"]) == ["{{topic}}"]


def test_longest_key_wins_and_a_shorter_one_is_tried_where_the_rest_is_missing() -> None:
    """Keys with dots are real keys."""
    scope = Scope({"a.b": {"c": 1}, "a": {"b": {"c": 2, "d": 3}, "b.d": 4}}, {})
    assert scope.value(["{{a.b.c}}", "{{a.b.d}}", "{{inputs.a.b.c}}"], "p") == [1, 4, 1]


def test_explicit_prefix_wins_over_an_input_of_that_name() -> None:
    """`inputs.x` is the input x as long as there is one."""
    scope = Scope({"x": 1, "inputs": {"x": 2, "y": 3}, "nodes": 4}, {"x": 5})
    assert scope.value(["{{inputs.x}}", "{{inputs.y}}", "{{nodes.x}}", "{{nodes}}"], "p") == [1, 3, 5, 4]


def test_all_inputs_and_all_outputs_have_a_name() -> None:
    """`{{inputs}}` and `{{nodes}}` alone are everything."""
    scope = Scope({"a": 1}, {"n": [2]})
    assert scope.text("{{inputs}} {{nodes}}", "p") == '{"a":1} {"n":[2]}'


@pytest.mark.parametrize(
    "name",
    ["missing", "user.missing", "user.tags.9", "user.tags.x", "topic.x", "nothing.x", "", "inputs.search", "a.b."],
)
def test_unknown_name_lists_the_known_ones(name: str) -> None:
    """The field is named too."""
    with pytest.raises(TemplateError) as caught:
        value({"q": ["{{" + name + "}}"]})
    message = str(caught.value)
    assert message.startswith("tool_params.q[0]: unknown name {{" + name + "}}")
    assert "topic" in message
    assert "my-node.v2" in message


def test_unknown_name_says_what_its_holder_has() -> None:
    """The path as far as it is known, and what is there."""
    with pytest.raises(TemplateError, match='"user" has the keys: name, tags'):
        text("{{user.nmae}}")


def test_node_without_output_is_named_with_its_status() -> None:
    """A node that has not run is no spelling mistake."""
    with pytest.raises(TemplateError, match=r'node "later" has no output yet \(pending\)'):
        text("{{later.content}}")
    with pytest.raises(TemplateError, match=r"\(failed\)"):
        text("{{nodes.broken}}")


def test_message_stays_short_however_many_names_there_are() -> None:
    """Long names and many of them are cut."""
    scope = Scope({f"{index}" * 1000: 1 for index in range(10_000)}, {})
    with pytest.raises(TemplateError) as caught:
        scope.text("{{" + "x" * 1_000_000 + "}}", "p" * 1000)
    assert len(str(caught.value)) < 5000


def test_parameters_nested_too_deeply_are_refused() -> None:
    """Bounded depth, with a clear message instead of a RecursionError."""
    deep: Any = "{{topic}}"
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert json.dumps(value(deep)).count("[") == MAX_DEPTH
    with pytest.raises(TemplateError, match="nested more than"):
        value([deep])
    for _ in range(100_000):
        deep = {"k": deep}
    with pytest.raises(TemplateError, match="nested more than"):
        value(deep)


def test_text_that_would_fill_the_memory_is_refused() -> None:
    """A few bytes of template can name much, often."""
    scope = Scope({"a": "x" * 1_000_000}, {})
    with pytest.raises(TemplateError, match="renders to more than"):
        scope.text("{{a}}" * 1000, "p")
    with pytest.raises(TemplateError, match="renders to more than"):
        Scope({"a": [1] * 1_000_000}, {}).value(["{{a}}"] * 1000, "p")


@pytest.mark.parametrize(
    "hostile",
    [
        "{{" * 1_000_000,
        "}}" * 1_000_000,
        "{{a}}" * 400_000,
        "{" * 1_000_000 + "}" * 1_000_000,
        "{{" + "a." * 1_000_000 + "}}",
        "{{a" + " " * 2_000_000 + "}}",
    ],
    ids=["open", "close", "names", "braces", "path", "blanks"],
)
def test_hostile_text_takes_linear_time(hostile: str) -> None:
    """Two megabytes of anything are read in seconds at most, on a slow machine too."""
    started = Stopwatch()
    with contextlib.suppress(TemplateError):
        Scope({"a": {"a": 1}}, {}).text(hostile, "p")
    assert started.own_s() < 5


def test_number_too_long_to_be_written_is_a_template_error() -> None:
    """Python refuses to write out integers of over 4300 digits."""
    scope = Scope({"n": 10**5000}, {})
    assert scope.value("{{n}}", "p") == 10**5000
    with pytest.raises(TemplateError, match="can't be written as JSON"):
        scope.text("n is {{n}}", "p")


def test_lone_surrogates_can_be_sent_after_all() -> None:
    """JSON can hold half a character, UTF-8 can't."""
    assert sendable("a\ud800b") == "a?b"
    assert sendable("aéb") == "aéb"


@given(TEMPLATES)
def test_any_text_is_rendered_or_refused(template: str) -> None:
    """Nothing but TemplateError is ever raised."""
    try:
        rendered = Scope({"a": "{{b}}", "b": {"c": 1}}, {"x y": [0]}).text(template, "p")
    except TemplateError:
        return
    assert isinstance(rendered, str)
    if "{{" not in template:
        assert rendered == template


@given(NAMES, JSON)
def test_any_value_comes_back_as_it_was(name: str, held: Any) -> None:
    """Alone it is the value itself; in a text it is its JSON, or the string."""
    scope = Scope({name: held}, {})
    assert scope.value({"k": ["{{ " + name + " }}"]}, "p")["k"][0] is held
    rendered = scope.text("<{{" + name + "}}>", "p")[1:-1]
    assert rendered == held if isinstance(held, str) else json.loads(rendered) == held


@given(JSON)
def test_template_without_placeholders_is_left_as_it_is(template: Any) -> None:
    """Lists and objects are copied, nothing in them changes."""
    if "{{" not in as_json(template):
        assert Scope({}, {}).value(template, "p") == template


def test_what_is_named_inside_of_a_node_that_has_not_completed_is_null() -> None:
    """As the node itself is; an input of its name is none such, and what completed has what it has."""
    outputs = {"skipped": None, "done": {"text": "x"}, "none": None, "q": None}
    scope = Scope({"q": {"a": 1}}, outputs, absent=["skipped", "q"])
    for name in ("skipped", "skipped.text", "nodes.skipped.text.0", "skipped.a.b", "nodes.q.b"):
        assert scope.value(f"{{{{{name}}}}}", "p") is None, name
        assert scope.text(f"<{{{{{name}}}}}>", "p") == "<null>"
    for name in ("done.nothing", "none.text", "nodes.none.text", "q.b", "other.x", "nodes.other.x", "nodes."):
        with pytest.raises(TemplateError):
            scope.value(f"{{{{{name}}}}}", "p")
