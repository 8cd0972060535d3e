"""`dead`: what could not be run, looked at, put back, dropped."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.kit import RedisServer
from tests.system.cli.conftest import Run

PLAIN, EVENTS = "executor.work", "dago:events:executor.work"
ITEM = json.dumps({"id": "w1", "type": "node.work", "data": {"graph_id": "g", "node_id": "n"}})


def bury(server: RedisServer, data: str = ITEM, stream: str = PLAIN, **fields: str) -> str:
    """Put a dead letter where the pool puts them; return its id."""
    letter = {"data": data, "original_id": "1-1", "reason": "poisoned", "error": "killed its\nworker"}
    letter |= {"deliveries": "5", "consumer": "a.1", "failed_at": "2026-11-21T12:00:00.000Z", **fields}
    client: Any = server.client()
    ident: bytes = client.xadd(f"{stream}:dead", letter)
    return ident.decode()


def test_letters_of_both_streams_are_listed(run: Run, redis_server: RedisServer) -> None:
    """In columns, one line each whatever the error says."""
    one, two = bury(redis_server), bury(redis_server, "not json", EVENTS, original_id="2-2", reason="invalid_item")
    done = run("dead", "list", **redis_server.env)
    head, first, second = done.out.splitlines()
    assert head.split()[:2] == ["ID", "STREAM"]
    assert first.split()[:2] == [one, PLAIN]
    assert "killed its worker" in first
    assert second.split()[:2] == [two, EVENTS]


def test_a_cause_is_not_cut(run: Run, redis_server: RedisServer, terminal: Any) -> None:
    """What is to be done stands at its end often; a terminal shows it on several lines."""
    cause = " ".join(f"word{number}" for number in range(60))
    bury(redis_server, error=cause)
    assert cause in run("dead", "list", **redis_server.env).out
    shown = terminal("dead", "list", **redis_server.env)
    assert shown.wait() == 0
    assert all(f"word{number}" in shown.shown for number in range(60))


def test_letters_are_listed_as_json(run: Run, redis_server: RedisServer) -> None:
    """Without their data, which may be large."""
    ident = bury(redis_server)
    assert run("dead", "list", "--json", **redis_server.env).json == [
        {
            "id": ident,
            "stream": PLAIN,
            "original_id": "1-1",
            "graph_id": "g",
            "node_id": "n",
            "reason": "poisoned",
            "error": "killed its\nworker",
            "deliveries": 5,
            "consumer": "a.1",
            "failed_at": "2026-11-21T12:00:00.000Z",
            "bytes": len(ITEM),
        }
    ]


def test_no_letters_are_an_empty_list(run: Run, redis_server: RedisServer) -> None:
    """Not an error."""
    assert run("dead", "list", "--json", **redis_server.env).json == []
    done = run("dead", "list", **redis_server.env)
    assert (done.status, len(done.out.splitlines())) == (0, 1)
    assert "no dead letters" in done.err


def test_only_so_many_are_listed(run: Run, redis_server: RedisServer) -> None:
    """And it is said that there are more."""
    for _ in range(3):
        bury(redis_server)
    done = run("dead", "list", "--limit", "2", "--json", **redis_server.env)
    assert len(done.json) == 2
    assert "more" in done.err


@pytest.mark.parametrize(("data", "shown"), [(ITEM, json.loads(ITEM)), ("not json", "not json")])
def test_a_letter_is_shown_whole(run: Run, redis_server: RedisServer, data: str, shown: Any) -> None:
    """By its own id or by the one its item had; the data as JSON where it is some."""
    ident = bury(redis_server, data)
    assert run("dead", "show", ident, **redis_server.env).json["data"] == shown
    assert run("dead", "show", "1-1", **redis_server.env).json["id"] == ident


def test_a_letter_is_put_back_with_its_state(run: Run, redis_server: RedisServer) -> None:
    """Data as it came; the node pending, the mark gone, the graph running again."""
    client: Any = redis_server.client()
    node = {"node_id": "n", "status": "failed", "error": "x", "metadata": {"work_id": "w1", "mine": 1}}
    client.set("dago:state:g", json.dumps({"graph_id": "g", "status": "failed", "node_states": {"n": node}}))
    ident = bury(redis_server)
    done = run("dead", "requeue", ident, **redis_server.env)
    assert done.status == 0, done
    ((entry, fields),) = client.xrange(PLAIN)
    assert fields == {b"data": ITEM.encode()}
    assert done.out == f"{ident} is back on {PLAIN} as {entry.decode()}\n"
    state = json.loads(client.get("dago:state:g") or b"")
    assert state["status"] == "running"
    assert state["node_states"]["n"]["status"] == "pending"
    assert state["node_states"]["n"]["metadata"] == {"mine": 1}
    assert client.xlen(f"{PLAIN}:dead") == 0


def test_an_entry_without_data_is_shown_and_put_back_as_it_was(run: Run, redis_server: RedisServer) -> None:
    """It is no item, but it is all that its author has."""
    ident = bury(redis_server, "", fields='{"payload":"{}","n":"\\\\xff"}')
    kept = {"payload": "{}", "n": "\\xff"}
    assert run("dead", "show", ident, **redis_server.env).json["fields"] == kept
    assert run("dead", "requeue", ident, **redis_server.env).status == 0
    client: Any = redis_server.client()
    ((_, fields),) = client.xrange(PLAIN)
    assert fields == {name.encode(): text.encode() for name, text in kept.items()}


def test_all_letters_are_put_back(run: Run, redis_server: RedisServer) -> None:
    """Each on its own stream; none is no error."""
    bury(redis_server)
    bury(redis_server, stream=EVENTS)
    assert run("dead", "requeue", "--all", **redis_server.env).status == 0
    client: Any = redis_server.client()
    assert (client.xlen(PLAIN), client.xlen(EVENTS)) == (1, 1)
    done = run("dead", "requeue", "--all", **redis_server.env)
    assert (done.status, done.out) == (0, "")
    assert "no dead letters" in done.err


def test_letters_are_dropped(run: Run, redis_server: RedisServer) -> None:
    """Those named, and no others."""
    ids = [bury(redis_server) for _ in range(3)]
    done = run("dead", "drop", *ids[:2], **redis_server.env)
    assert (done.status, done.out) == (0, f"{ids[0]} dropped\n{ids[1]} dropped\n")
    assert [one["id"] for one in run("dead", "list", "--json", **redis_server.env).json] == [ids[2]]


def test_all_letters_are_dropped(run: Run, redis_server: RedisServer) -> None:
    """Of all streams; none is no error, and nothing named is wrong usage."""
    first, second = bury(redis_server), bury(redis_server, stream=EVENTS)
    done = run("dead", "drop", "--all", **redis_server.env)
    assert (done.status, done.out) == (0, f"{first} dropped\n{second} dropped\n")
    done = run("dead", "drop", "--all", **redis_server.env)
    assert (done.status, done.out) == (0, "") and "no dead letters" in done.err
    assert run("dead", "drop", **redis_server.env).status == 2


@pytest.mark.parametrize("action", ["show", "requeue", "drop"])
@pytest.mark.parametrize("ident", ["9-9", "nonsense", "-", "+"])
def test_an_unknown_id_is_status_1(run: Run, redis_server: RedisServer, action: str, ident: str) -> None:
    """In a sentence that names it."""
    bury(redis_server)
    done = run("dead", action, "--", ident, **redis_server.env)
    assert (done.status, done.out) == (1, "")
    assert f"no dead letter {ident!r}" in done.err


def test_those_that_are_there_are_done_all_the_same(run: Run, redis_server: RedisServer) -> None:
    """Then it is said which were not."""
    ident = bury(redis_server)
    done = run("dead", "drop", "9-9", ident, **redis_server.env)
    assert done.status == 1
    assert done.out == f"{ident} dropped\n"
    assert "'9-9'" in done.err
