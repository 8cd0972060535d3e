"""From a taken entry to a ticket; no Redis here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from executor_worker.broker import Held, Taken
from executor_worker.errors import StreamUnavailable
from executor_worker.outcome import Failed
from executor_worker.worker.intake import Intake, Limits, Ticket

NOW = 1_800_000_000.0
CONFIG = {"tool_name": "t"}


class Documents:
    """States by key; remembers what was read."""

    def __init__(self, **states: Any) -> None:
        self.states = {f"dago:state:{name}": state for name, state in states.items()}
        self.read: list[str] = []

    def __call__(self, key: str) -> bytes | None:
        self.read.append(key)
        state = self.states.get(key)
        return state if state is None or isinstance(state, bytes) else json.dumps(state).encode()


def held(count: int = 1, uncounted: int = 0) -> Held:
    return Held("executor.work", "1-1", count, "w.1", uncounted)


def item(**members: Any) -> bytes:
    return json.dumps({"graph_id": "g", "node_id": "n", "config": CONFIG} | members).encode()


def opened(
    data: bytes | None, documents: Documents | None = None, *, at: Held | None = None, verdict: str = "", **limits: Any
) -> Ticket:
    settings = {"node_timeout_s": 900.0, "max_deliveries": 5, "max_item_bytes": 2**20} | limits
    intake = Intake(Limits(**settings), documents or Documents(g={}), wall=lambda: NOW)
    return intake.open(Taken(at or held(), data, {}), verdict)


def code(ticket: Ticket) -> str:
    assert isinstance(ticket.outcome, Failed) and ticket.task is None
    return ticket.outcome.code


def test_a_plain_item_becomes_a_task() -> None:
    """Inputs of the item over those of the state, outputs of the nodes that have one, statuses of the others."""
    nodes = {"a": {"status": "completed", "output": 1}, "b": {"status": "running"}}
    ticket = opened(item(inputs={"x": 2}), Documents(g={"inputs": {"x": 1, "y": 1}, "node_states": nodes}))
    assert ticket.task is not None and ticket.outcome is None
    assert ticket.task.inputs == {"x": 2, "y": 1}
    assert ticket.task.outputs == {"a": 1}
    assert ticket.task.unfinished == {"b": "running"}
    assert (ticket.seconds, ticket.attempt, ticket.label) == (900.0, 1, "g/n")


def test_the_state_that_came_along_is_not_read_again() -> None:
    """Only where the script guessed another graph is the state read on its own."""
    documents = Documents(g={"inputs": {"x": "read"}})
    intake = Intake(Limits(9, 5, 2**20), documents, wall=lambda: NOW)
    along = Taken(held(), item(), {}, state_key="dago:state:g", state=b'{"inputs":{"x":"along"}}')
    task = intake.open(along).task
    assert task is not None and task.inputs == {"x": "along"}
    wrong = Taken(held(), item(), {}, state_key="dago:state:other", state=b"{}")
    task = intake.open(wrong).task
    assert task is not None and task.inputs == {"x": "read"}
    assert documents.read == ["dago:state:g"]


@pytest.mark.parametrize(
    ("data", "named"), [(None, False), (b"x", False), (b'{"graph_id":"g","node_id":"n","x":', True)]
)
def test_what_is_no_item_is_dead(data: bytes | None, named: bool) -> None:
    """It goes to the dead letters, with the names that could be read."""
    ticket = opened(data)
    assert (code(ticket), ticket.dead_reason) == ("invalid_item", "invalid_item")
    assert bool(ticket.graph_id) is named
    assert ticket.keep_state is not named


def test_a_deadline_shortens_the_time() -> None:
    """The least of NODE_TIMEOUT, the item's deadline and the node's own timeout counts."""
    soon = "2027-01-15T08:00:05Z"
    assert opened(item(deadline=soon)).seconds == pytest.approx(5)
    assert opened(item(deadline=soon, config={**CONFIG, "timeout": 2})).seconds == 2
    assert opened(item(config={**CONFIG, "timeout": 5000})).seconds == 900
    for odd in ("soon", -1, True, 0, None, 1e300):
        assert opened(item(config={**CONFIG, "timeout": odd})).seconds == 900
    assert code(opened(item(deadline="2027-01-15T07:59:59Z"))) == "node_timeout"


def test_the_graphs_config_is_found() -> None:
    """In the graph's nodes by id; without one the node can't be run."""
    data = item(config=None)
    ticket = opened(data, Documents(g={"graph": {"nodes": {"n": {"config": {"tool_name": "its"}}}}}))
    assert ticket.task is not None and ticket.task.config == {"tool_name": "its"}
    assert code(opened(data, Documents(g={"graph": {"nodes": {}}}))) == "invalid_node"
    assert code(opened(item(config=None, inputs={}), Documents())) == "state_missing"


def test_no_state() -> None:
    """Inputs make up for it, `{}` too; nothing at all is `state_missing` and leaves no document."""
    assert opened(item(inputs={}), Documents()).task is not None
    ticket = opened(item(), Documents())
    assert code(ticket) == "state_missing"
    assert ticket.keep_state


@pytest.mark.parametrize("state", [b"", b"x", b"[]", b'{"node_states":[]}', b'{"status":1}'])
def test_a_spoilt_state(state: bytes) -> None:
    """`state_invalid`, and it is not touched."""
    ticket = opened(item(inputs={}), Documents(g=state))
    assert code(ticket) == "state_invalid"
    assert ticket.keep_state


@pytest.mark.parametrize("status", [b'["x"]', b"{}", b"1", b"[" * 1000 + b"]" * 1000])
def test_a_node_whose_status_is_no_text(status: bytes) -> None:
    """Nobody knows what it means: neither finished nor a reason to stop."""
    state = b'{"node_states":{"n":{"status":%b},"m":{"status":%b}}}' % (status, status)
    assert opened(item(id="w"), Documents(g=state)).task is not None
    assert code(opened(item(), Documents(g=b'{"status":"failed",' + state[1:]))) == "cancelled"


@pytest.mark.parametrize(("data", "dead"), [(item(), None), (b"{", "invalid_item")])
def test_what_nobody_has_thought_of_is_an_answer(
    data: bytes, dead: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would end one worker after the other; what could not be read is kept as well."""

    def break_down(*_: object) -> None:
        raise RecursionError("with words of the item")

    monkeypatch.setattr(f"executor_worker.worker.intake.{'_parse' if dead is None else 'decode'}", break_down)
    ticket = opened(data)
    assert (code(ticket), ticket.dead_reason) == ("internal", dead)
    assert isinstance(ticket.outcome, Failed) and "words" not in ticket.outcome.error


