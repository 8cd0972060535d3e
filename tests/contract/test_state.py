"""The graph's state: only our own node's entry changes, everything else keeps its value exactly."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.wire import Wire, as_time
from tests.kit import RedisServer, own_name, wait_until

GIVE = {"tool_name": "give_back", "tool_params": {"value": "{{x}}"}}
LONG = "9" * 5000
FOREIGN = (
    '"unknown": {"b": 1, "a": [ ], "empty": {}, "nothing": null, "big": 12345678901234567890123, "huge": '
    + LONG
    + ', "double": 1.00, "exp": 1E+2, "minus": -0.0, "long": 0.1000000000000000055511151231257827, '
    '"text": "\\u00e9\\/\\ud83d\\ude00 \\ud800", "": [[]], "é": "ü"}'
)


def run(wire: Wire, graph_id: str, config: Any = GIVE, **members: Any) -> dict[str, Any]:
    """Run node `n` of a graph whose state stands already."""
    wire.add({"graph_id": graph_id, "node_id": "n", "config": config} | members)
    return wire.wait_result(graph_id)


def test_a_nodes_entry_has_all_its_fields(wire: Wire) -> None:
    """The entry of a completed node, field by field."""
    graph_id = wire.new_graph()
    wire.put_state(graph_id, inputs={"x": {"a": 1}})
    data = run(wire, graph_id)["data"]
    entry = wire.node_state(graph_id)
    assert set(entry) == {"node_id", "status", "output", "error", "started_at", "completed_at", "metadata"}
    assert (entry["node_id"], entry["status"], entry["output"], entry["error"]) == ("n", "completed", {"a": 1}, None)
    assert as_time(entry["started_at"]) <= as_time(entry["completed_at"])
    assert entry["metadata"]["worker_id"] == data["worker_id"]
    assert "work_id" not in entry["metadata"]


def test_a_failed_nodes_entry_says_why(wire: Wire) -> None:
    """Status failed, the error's sentence, no output; the graph's own status is not ours to change."""
    graph_id = wire.new_graph()
    wire.put_state(graph_id)
    data = run(wire, graph_id, {"tool_name": "complain", "tool_params": {"message": "the sky fell"}})["data"]
    entry = wire.node_state(graph_id)
    assert (entry["status"], entry["output"], entry["error"]) == ("failed", None, data["error"])
    assert "the sky fell" in entry["error"]
    assert wire.state(graph_id)["status"] == "running"


@pytest.mark.parametrize("ours", ["absent", "pending", "null"])
@pytest.mark.parametrize("space", ["", " ", "\n\t "])
def test_every_other_byte_of_the_document_stays(wire: Wire, ours: str, space: str) -> None:
    """Big integers, doubles, escapes, empty things, nulls, spaces and the order of keys come out as they went in."""
    graph_id = wire.new_graph()
    own = {"absent": "", "pending": ',"n":{"status":"pending","theirs":[1.50]}', "null": ',"n":null'}[ours]
    before = "{" + space + f'"graph_id":"{graph_id}",{FOREIGN},"inputs":{{"x":1}},"node_states":{{"m":{{{FOREIGN}}}'
    after = "}" + space + ',"status":"running",' + FOREIGN.replace("unknown", "last") + space + "}"
    wire.redis.set(f"dago:state:{graph_id}", before + own + after)
    run(wire, graph_id)
    raw = wire.raw_state(graph_id) or b""
    text = raw.decode()
    assert text.startswith(before)
    assert text.endswith(after)
    entry = text[len(before) : len(text) - len(after)]
    assert re.match(r',"n":\{', entry)
    assert json.loads(entry.removeprefix(',"n":'))["output"] == 1
    if ours == "pending":
        assert '"theirs":[1.50]' in entry


def test_a_document_without_node_states_gets_them(wire: Wire) -> None:
    """Where `node_states` is missing or null it is made; the rest stays."""
    for members in ("", ',"node_states":null', ',"node_states":{}'):
        graph_id = wire.new_graph()
        wire.redis.set(f"dago:state:{graph_id}", f'{{"inputs":{{"x":2}}{members},"z":1.0}}')
        assert run(wire, graph_id)["data"]["output"] == 2
        assert wire.node_state(graph_id)["status"] == "completed"
        assert b'"z":1.0' in (wire.raw_state(graph_id) or b"")


def test_names_with_odd_characters_are_names(wire: Wire) -> None:
    """Node ids with quotes, dots, braces and letters of any script have an entry of their own."""
    graph_id = wire.new_graph() + ' "ü" {{x}}:*'
    wire.put_state(graph_id, inputs={"x": 1})
    for node_id in ('a"b', "a.b", "größe 😀", "a\\", "{{x}}", "__proto__"):
        wire.add({"graph_id": graph_id, "node_id": node_id, "config": GIVE})
    wait_until(lambda: len(wire.results(graph_id)) == 6, 10, "all are done")
    assert {one["node_id"] for one in wire.results(graph_id)} == set(wire.state(graph_id)["node_states"])


def test_the_documents_time_to_live_is_renewed(wire: Wire) -> None:
    """Each write sets STATE_TTL, a day by default, also where the document had none."""
    graph_id = wire.new_graph()
    wire.put_state(graph_id, inputs={"x": 1})
    run(wire, graph_id)
    assert 86390 < wire.redis.ttl(f"dago:state:{graph_id}") <= 86400
    wire.redis.expire(f"dago:state:{graph_id}", 100)
    run_again = {"graph_id": graph_id, "node_id": "n2", "config": GIVE}
    wire.add(run_again)
    wire.wait_result(graph_id, count=2)
    assert 86390 < wire.redis.ttl(f"dago:state:{graph_id}") <= 86400


@pytest.mark.parametrize("inputs", [{}, {"x": 1, "big": 2**70}])
def test_inputs_alone_make_the_document(wire: Wire, inputs: dict[str, Any]) -> None:
    """Where only inputs came, `{}` too, settling creates the document with status running."""
    graph_id = wire.new_graph()
    run(wire, graph_id, {"tool_name": "renamed"}, inputs=inputs)
    state = wire.state(graph_id)
    assert (state["graph_id"], state["status"], state["inputs"]) == (graph_id, "running", inputs)
    assert {"graph", "submitted_at"} <= set(state)
    assert list(state["node_states"]) == ["n"]
    assert state["node_states"]["n"]["status"] == "completed"
    assert 86390 < wire.redis.ttl(f"dago:state:{graph_id}") <= 86400


def test_no_state_and_no_inputs_is_state_missing(wire: Wire) -> None:
    """The node fails and no document is made of nothing."""
    graph_id = wire.new_graph()
    entry = wire.add({"graph_id": graph_id, "node_id": "n", "config": {"tool_name": "renamed"}})
    result = wire.wait_result(graph_id)
    assert (result["type"], result["data"]["error_code"]) == ("node.failed", "state_missing")
    assert wire.raw_state(graph_id) is None
    wire.wait_gone(entry)
    assert not wire.letters(entry)


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_nodes_of_a_terminal_graph_are_not_run(wire: Wire, status: str) -> None:
    """`node.failed` says `cancelled`, the item is acknowledged, the graph's status stays."""
    graph_id = wire.new_graph()
    wire.put_state(graph_id, status=status, inputs={"x": 1}, node_states={"m": {"status": "completed"}})
    calls = 'dago_tool_executions_total{tool="renamed"}'
    before = wire.pool.metrics().get(calls, 0)
    entry = wire.add({"graph_id": graph_id, "node_id": "n", "config": {"tool_name": "renamed"}})
    result = wire.wait_result(graph_id)
    assert (result["type"], result["data"]["error_code"]) == ("node.failed", "cancelled")
    assert (result["data"]["mode"], result["data"]["attempt"]) == ("tool", 1)
    assert wire.pool.metrics().get(calls, 0) == before
    assert wire.state(graph_id)["status"] == status
    wire.wait_gone(entry)


