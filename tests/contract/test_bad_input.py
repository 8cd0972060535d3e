"""Bad input is an answer: an error on the wire, the item kept where it can't be run, the worker alive."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.wire import STREAMS, WORK, Json, Wire, as_time
from tests.kit import RedisServer, wait_until

LETTER = {"data", "original_id", "reason", "error", "deliveries", "consumer", "failed_at"}
RENAMED = {"tool_name": "renamed"}


@pytest.fixture(autouse=True)
def same_workers(wire: Wire) -> Any:
    """No test of this file may cost a worker its life, nor leave the pool other than healthy."""
    before = [row["pid"] for row in wire.pool.workers()]
    yield
    wait_until(lambda: all(row["state"] == "idle" for row in wire.pool.workers()), 10, "all workers are idle again")
    assert [row["pid"] for row in wire.pool.workers()] == before
    wait_until(lambda: wire.pool.health()["status"] == "healthy", 10, lambda: str(wire.pool.health()))


def named(graph_id: str, **members: Any) -> Json:
    return {"graph_id": graph_id, "node_id": "n"} | members


def check_letter(letter: dict[str, bytes], data: bytes, entry: str, wire: Wire) -> None:
    assert set(letter) == LETTER
    assert letter["data"] == data
    assert letter["original_id"].decode() == entry
    assert (letter["reason"], letter["deliveries"]) == (b"invalid_item", b"1")
    assert letter["error"]
    assert letter["consumer"].decode().rpartition(".")[0] == wire.pool.env["WORKER_ID"]
    as_time(letter["failed_at"].decode())


UNREADABLE = {
    "not json": b"hello",
    "empty": b"",
    "cut": b'{"graph_id":"x","node_id":"n"',
    "array": b"[1,2]",
    "string": b'"text"',
    "null": b"null",
    "number": b"12",
    "nan": b'{"graph_id":NaN}',
    "infinity": b'{"a":-Infinity}',
    "not utf-8": b'{"a":"\xff\xfe"}',
    "utf-16": '{"a":1}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"a":1}',
    "nul": b'\x00{"a":1}',
    "two values": b'{"a":1}{"b":2}',
    "no names": b"{}",
    "deep": b"[" * 200_000 + b"]" * 200_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "lone surrogate as a name": b'{"graph_id":"\\ud800","node_id":"n"}',
    "single quotes": b"{'graph_id': 'x'}",
    "trailing comma": b'{"graph_id":"x",}',
    "data is text": b'{"id":"1","type":"node.work","data":"{}"}',
    "data is a list": b'{"id":"1","type":"node.work","data":[]}',
}


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_is_no_item_is_kept_as_it_came(wire: Wire, kind: str, stream: str) -> None:
    """It becomes a dead letter with all its fields, byte by byte; the entry is settled."""
    entry = wire.add(UNREADABLE[kind], stream)
    check_letter(wire.wait_letter(entry, stream), UNREADABLE[kind], entry, wire)
    wire.wait_gone(entry, stream)


def test_an_entry_without_data_is_kept_whole(wire: Wire) -> None:
    """An entry of other fields is a dead letter too, and what it held can be read there."""
    entry = bytes(wire.redis.xadd(WORK, {"payload": "keep me", b"\xff": b"\xfe"})).decode()  # type: ignore[arg-type]
    letter = wire.wait_letter(entry)
    assert letter["reason"] == b"invalid_item"
    assert any(b"keep me" in value for value in letter.values())
    wire.wait_gone(entry)


WRONG: dict[str, Callable[[str], Json]] = {
    "graph_id is a number": lambda g: {"graph_id": 5, "node_id": g},
    "config is a list": lambda g: named(g, config=[]),
    "config is a text": lambda g: named(g, config="tool"),
    "inputs is a list": lambda g: named(g, config=RENAMED, inputs=[1]),
    "deadline is no time": lambda g: named(g, config=RENAMED, inputs={}, deadline="tomorrow"),
    "deadline is a number": lambda g: named(g, config=RENAMED, inputs={}, deadline=5),
    "deadline without a zone": lambda g: named(g, config=RENAMED, inputs={}, deadline="2099-01-01T00:00:00"),
    "dependencies is a text": lambda g: named(g, config=RENAMED, inputs={}, dependencies="a,b"),
    "metadata is a list": lambda g: named(g, config=RENAMED, inputs={}, metadata=[1]),
    "state is a text": lambda g: {"id": "1", "type": "node.work", "data": named(g, state="x")},
    "another type of event": lambda g: {"id": "1", "type": "node.completed", "data": named(g, config=RENAMED)},
    "two graphs": lambda g: {"type": "node.work", "graph_id": "other", "data": named(g, config=RENAMED)},
    "node_type is an object": lambda g: named(g, node_type={}, config=RENAMED, inputs={}),
    "control characters": lambda g: {"graph_id": g + "\n\x00", "node_id": "n", "config": RENAMED, "inputs": {}},
    "empty node_id": lambda g: {"graph_id": g, "node_id": "", "config": RENAMED, "inputs": {}},
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_types_and_contradictions_are_kept(wire: Wire, kind: str) -> None:
    """What can't be decoded is a dead letter, with a `node.failed` where the names can be read."""
    graph_id = wire.new_graph()
    item = WRONG[kind](graph_id)
    entry = wire.add(item)
    check_letter(wire.wait_letter(entry), json.dumps(item).encode(), entry, wire)
    wire.wait_gone(entry)
    body = item.get("data", item)
    if body.get("graph_id") == graph_id and body["node_id"] == "n":
        (event,) = wire.results(graph_id)
        assert (event["type"], event["data"]["error_code"]) == ("node.failed", "invalid_item")


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("kind", ["graph's number", "node's number", "control characters", "in broken JSON"])
def test_names_that_no_item_may_have_are_answered(wire: Wire, kind: str, stream: str) -> None:
    """Whoever waits for the graph hears of it, a number as its text; the item is a dead letter as it came."""
    number = time.time_ns() % 10**9
    names: dict[str, tuple[object, object]] = {
        "graph's number": (number, "n"),
        "node's number": (f"g{number}", 7),
        "control characters": (f"g{number}\n\0", "n\x1b[2J"),
        "in broken JSON": (number, "n"),
    }
    graph, node = names[kind]
    data = json.dumps({"graph_id": graph, "node_id": node, "config": RENAMED}).encode()
    data = data[:-2] if kind == "in broken JSON" else data
    check_letter(wire.wait_letter(entry := wire.add(data, stream), stream), data, entry, wire)
    event = wire.wait_result(str(graph))
    assert (event["graph_id"], event["node_id"]) == (str(graph), str(node))
    assert (event["type"], event["data"]["error_code"]) == ("node.failed", "invalid_item")


