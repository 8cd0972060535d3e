"""`submit`: items onto their stream, results back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit import Pool, RedisServer
from tests.system.cli.conftest import Run

SUM = {"tool_name": "calculate", "tool_params": {"expression": "{{number}} * 2"}}
PLAIN, EVENTS = "executor.work", "dago:events:executor.work"


def item(node: str = "n", number: int = 21, **more: Any) -> dict[str, Any]:
    return {"graph_id": "g", "node_id": node, "config": SUM, "inputs": {"number": number}, **more}


def event(work_id: str, node: str = "n") -> dict[str, Any]:
    return {"id": work_id, "type": "node.work", "execution_id": "e1", "data": item(node)}


def on(server: RedisServer, stream: str) -> list[bytes]:
    client: Any = server.client()
    return [fields[b"data"] for _, fields in client.xrange(stream)]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (json.dumps(item()), 1),
        (json.dumps(item(), indent=2), 1),
        (json.dumps([item("a"), item("b")]), 2),
        (" [ \n" + json.dumps(item("a")) + "\n,\n" + json.dumps(item("b")) + "\n] \n", 2),
        ("\n".join(json.dumps(item(node)) for node in "abc") + "\n", 3),
        (json.dumps(item("a"), indent=1) + json.dumps(item("b")), 2),
        ("\ufeff" + json.dumps(item()), 1),
    ],
    ids=["object", "indented", "array", "array-spread-out", "lines", "one-after-the-other", "byte-order-mark"],
)
def test_items_come_as_object_array_or_lines(run: Run, redis_server: RedisServer, text: str, count: int) -> None:
    """And are told with the ids they got."""
    done = run("submit", "-", "--json", stdin=text, **redis_server.env)
    assert done.status == 0, done
    assert len(done.lines) == count == len(on(redis_server, PLAIN))
    assert done.lines[0].keys() == {"id", "stream", "graph_id", "node_id"}


def test_items_go_on_the_stream_as_they_are_written(run: Run, redis_server: RedisServer, folder: Path) -> None:
    """Huge integers, doubles, the order of keys, spaces: nothing is rounded or sorted."""
    item = b'{"inputs": {"z": 1.00}, "graph_id":"g",  "node_id": "n", "config": {"a": 123456789012345678901234567890}}'
    (folder / "items.json").write_bytes(b"[" + item + b", " + item + b"]")
    run("submit", "items.json", **redis_server.env)
    assert on(redis_server, PLAIN) == [item, item]


def test_each_form_goes_on_its_own_stream(run: Run, redis_server: RedisServer) -> None:
    """In the file's order."""
    text = json.dumps([item("a"), event("w1", "b"), item("c")])
    done = run("submit", "-", "--json", stdin=text, **redis_server.env)
    assert [line["stream"] for line in done.lines] == [PLAIN, EVENTS, PLAIN]
    assert [line["node_id"] for line in done.lines] == ["a", "b", "c"]
    assert len(on(redis_server, EVENTS)) == 1


def test_without_json_the_ids_stand_in_columns(run: Run, redis_server: RedisServer) -> None:
    """For people and for awk."""
    head, row = run("submit", "-", stdin=json.dumps(item()), **redis_server.env).out.splitlines()
    assert head.split() == ["ID", "STREAM", "GRAPH", "NODE"]
    assert row.split()[1:] == [PLAIN, "g", "n"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds nothing to do"),
        ("[]", "holds nothing to do"),
        ("{", "is not JSON"),
        ("[1", "is not JSON"),
        ('[{"graph_id": "g"},]', "is not JSON"),
        ("[] x", "is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("3", "item 1: the item is not a JSON object"),
        (json.dumps([item(), {"graph_id": "g"}]), "item 2: the item has no 'node_id'"),
    ],
)
def test_what_is_no_item_is_refused_and_nothing_submitted(
    run: Run, redis_server: RedisServer, text: str, said: str
) -> None:
    """A sentence for each, status 1."""
    done = run("submit", "-", stdin=text, **redis_server.env)
    assert (done.status, done.out) == (1, "")
    assert said in done.err
    assert on(redis_server, PLAIN) == []