def test_a_result_of_a_terminal_graph_is_not_overwritten(wire: Wire) -> None:
    """An item that comes again when its graph has ended does not spoil what its node had done."""
    graph_id = wire.new_graph()
    done = {"node_id": "n", "status": "completed", "output": {"precious": 1}, "error": None}
    raw = wire.put_state(graph_id, status="completed", node_states={"n": done})
    assert run(wire, graph_id)["data"]["error_code"] == "cancelled"
    assert wire.raw_state(graph_id) == raw


@pytest.mark.parametrize("status", ["submitted", "pending", "running", "paused by somebody", None])
def test_nodes_of_other_graphs_are_run(wire: Wire, status: str | None) -> None:
    """Any status but the three terminal ones, and none, lets a node run."""
    graph_id = wire.new_graph()
    wire.put_state(graph_id, status=status, inputs={"x": 1})
    assert run(wire, graph_id)["type"] == "node.completed"
    assert wire.state(graph_id)["status"] == status


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not json",
        b"[1]",
        b'"text"',
        b"\xff\xfe",
        b'{"inputs":[1]}',
        b'{"node_states":[]}',
        b'{"node_states":"x"}',
        b'{"status":5}',
        b'{"a":NaN}',
        b'{"a":1} trailing',
        b"[" * 100_000,
    ],
)
def test_a_state_of_another_shape_is_state_invalid(wire: Wire, raw: bytes) -> None:
    """What is no state fails the node with `state_invalid` and stays exactly what it was."""
    graph_id = wire.new_graph()
    wire.redis.set(f"dago:state:{graph_id}", raw)
    result = run(wire, graph_id, inputs={"x": 1})
    assert (result["type"], result["data"]["error_code"]) == ("node.failed", "state_invalid")
    assert wire.raw_state(graph_id) == raw