@pytest.mark.parametrize("data", [b'{"graph_id":"%b","node_id":"n",', b'{"node_id": "n", "x": NaN, "graph_id" : "%b"}'])
def test_names_are_read_from_what_is_no_json(wire: Wire, data: bytes) -> None:
    """A cut item whose names can be made out gets its `node.failed`, and its node the state failed."""
    graph_id = wire.new_graph()
    wire.put_state(graph_id, inputs={"x": 1})
    wire.wait_letter(wire.add(data % graph_id.encode()))
    assert wire.wait_result(graph_id)["data"]["error_code"] == "invalid_item"
    assert wire.node_state(graph_id)["status"] == "failed"


def test_too_large_an_item_is_kept(wire: Wire) -> None:
    """Ten MiB: a dead letter with every byte, and a `node.failed`."""
    graph_id = wire.new_graph()
    data = json.dumps(named(graph_id, config=RENAMED, inputs={"x": "y" * 10 * 2**20})).encode()
    entry = wire.add(data)
    check_letter(wire.wait_letter(entry), data, entry, wire)
    assert wire.wait_result(graph_id)["data"]["error_code"] == "invalid_item"
    wire.wait_gone(entry)


@pytest.mark.parametrize(
    "config",
    [
        {"tool_name": 5},
        {"tool_name": ["a"]},
        {"tool_name": "renamed", "tool_params": []},
        {"tool_name": "renamed", "tool_params": "text"},
        {"tool_name": "renamed", "timeout": -1},
        {"tool_name": "renamed", "timeout": "soon"},
        {"tool_name": "plus", "extract_params": "x"},
        {"tool_name": "plus", "extract_params": {}},
        {"llm_config": []},
        {"llm_config": "gpt"},
        {"llm_config": {"prompt": 5}},
        {"llm_config": {"prompt": "p", "temperature": "hot"}},
        {"llm_config": {"prompt": "p", "max_tokens": -5}},
        {"llm_config": {"prompt": "p", "output_schema": "x"}},
        {"llm_config": {"prompt": "p", "output_schema": {"type": "nonsense"}}},
        {"llm_config": {"prompt": "p"}, "tools": "plus"},
        {"llm_config": {"prompt": "p"}, "tools": [5]},
        {"llm_config": {"prompt": "p"}, "tools": {"plus": 1}},
        {"llm_config": {"prompt": "p"}, "tools": ["plus"], "max_iterations": 0},
        {"llm_config": {"prompt": "p"}, "tools": ["plus"], "on_limit": "explode"},
        {"llm_config": {"prompt": "p"}, "tools": ["plus"], "budget": {"total_tokens": "many"}},
        {"llm_config": {"prompt": "p"}, "tools": ["plus"], "task": ["x"]},
    ],
)
def test_a_config_that_cant_be_run_is_invalid_node(wire: Wire, config: Json) -> None:
    """`invalid_node` on the wire, and no dead letter: there is nothing to run again."""
    graph_id = wire.new_graph()
    entry = wire.add(named(graph_id, config=config, inputs={}))
    data = wire.wait_result(graph_id)["data"]
    assert data["error_code"] == "invalid_node", data
    wire.wait_gone(entry)
    assert not wire.letters(entry)