def test_a_redis_that_is_away_is_no_answer() -> None:
    """The item stays held."""

    def away(key: str) -> bytes | None:
        raise StreamUnavailable(key)

    intake = Intake(Limits(900.0, 5, 2**20), away)
    with pytest.raises(StreamUnavailable):
        intake.open(Taken(held(), item(), {}))


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_terminal_graph(status: str) -> None:
    """Not run; a result that stands there already stays, an unfinished node's state says why."""
    ticket = opened(item(), Documents(g={"status": status}))
    assert (code(ticket), ticket.keep_state, ticket.mode) == ("cancelled", False, "tool")
    done = {"n": {"status": "completed", "output": 1}}
    assert opened(item(), Documents(g={"status": status, "node_states": done})).keep_state


def test_an_item_that_has_been_run() -> None:
    """Its id in its node's finished state: repeat, whatever else is the matter with it."""
    mark = {"metadata": {"work_id": "w"}}
    for status in ("completed", "failed"):
        state = {"status": "cancelled", "node_states": {"n": {"status": status, **mark}}}
        ticket = opened(item(id="w", deadline="2000-01-01T00:00:00Z"), Documents(g=state), at=held(99), verdict="x")
        assert ticket.repeat and ticket.outcome is None and ticket.task is None
    running = {"node_states": {"n": {"status": "running", **mark}}}
    assert not opened(item(id="w"), Documents(g=running)).repeat
    assert not opened(item(id="v"), Documents(g={"node_states": {"n": {"status": "completed", **mark}}})).repeat


def test_an_entry_that_came_late_is_recognised() -> None:
    """Nobody has it any more and its node has its result: repeat. While it is held its id alone says nothing."""
    done = Documents(g={"node_states": {"n": {"status": "completed", "metadata": {"entry": "1-1"}}}})
    intake = Intake(Limits(900.0, 5, 2**20), done, wall=lambda: NOW)
    assert intake.open(Taken(held(), item(), {}, row_lost=True)).repeat
    assert not intake.open(Taken(held(), item(), {})).repeat
    fresh = Intake(Limits(900.0, 5, 2**20), Documents(g={"inputs": {}}), wall=lambda: NOW)
    assert not fresh.open(Taken(held(), item(), {}, row_lost=True)).repeat


def test_poison() -> None:
    """Run MAX_DELIVERIES times and no more; what was forgiven does not count."""
    assert opened(item(), at=held(5)).task is not None
    assert opened(item(), at=held(105, uncounted=100)).task is not None
    ticket = opened(item(), at=held(6))
    assert (code(ticket), ticket.dead_reason) == ("poisoned", "poisoned")


@pytest.mark.parametrize("verdict", ["node_timeout", "tool_timeout"])
def test_a_verdict_is_the_answer(verdict: str) -> None:
    """What the last worker was killed for is not run again, and no dead letter."""
    ticket = opened(item(), verdict=verdict)
    assert (code(ticket), ticket.dead_reason, ticket.mode) == (verdict, None, "tool")


def test_the_run_key_names_the_item_over_all_its_runs() -> None:
    """The envelope's id, else the place in the stream."""
    assert opened(item(id="w")).run_key == "w"
    assert opened(item(), at=held(3)).run_key == opened(item()).run_key == "executor.work/1-1"