def test_a_file_of_something_else_is_refused_briefly(run: Run) -> None:
    """Not with a line for each of its thousands."""
    done = run("submit", "-", stdin='{"name": "x"}\n' * 1000)
    assert done.status == 1
    assert done.err.splitlines()[-2:] == ["executor-worker: And 980 more.", "executor-worker: Nothing was submitted."]
    assert len(done.err.splitlines()) == 22


def test_the_state_is_stored_first(run: Run, redis_server: RedisServer, folder: Path) -> None:
    """Byte for byte, for STATE_TTL."""
    document = b'{"graph_id":"g",  "inputs": {"number": 1.00}}'
    (folder / "state.json").write_bytes(document + b"\n")
    done = run("submit", "-", "--state", "state.json", stdin=json.dumps(item()), STATE_TTL="1h", **redis_server.env)
    assert done.status == 0
    client = redis_server.client()
    assert client.get("dago:state:g") == document
    assert 3590 < client.ttl("dago:state:g") <= 3600


@pytest.mark.parametrize(("document", "said"), [("{", "not JSON"), ('{"graph_id": "other"}', "of the graph 'other'")])
def test_a_state_that_does_not_fit_is_refused(
    run: Run, redis_server: RedisServer, folder: Path, document: str, said: str
) -> None:
    """Nothing is stored, nothing submitted."""
    (folder / "state.json").write_text(document)
    done = run("submit", "-", "--state", "state.json", stdin=json.dumps(item()), **redis_server.env)
    assert done.status == 1
    assert said in done.err
    assert redis_server.client().keys("*") == []


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ('{"graph_id": 3}', "'graph_id' is not a non-empty string"),
        ('{"inputs": [1]}', "'inputs' is not an object"),
        ('{"graph": "g"}', "'graph' is not an object"),
        ('{"graph": {"nodes": 3}}', "'graph.nodes' is neither"),
        ('{"nodes": {"n": {}}}', "it is a graph, not a graph's state"),
        ('{"node_states": {"n": 3}}', "'node_states.n' is not an object"),
        ('{"node_states": {"n": {"node_id": "m"}}}', "has the 'node_id' 'm'"),
        ('{"input": {}}', "the state has no 'inputs', but 'input'"),
    ],
)
def test_a_state_of_another_shape_is_refused(
    run: Run, redis_server: RedisServer, folder: Path, document: str, said: str
) -> None:
    """By `submit`, where nothing is sent then, and by `once` alike."""
    (folder / "state.json").write_text(document)
    (folder / "item.json").write_text(json.dumps(item()))
    done = run("submit", "item.json", "--state", "state.json", **redis_server.env)
    assert done.status == 1 and said in done.err, done
    assert redis_server.client().keys("*") == []
    alone = run("once", "item.json", "--state", "state.json")
    assert (alone.status, alone.json["error_code"]) == (1, "state_invalid") and said in alone.json["error"]


def test_a_state_that_says_no_graph_fits_one_only(run: Run, redis_server: RedisServer, folder: Path) -> None:
    """Of several it is not guessed."""
    (folder / "state.json").write_text("{}")
    several = json.dumps([item(), item() | {"graph_id": "h"}])
    done = run("submit", "-", "--state", "state.json", stdin=several, **redis_server.env)
    assert done.status == 1 and "add it" in done.err
    assert redis_server.client().keys("*") == []
    assert run("submit", "-", "--state", "state.json", stdin=json.dumps(item()), **redis_server.env).status == 0