@pytest.mark.parametrize("config", [{}, {"prompt": ""}, {"prompt": None}, {"prompt": " \n"}])
def test_a_node_without_a_prompt_is_given_its_inputs(wire: Wire, config: Json) -> None:
    """It runs as an agent without a task does: the model gets the inputs as JSON, and its answer is the output."""
    data = wire.run({"llm_config": config}, inputs={"topic": "tides"})
    assert data["mode"] == "llm", data
    assert data["output"]["content"]


def test_a_node_that_the_graph_does_not_know(wire: Wire) -> None:
    """No config in the item, none in the graph: `invalid_node`, with the node's name."""
    graphs: tuple[Any, ...] = (
        {"nodes": {"other": {"config": RENAMED}}},
        {"nodes": []},
        {},
        None,
        "x",
        {"nodes": {"n": {}}},
    )
    for graph in graphs:
        graph_id = wire.new_graph()
        wire.put_state(graph_id, graph=graph)
        wire.add({"id": "1", "type": "node.work", "data": named(graph_id)})
        data = wire.wait_result(graph_id)["data"]
        assert data["error_code"] == "invalid_node"
        assert "'n'" in data["error"] or '"n"' in data["error"]


def test_hostile_values_go_through_unharmed(wire: Wire) -> None:
    """Duplicate keys, huge integers, NUL and lone surrogates inside of values are values."""
    graph_id = wire.new_graph()
    head = f'{{"graph_id":"wrong","graph_id":"{graph_id}","node_id":"n",'.encode()
    value = b'{"big":' + b"7" * 100 + b',"nul":"a\\u0000b","half":"\\ud83d","dup":1,"dup":2}'
    config = b'"config":{"tool_name":"give_back","tool_params":{"value":"{{v}}"}},'
    wire.add(head + config + b'"inputs":{"v":' + value + b"}}")
    output = wire.wait_result(graph_id)["data"]["output"]
    assert output == {"big": int("7" * 100), "nul": "a\0b", "half": "\ud83d", "dup": 2}