def test_a_state_that_is_no_string_is_state_invalid(wire: Wire) -> None:
    """A key of another type under the state's name is an answer, not a crash."""
    graph_id = wire.new_graph()
    wire.redis.hset(f"dago:state:{graph_id}", "a", "b")
    assert run(wire, graph_id, inputs={"x": 1})["data"]["error_code"] == "state_invalid"
    assert wire.redis.hgetall(f"dago:state:{graph_id}") == {b"a": b"b"}


def test_odd_entries_of_other_nodes_do_no_harm(wire: Wire) -> None:
    """Entries that are null, texts or lists are somebody else's; ours is made beside them."""
    graph_id = wire.new_graph()
    odd = {"a": None, "b": "text", "c": [1], "d": {"status": 7, "metadata": "x"}, "e": {}}
    wire.put_state(graph_id, inputs={"x": 1}, node_states=odd)
    assert run(wire, graph_id)["type"] == "node.completed"
    states = wire.state(graph_id)["node_states"]
    assert {name: states[name] for name in odd} == odd


def test_our_entry_may_have_been_anything(wire: Wire) -> None:
    """Where our own node's entry is no object, it becomes one."""
    for old in ("text", [1, 2], 5, {"metadata": "odd"}, {"metadata": {"theirs": 1.5}, "extra": []}):
        graph_id = wire.new_graph()
        wire.put_state(graph_id, inputs={"x": 1}, node_states={"n": old})
        run(wire, graph_id)
        assert wire.node_state(graph_id)["output"] == 1
    entry = wire.node_state(graph_id)
    assert entry["extra"] == []
    assert entry["metadata"]["theirs"] == 1.5


def test_nodes_finished_at_once_by_many_workers_are_all_kept(
    start: Callable[..., Wire], shared_redis: RedisServer
) -> None:
    """Twenty nodes of one graph on eight workers, everything else kept: no update is lost."""
    pool = start(shared_redis, workers=8, WORKER_ID=own_name("many"))
    graph_id = pool.new_graph()
    pool.redis.set(f"dago:state:{graph_id}", f'{{"inputs":{{"x":1}},"node_states":{{}},{FOREIGN}}}')
    for number in range(20):
        config = {"tool_name": "give_back", "tool_params": {"value": {"n": number, "x": "{{x}}"}}}
        pool.add({"graph_id": graph_id, "node_id": f"n{number}", "config": config})
    wait_until(lambda: len(pool.results(graph_id)) == 20, 15, "all twenty are done")
    text = (pool.raw_state(graph_id) or b"").decode()
    assert text.endswith("," + FOREIGN + "}")
    states = json.loads(text.removesuffix("," + FOREIGN + "}") + "}")["node_states"]
    assert {name: entry["output"]["n"] for name, entry in states.items()} == {f"n{n}": n for n in range(20)}
    assert pool.pool.drain() == 0