def test_a_state_that_exists_is_not_overwritten(run: Run, redis_server: RedisServer, folder: Path) -> None:
    """Results may be in it; --replace says that they are not wanted."""
    client: Any = redis_server.client()
    client.set("dago:state:g", b'{"graph_id":"g","node_states":{"a":{"output":1}}}')
    (folder / "state.json").write_text('{"graph_id":"g","inputs":{"number":1}}')
    arguments = ("submit", "-", "--state", "state.json")
    done = run(*arguments, stdin=json.dumps(item()), **redis_server.env)
    assert done.status == 1 and "--replace" in done.err and "Nothing was submitted" in done.err
    assert on(redis_server, PLAIN) == [] and b'"output":1' in client.get("dago:state:g")
    assert run(*arguments, "--replace", stdin=json.dumps(item()), **redis_server.env).status == 0
    assert client.get("dago:state:g") == b'{"graph_id":"g","inputs":{"number":1}}'


@pytest.mark.parametrize(
    ("state", "wanting", "said"),
    [
        (None, {"graph_id": "g", "node_id": "n", "config": SUM}, 'add "inputs" ({} will do) to the item'),
        (None, {"graph_id": "g", "node_id": "n", "inputs": {}}, 'add "config" to the item'),
        (None, {"graph_id": "g", "node_id": "n"}, 'add "inputs" and "config" to the item'),
        (None, {"id": "w", "type": "node.work", "data": {"graph_id": "g", "node_id": "n"}}, 'add "inputs"'),
        ({}, {"graph_id": "g", "node_id": "n"}, "has no node 'n' with one"),
        ({"graph": {"nodes": {"m": {"config": SUM}}}}, {"graph_id": "g", "node_id": "n"}, "has no node 'n' with one"),
        (b"[", {"graph_id": "g", "node_id": "n"}, "state_invalid"),
    ],
)
def test_what_lacks_a_state_is_seen_before_it_is_sent(
    run: Run, redis_server: RedisServer, state: Any, wanting: dict[str, Any], said: str
) -> None:
    """What to add is said, the item's place in the file too."""
    if state is not None:
        redis_server.client().set("dago:state:g", state if isinstance(state, bytes) else json.dumps(state))
    done = run("submit", "-", stdin=json.dumps([item(), wanting]), **redis_server.env)
    assert (done.status, done.out) == (1, "") and "item 2: " in done.err and said in done.err, done
    assert "Nothing was submitted" in done.err
    assert on(redis_server, PLAIN) == on(redis_server, EVENTS) == []


def test_what_a_state_has_is_not_asked_for(run: Run, redis_server: RedisServer, folder: Path) -> None:
    """Neither by what is stored already nor by what is stored first."""
    states = {name: {"graph_id": name, "graph": {"nodes": {"n": {"config": SUM}}}} for name in ("there", "first")}
    redis_server.client().set("dago:state:there", json.dumps(states["there"]))
    (folder / "state.json").write_text(json.dumps(states["first"]))
    items = json.dumps([{"graph_id": name, "node_id": "n"} for name in states])
    assert run("submit", "-", "--state", "state.json", stdin=items, **redis_server.env).status == 0
    assert len(on(redis_server, PLAIN)) == 2


def test_nobody_to_take_the_items_is_said(run: Run, redis_server: RedisServer) -> None:
    """They are put there all the same."""
    done = run("submit", "-", stdin=json.dumps(item()), **redis_server.env)
    assert done.status == 0 and "no pool takes from this Redis" in done.err
    beat = {"id": "vm.1", "status": "idle", "last_heartbeat": "2026-01-01T00:00:00Z", "metadata": {"pool": {}}}
    client = redis_server.client()
    client.set("dago:workers:vm.1", json.dumps(beat))
    assert run("submit", "-", stdin=json.dumps(item()), **redis_server.env).err == ""
    client.set("dago:workers:vm.1", json.dumps(beat | {"metadata": {"pool": {"paused": True}}}))
    assert "vm is paused" in run("submit", "-", stdin=json.dumps(item()), **redis_server.env).err


def test_unknown_fields_are_told_with_the_nearest(run: Run, redis_server: RedisServer) -> None:
    """On stderr, by the item's place; it is submitted all the same."""
    wrong = item(config={**SUM, "tool_parms": {}}, inptus={})
    done = run("submit", "-", stdin=json.dumps([item(), wrong]), **redis_server.env)
    assert done.status == 0
    assert "item 2: config.tool_parms is not a field and is ignored; did you mean tool_params?" in done.err
    assert "item 2: inptus is not a field and is ignored; did you mean inputs?" in done.err and "item 1" not in done.err
    assert len(on(redis_server, PLAIN)) == 2