@pytest.mark.parametrize("depth", [150, 250, 500, 900, 950, 985, 1000, 1100, 5000])
def test_deep_inputs_are_an_answer(wire: Wire, depth: int) -> None:
    """Inputs nested ever so deep complete or fail; the worker lives and the entry is settled."""
    graph_id = wire.new_graph()
    deep = b"[" * depth + b"]" * depth
    config = b'{"tool_name":"give_back","tool_params":{"value":"{{v}}"}}'
    entry = wire.add(
        b'{"graph_id":"%b","node_id":"n","config":%b,"inputs":{"v":%b}}' % (graph_id.encode(), config, deep)
    )
    data = wire.wait_result(graph_id)["data"]
    assert depth > 150 or data.get("error_code") is None
    assert data.get("error_code") in (None, "invalid_item", "template_error", "invalid_node", "tool_failed")
    wire.wait_gone(entry)


@pytest.mark.parametrize("depth", [150, 250, 900, 940, 960, 980, 990, 1100, 100_000])
def test_deep_outputs_are_an_answer(wire: Wire, depth: int) -> None:
    """What a tool returns may be too deep to be written: `tool_failed`, and the worker lives."""
    data = wire.run({"tool_name": "dig", "tool_params": {"depth": depth}})
    assert data.get("error_code") in ((None,) if depth < 250 else (None, "tool_failed"))


@pytest.mark.parametrize("depth", [150, 900, 960, 980, 985, 990, 1010, 1030])
def test_deep_states_are_an_answer(wire: Wire, depth: int) -> None:
    """A state nested deeply is used or refused; whichever it is, event and state agree."""
    graph_id = wire.new_graph()
    wire.redis.set(f"dago:state:{graph_id}", b'{"inputs":{"x":1},"deep":%b}' % (b"[" * depth + b"]" * depth))
    wire.add(named(graph_id, config={"tool_name": "give_back", "tool_params": {"value": "{{x}}"}}))
    event = wire.wait_result(graph_id)
    if event["type"] == "node.completed":
        assert b'"status":"completed"' in (wire.raw_state(graph_id) or b"")
    else:
        assert event["data"]["error_code"] == "state_invalid"


def test_bad_items_do_not_hold_up_good_ones(wire: Wire) -> None:
    """A hundred bad items before a good one: all are answered."""
    entries = [wire.add(b"bad %d" % number) for number in range(100)]
    assert wire.output(RENAMED) == "found by its other name"
    for entry in entries:
        wire.wait_letter(entry)
        wire.wait_gone(entry)


def test_a_dead_letter_counts(wire: Wire) -> None:
    """`dago_items_dead_total{reason}` grows by one."""
    name = 'dago_items_dead_total{reason="invalid_item"}'
    before = wire.pool.metrics().get(name, 0)
    wire.wait_letter(wire.add(b"no"))
    wait_until(lambda: wire.pool.metrics()[name] == before + 1, 5, "it is counted")


def test_max_item_bytes(start: Callable[..., Wire], room: Path) -> None:
    """An item of exactly MAX_ITEM_BYTES runs, one of a byte more is a dead letter."""
    (room / "bytes").mkdir()
    server = RedisServer(room / "bytes")
    try:
        small = start(server, workers=1, MAX_ITEM_BYTES="1000")
        graph_id = small.new_graph()
        item = json.dumps(named(graph_id, config=RENAMED, inputs={"x": ""})).encode()
        fitting = item.replace(b'"x": ""', b'"x": "' + b"y" * (1000 - len(item)) + b'"')
        assert len(fitting) == 1000
        small.add(fitting)
        assert small.wait_result(graph_id)["type"] == "node.completed"
        entry = small.add(fitting + b" ")
        assert small.wait_letter(entry)["data"] == fitting + b" "
        assert small.wait_result(graph_id, count=2)["data"]["error_code"] == "invalid_item"
        assert small.pool.drain() == 0
    finally:
        server.close()
