"""A graph's state: what is read of it, and that nothing but our own is changed."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor_worker.errors import StateInvalid
from executor_worker.graph.json_edit import Alone, lifted
from executor_worker.graph.state import GraphState, new_document, requeue_node, splice_node
from tests.kit.effort import tries

ENTRY: dict[str, Any] = {
    "node_id": "n",
    "status": "completed",
    "output": {"a": 1},
    "error": None,
    "metadata": {"work_id": "w"},
}


def test_what_is_read() -> None:
    """Status, inputs, outputs of those that have one, configs, marks."""
    raw = json.dumps({
        "status": "running", "inputs": {"x": 1},
        "graph": {"nodes": {"n": {"config": {"tool_name": "t"}}, "m": {}, "o": 7}},
        "node_states": {
            "n": {"status": "completed", "output": {"a": 1}, "metadata": {"work_id": "w"}},
            "null": {"status": "completed", "output": None}, "failed": {"status": "failed", "output": None},
            "pending": {"status": "pending", "metadata": {"work_id": "p"}}, "odd": 7,
        },
    }).encode()  # fmt: skip
    state = GraphState.parse(raw)
    assert (state.status, state.inputs) == ("running", {"x": 1})
    assert state.outputs == {"n": {"a": 1}, "null": None}
    assert state.config_of("n") == {"tool_name": "t"}
    assert [state.config_of(name) for name in ("m", "o", "absent")] == [None, None, None]
    assert [state.finished_work_id(name) for name in ("n", "pending", "odd", "absent")] == ["w", None, None, None]
    assert state.metadata("n") == {"work_id": "w"} and state.metadata("odd") is None and state.metadata("null") is None


def test_nodes_as_a_list() -> None:
    """By `id` or `node_id`."""
    state = GraphState(graph={"nodes": [3, {"id": "a", "config": {"x": 1}}, {"node_id": "b", "config": {"y": 2}}]})
    assert state.config_of("a") == {"x": 1} and state.config_of("b") == {"y": 2} and state.config_of("c") is None
    assert GraphState(graph="name").config_of("a") is None


def test_what_is_missing_or_null_is_empty() -> None:
    """A document may be as small as it likes."""
    for raw in (b"{}", b'{"status":null,"inputs":null,"node_states":null,"graph":null}'):
        state = GraphState.parse(raw)
        assert (state.status, state.inputs, state.outputs, state.config_of("n")) == ("", {}, {}, None)


BROKEN = [b"", b"[]", b"null", b"no json", b"\xff", b'{"inputs":[]}', b'{"node_states":[]}', b'{"node_states":"x"}',
          b'{"status":7}', b'{"a":NaN}', b"{} {}", b'{"a":1', b'{"a" 1}', b'{"a":1 "b":2}', b"{a:1}", b'{"a":1,}',
          b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"]  # fmt: skip


@pytest.mark.parametrize("raw", BROKEN)
def test_a_broken_state_says_so(raw: bytes) -> None:
    """One kind of error, whatever is wrong."""
    with pytest.raises(StateInvalid):
        GraphState.parse(raw)


@pytest.mark.parametrize("raw", [raw for raw in BROKEN if b"inputs" not in raw and b"status" not in raw])
def test_a_broken_state_is_not_written_into(raw: bytes) -> None:
    """The splice does not trust what it has not read."""
    with pytest.raises(StateInvalid):
        splice_node(raw, "n", ENTRY)


@pytest.mark.parametrize("own", ["n", "m"])
def test_a_state_nested_at_the_limit_is_written_into_or_refused(own: str) -> None:
    """The two parsers give up at different depths, and Pythons do: never with anything but our own error."""
    refused = 0
    for depth in (200, *range(940, 1040), 1500):
        raw = b'{"node_states":{"m":{"output":' + b"[" * depth + b"]" * depth + b"}}}"
        try:
            assert b'"work_id":"w"' in splice_node(raw, own, ENTRY)
        except StateInvalid as error:
            refused += "nested too deeply" in str(error)
        else:
            assert not refused, "what is nested deeper is not refused either"


def test_only_our_own_node_changes() -> None:
    """Byte for byte: numbers of any size and spelling, escapes, spaces, order, unknown members, other nodes."""
    before = (
        b' {"z" : 1.00, "big":'
        + b"9" * 6000
        + b',"e":[ ],"o":{},"n":null,"u":"\\u00e9\xc3\xa9\\ud800","f":1E+05,\n"node_states" : {'
    )
    other = b'"x" :{"output":1.10,"metadata":{"usage":1}} ,'
    after = b'} ,"status":"running"}\n'
    spliced = splice_node(before + other + b'"n":{"status":"pending"}' + after, "n", ENTRY)
    assert spliced.startswith(before + other + b'"n":{') and spliced.endswith(after)
    assert GraphState.parse(spliced).nodes["n"] == ENTRY
    created = splice_node(before + other[:-2] + after, "n", ENTRY)
    assert created.startswith(before + other[:-2] + b',"n":{') and created.endswith(after)


def test_members_of_our_node_that_are_not_ours_stay() -> None:
    """Also in its metadata; what an earlier run of ours wrote there goes."""
    raw = b'{"node_states":{"n":{"label":1.0,"status":"failed","metadata":{"trace":1.0,"error_code":"x","usage":{}}}}}'
    node = json.loads(splice_node(raw, "n", ENTRY))["node_states"]["n"]
    assert node == {"label": 1.0, **ENTRY, "metadata": {"trace": 1.0, "work_id": "w"}}
    assert b'"label":1.0' in splice_node(raw, "n", ENTRY) and b'"trace":1.0' in splice_node(raw, "n", ENTRY)


@pytest.mark.parametrize("raw", [
    b"{}", b'{"node_states":null}', b'{"node_states":{}}', b'{"node_states":{"n":null}}', b'{"node_states":{"n":[1]}}',
    b'{"node_states":{"n":{"metadata":"x"}}}', b'{"node_states":{"n":{}}}', b'{"a":1,"node_states":{"m":1}}',
])  # fmt: skip
def test_the_node_is_made_where_it_is_missing(raw: bytes) -> None:
    """Or where something else stands in its place."""
    assert GraphState.parse(splice_node(raw, "n", ENTRY)).nodes["n"] == ENTRY


def test_of_names_that_stand_twice_the_last_is_changed() -> None:
    """That is the one readers see."""
    raw = b'{"node_states":{"n":{"a":1}},"node_states":{"n":{"a":2},"n":{"a":3}}}'
    spliced = splice_node(raw, "n", ENTRY)
    assert spliced.startswith(b'{"node_states":{"n":{"a":1}},"node_states":{"n":{"a":2},"n":{"a":3')
    assert GraphState.parse(spliced).nodes["n"] == {"a": 3, **ENTRY}


def test_names_need_no_care() -> None:
    """Quotes, escapes and other scripts in a node's name."""
    for name in ('a"b', "a\\b", "gé", "", "日本", "a\u2028"):
        raw = splice_node(json.dumps({"node_states": {name: {"keep": 1}}}).encode(), name, ENTRY)
        assert json.loads(raw)["node_states"] == {name: {"keep": 1, **ENTRY}}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=tries(300), deadline=None)