def test_waiting_ends_with_the_time_given(run: Run, redis_server: RedisServer) -> None:
    """No pool: no result; status 1, the item stays."""
    done = run("submit", "-", "--wait", "--timeout", "300ms", stdin=json.dumps(item()), **redis_server.env)
    assert (done.status, done.out) == (1, "")
    assert "no result of g/n within 0.3 s" in done.err
    assert len(on(redis_server, PLAIN)) == 1


class TestOnAPool:
    """With workers that take what is submitted."""

    @pytest.fixture
    def pool(self, executor: Callable[..., Pool], redis_server: RedisServer) -> Pool:
        return executor(redis_server, workers=2)

    def test_results_are_printed_as_they_come(self, run: Run, pool: Pool, redis_server: RedisServer) -> None:
        """One JSON line each, those of others left out; a failure makes status 1."""
        redis_server.client().xadd("dago:events:node.completed", {"data": json.dumps({"graph_id": "g", "id": "old"})})
        items = [item("a", 1), item("b", 2), item("bad", config={"tool_name": "nobody"})]
        done = run("submit", "-", "--wait", stdin=json.dumps(items), **redis_server.env)
        assert done.status == 1
        results = {line["node_id"]: line for line in done.lines}
        assert {node: result["data"].get("output") for node, result in results.items()} == {"a": 2, "b": 4, "bad": None}
        assert results["bad"]["type"] == "node.failed"
        assert results["bad"]["data"]["error_code"] == "unknown_tool"
        assert done.err == ""

    def test_all_completed_is_status_0(self, run: Run, pool: Pool, redis_server: RedisServer) -> None:
        """Also for the event form, whose execution id comes back."""
        done = run("submit", "-", "--wait", stdin=json.dumps(event("w1")), **redis_server.env)
        assert done.status == 0, done
        assert (done.json["execution_id"], done.json["data"]["output"]) == ("e1", 42)

    def test_an_item_that_was_run_before_is_told_from_the_state(
        self, run: Run, pool: Pool, redis_server: RedisServer
    ) -> None:
        """The pool acknowledges it and writes no second event."""
        text = json.dumps(event("w1"))
        assert run("submit", "-", "--wait", stdin=text, **redis_server.env).status == 0
        done = run("submit", "-", "--wait", stdin=text, **redis_server.env)
        assert done.status == 0
        assert (done.json["data"]["output"], done.json["data"]["run_before"]) == (42, True)

    def test_the_same_node_twice_has_two_results(self, run: Run, pool: Pool, redis_server: RedisServer) -> None:
        """Results are counted, not only named."""
        done = run("submit", "-", "--wait", stdin=json.dumps([item(), item()]), **redis_server.env)
        assert len(done.lines) == 2

    def test_a_terminal_shows_progress_and_a_line_for_each_result(
        self, terminal: Any, pool: Pool, redis_server: RedisServer, folder: Path
    ) -> None:
        """As the demo does: what went well, what failed and why; JSON only for who asks for it."""
        (folder / "items.json").write_text(json.dumps([item(), item("bad", config={"tool_name": "nobody"})]))
        started = terminal("submit", "items.json", "--wait", **redis_server.env)
        started.wait_for("0 of 2 results")
        assert started.wait() == 1
        assert re.search(r"✓ .*g/n  .*  42.*\(tool, \d+\.\d\d s\)", started.shown), started.shown
        assert re.search(r"✗ .*g/bad.*unknown_tool: ", started.shown), started.shown
        assert '"output"' not in started.shown and "no pool" not in started.shown
        asked = terminal("submit", "items.json", "--wait", "--json", **redis_server.env)
        assert asked.wait() == 1
        assert '"output": 42' in asked.shown and "✓" not in asked.shown