@given(
    document=st.dictionaries(st.text(max_size=5), JSON, max_size=5),
    nodes=st.dictionaries(st.sampled_from(["n", "m", 'q"', "é"]), JSON, max_size=4),
    output=JSON, indent=st.sampled_from([None, 1]), ascii_only=st.booleans(),
)  # fmt: skip
def test_any_document_keeps_its_values(
    document: dict[str, Any], nodes: dict[str, Any], output: Any, indent: int | None, ascii_only: bool
) -> None:
    """Whatever it holds and however it is written."""
    before = {**document, "node_states": nodes}
    try:
        raw = json.dumps(before, indent=indent, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        return
    after = json.loads(splice_node(raw, "n", {**ENTRY, "output": output}))
    mine = after["node_states"].pop("n")
    assert mine["output"] == output and mine["status"] == "completed"
    assert after == {**before, "node_states": {name: value for name, value in nodes.items() if name != "n"}}
    assert list(after) == list(before)


# Names that look like others: escaped, nested, values of texts, and with quotes of their own.
NAMES = ["n", "node_states", "metadata", "status", "n/1", 'a"n', "x\\n", "ä"]
NESTED = st.recursive(
    st.sampled_from([*NAMES, 1, 2.50, None, 'say \\"n\\": {', '"node_states":{']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), NESTED, max_size=4)


@given(
    nodes=st.dictionaries(st.sampled_from(NAMES), NESTED | OBJECTS, max_size=5),
    others=OBJECTS,
    own=st.sampled_from(NAMES),
    spelling=st.sampled_from([(",", ":"), (" , ", " :\n"), ("\t,", ":")]),
    escaped=st.sampled_from(["", "n", "node_states"]),
    behind=st.booleans(),
)
def test_names_are_told_apart(
    nodes: dict[str, Any], others: dict[str, Any], own: str, spelling: tuple[str, str], escaped: str, behind: bool
) -> None:
    """Whatever else is called as the node is: its own state changes, at its place, and no name comes to stand twice."""
    others = {name: value for name, value in others.items() if name not in ("node_states", "status")}
    document = {**others, "node_states": nodes} if behind else {"node_states": nodes, **others}
    text = json.dumps(document, separators=spelling)
    if escaped:
        text = text.replace(f'"{escaped}"', f'"\\u{ord(escaped[0]):04x}{escaped[1:]}"', 1)
    after = splice_node(text.encode(), own, ENTRY)
    pairs = json.loads(after, object_pairs_hook=_once_each)
    before = nodes.get(own)
    kept = before if isinstance(before, dict) else {}
    facts = kept.get("metadata") if isinstance(kept.get("metadata"), dict) else {}
    mine = {**kept, **ENTRY, "metadata": {**(facts or {}), **ENTRY["metadata"]}}
    assert pairs == {**document, "node_states": {**nodes, own: mine}}
    assert [*pairs["node_states"]] == [*{**nodes, own: None}] and [*pairs] == [*document]


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({name for name, _ in pairs}) == len(pairs), pairs
    return dict(pairs)


def test_requeued_nodes_are_pending_and_have_forgotten_their_item() -> None:
    """A graph that failed with the node runs again, one that was cancelled stays so."""
    node = b'{"status":"failed","error":"e","metadata":{"work_id":"w","t":1}}'
    raw = b'{"status":"failed","x":1.0,"node_states":{"n":' + node + b"}}"
    assert json.loads(requeue_node(raw, "n")) == {
        "status": "running", "x": 1.0,
        "node_states": {"n": {"status": "pending", "error": None, "metadata": {"t": 1}}},
    }  # fmt: skip
    cancelled = json.loads(requeue_node(raw.replace(b'"failed"', b'"cancelled"', 1), "n"))
    assert (cancelled["status"], cancelled["node_states"]["n"]["status"]) == ("cancelled", "pending")
    assert requeue_node(raw, "unknown") == raw


def test_a_graph_that_failed_by_another_node_stays_failed() -> None:
    """Only what the node itself brought about is taken back."""
    raw = b'{"status":"failed","node_states":{"n":{"status":"completed"},"m":{"status":"failed"}}}'
    assert json.loads(requeue_node(raw, "n"))["status"] == "failed"


def test_a_new_document() -> None:
    """Where only inputs came with the item."""
    entry = {**ENTRY, "started_at": "2026-01-01T00:00:00.000Z"}
    assert json.loads(new_document("g", {"x": []}, "n", entry)) == {
        "graph_id": "g", "graph": {}, "status": "running", "inputs": {"x": []}, "node_states": {"n": entry},
        "submitted_at": "2026-01-01T00:00:00.000Z",
    }  # fmt: skip


def test_the_digest_is_redis_own() -> None:
    """`redis.sha1hex` of the same bytes."""
    assert GraphState.digest(b"") == b"da39a3ee5e6b4b0d3255bfef95601890afd80709"


@pytest.mark.parametrize("other", ['"n"', '["n"]', '"\\u00e9"', '"\\"n\\":"', "{}"])
def test_a_node_is_found_without_looking_at_the_others_one_by_one(other: str) -> None:
    """Where its name stands as a value too, as in its own entry, or letters stand as numbers that are in no name."""
    text = f'{{"node_states":{{"m":{{"output":{other}}},"n" : {{"node_id":"n"}}}},"z":{{"n":1}}}}'
    root = lifted(text, "node_states", Alone({"n": {"metadata": {}}}))
    nodes = root and root.child("node_states")
    assert nodes is not None and [name for name, _ in nodes.members] == ["n"]
    own = nodes.child("n")
    assert own is not None and text[own.start : own.end] == '{"node_id":"n"}'


def test_whatever_looks_like_the_nodes_a_new_one_comes_in_among_them() -> None:
    """Names in names and texts, escapes, objects of the same name further inside, before and behind."""
    chance = random.Random(20)
    names = ["node_states", "x", "submitted_at", r"node\u005fstates", r"a\"node_states", r"a\\", r"b\"submitted_at"]
    texts = ['"node_states"', "1", "{}", r'"a\"node_states\":{}"', '"}"', r'"node_states\":{"', r'"\\"', "[{}]"]

    def member(depth: int) -> str:
        return f'"{chance.choice(names)}"{chance.choice(["", " "])}:{value(depth)}'

    def value(depth: int) -> str:
        if depth < 3 and chance.random() < 0.5:
            return f"{{{','.join(member(depth + 1) for _ in range(chance.randrange(3)))}}}"
        return chance.choice(texts)

    found = 0
    for _ in range(3000):
        raw = f"{{{','.join(member(1) for _ in range(chance.randrange(5)))}}}".encode()
        wanted = json.loads(raw)
        if isinstance(wanted.get("node_states"), dict):
            wanted["node_states"]["n"] = ENTRY
            assert json.loads(splice_node(raw, "n", ENTRY)) == wanted, raw
            found += 1
    assert found > 100


@pytest.mark.parametrize("other", ['{"n":1}', '{"\\u006e":1}'])
def test_a_name_that_could_be_anothers_takes_a_closer_look(other: str) -> None:
    text = f'{{"node_states":{{"m":{other},"n":{{}}}}}}'
    assert lifted(text, "node_states", Alone({"n": {}})) is None


@pytest.mark.parametrize(
    "rest",
    ['"z":1}', '"x":{} , "z":1}', '"x":{},"z":[",\\"z\\"",{"z":1}]}', '"\\u007a":1,"q":"z"}', '"z":{"z":{},"z":2}}'],
)
def test_the_nodes_end_where_they_end(rest: str) -> None:
    """Whatever comes behind them is called: twice, as something inside, or in another spelling."""
    raw = f'{{"x":{{}},"node_states":{{"m":{{}} }} ,{rest}'
    assert splice_node(raw.encode(), "n", {"metadata": {}}).decode() == raw.replace(
        '{"m":{} }', '{"m":{},"n":{"metadata":{}} }'
    )


@pytest.mark.parametrize("gap", ["", " ", "\n\t "])
def test_a_new_node_goes_behind_the_others(gap: str) -> None:
    """Also where those are not looked at one by one: nothing but the addition differs, whatever stands around it."""
    others = f'{{{gap}"a":{{"x":1.0}},"\\u0062" : []{gap}}}'
    raw = f'{{"node_states":{others}{gap},"z":1E5}}'
    out = splice_node(raw.encode(), "n", ENTRY).decode()
    kept, added, rest = out.partition(',"n":')
    assert added
    assert kept + rest.removeprefix(json.dumps(ENTRY, separators=(",", ":"))) == raw
    assert json.loads(out)["node_states"]["n"] == ENTRY
