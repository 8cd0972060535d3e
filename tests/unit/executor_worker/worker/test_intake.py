"""From a claim to a decision; no Redis here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from executor_worker.broker import Held
from executor_worker.errors import StreamUnavailable
from executor_worker.outcome import Failed
from executor_worker.worker.item import Intake
from executor_worker.worker.kinds.document import DocumentWork
from executor_worker.worker.stages import Conclusion, Run
from tests.unit.executor_worker.worker.holders import StubHolder, claim, documents, held

NOW = 1_800_000_000.0
CONFIG = {"tool_name": "t"}


def item(**members: Any) -> bytes:
    return json.dumps({"graph_id": "g", "node_id": "n", "config": CONFIG} | members).encode()


def opened(
    data: bytes | None,
    holder: StubHolder | None = None,
    *,
    at: Held | None = None,
    failure_code: str = "",
    delivery: dict[str, Any] | None = None,
    **limits: Any,
) -> DocumentWork:
    intake = Intake(documents(**limits), wall=lambda: NOW)
    work = intake.open(claim(data, holder or StubHolder(g={}), at=at, **(delivery or {})), failure_code)
    assert isinstance(work, DocumentWork)
    return work


def run_of(work: DocumentWork) -> Run:
    assert isinstance(work.decision, Run)
    return work.decision


def answer_to(work: DocumentWork) -> Conclusion:
    assert isinstance(work.decision, Conclusion)
    return work.decision


def code(work: DocumentWork) -> str:
    outcome = answer_to(work).outcome
    assert isinstance(outcome, Failed)
    return outcome.code


def is_repeated(work: DocumentWork) -> bool:
    return work.decision == Conclusion(None)


def test_a_plain_item_becomes_a_task() -> None:
    """Inputs of the item over those of the state, outputs of the nodes that have one, statuses of the others."""
    nodes = {"a": {"status": "completed", "output": 1}, "b": {"status": "running"}}
    work = opened(item(inputs={"x": 2}), StubHolder(g={"inputs": {"x": 1, "y": 1}, "node_states": nodes}))
    run = run_of(work)
    assert run.task.inputs == {"x": 2, "y": 1}
    assert run.task.outputs == {"a": 1}
    assert run.task.unfinished == {"b": "running"}
    assert (run.seconds, work.attempt, work.graph_id, work.node_id) == (900.0, 1, "g", "n")


def test_the_state_that_came_along_is_not_read_again() -> None:
    """Only where the script guessed another graph is the state read on its own."""
    holder = StubHolder(g={"inputs": {"x": "read"}})
    along = {"brought": [b"dago:state:g", b'{"inputs":{"x":"along"}}']}
    assert run_of(opened(item(), holder, delivery=along)).task.inputs == {"x": "along"}
    wrong = {"brought": [b"dago:state:other", b"{}"]}
    assert run_of(opened(item(), holder, delivery=wrong)).task.inputs == {"x": "read"}
    assert holder.read == ["dago:state:g"]


@pytest.mark.parametrize(
    ("data", "named"), [(None, False), (b"x", False), (b'{"graph_id":"g","node_id":"n","x":', True)]
)
def test_what_is_no_item_is_dead(data: bytes | None, named: bool) -> None:
    """It goes to the dead letters, with the names that could be read."""
    work = opened(data)
    assert (code(work), answer_to(work).dead_reason) == ("invalid_item", "invalid_item")
    assert bool(work.graph_id) is named
    assert work.keep_state is not named


def test_a_deadline_shortens_the_time() -> None:
    """The least of NODE_TIMEOUT, the item's deadline and the node's own timeout counts."""
    soon = "2027-01-15T08:00:05Z"
    assert run_of(opened(item(deadline=soon))).seconds == pytest.approx(5)
    assert run_of(opened(item(deadline=soon, config={**CONFIG, "timeout": 2}))).seconds == 2
    assert run_of(opened(item(config={**CONFIG, "timeout": 5000}))).seconds == 900
    for odd in ("soon", -1, True, 0, None, 1e300):
        assert run_of(opened(item(config={**CONFIG, "timeout": odd}))).seconds == 900
    assert code(opened(item(deadline="2027-01-15T07:59:59Z"))) == "node_timeout"


def test_the_graphs_config_is_found() -> None:
    """In the graph's nodes by id; without one the node can't be run."""
    data = item(config=None)
    work = opened(data, StubHolder(g={"graph": {"nodes": {"n": {"config": {"tool_name": "its"}}}}}))
    assert run_of(work).task.config == {"tool_name": "its"}
    assert code(opened(data, StubHolder(g={"graph": {"nodes": {}}}))) == "invalid_node"
    assert code(opened(item(config=None, inputs={}), StubHolder())) == "state_missing"


def test_no_state() -> None:
    """Inputs make up for it, `{}` too; nothing at all is `state_missing` and leaves no document."""
    run_of(opened(item(inputs={}), StubHolder()))
    work = opened(item(), StubHolder())
    assert code(work) == "state_missing"
    assert work.keep_state


@pytest.mark.parametrize("state", [b"", b"x", b"[]", b'{"node_states":[]}', b'{"status":1}'])
def test_a_spoilt_state(state: bytes) -> None:
    """`state_invalid`, and it is not touched."""
    work = opened(item(inputs={}), StubHolder(g=state))
    assert code(work) == "state_invalid"
    assert work.keep_state


@pytest.mark.parametrize("status", [b'["x"]', b"{}", b"1", b"[" * 1000 + b"]" * 1000])
def test_a_node_whose_status_is_no_text(status: bytes) -> None:
    """Nobody knows what it means: neither finished nor a reason to stop."""
    state = b'{"node_states":{"n":{"status":%b},"m":{"status":%b}}}' % (status, status)
    run_of(opened(item(id="w"), StubHolder(g=state)))
    assert code(opened(item(), StubHolder(g=b'{"status":"failed",' + state[1:]))) == "cancelled"


@pytest.mark.parametrize(("data", "dead"), [(item(), None), (b"{", "invalid_item")])
def test_what_nobody_has_thought_of_is_an_answer(
    data: bytes, dead: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would end one worker after the other; what could not be read is kept as well."""

    def break_down(*_: object) -> None:
        raise RecursionError("with words of the item")

    monkeypatch.setattr(
        f"executor_worker.worker.kinds.document.{'GraphState.parse' if dead is None else 'decode'}", break_down
    )
    work = opened(data)
    assert (code(work), answer_to(work).dead_reason) == ("internal", dead)
    assert "words" not in str(answer_to(work).outcome)


def test_a_redis_that_is_away_is_no_answer() -> None:
    """The item stays held."""

    class Away(StubHolder):
        def read_state(self, key: str) -> bytes | None:
            raise StreamUnavailable(key)

    with pytest.raises(StreamUnavailable):
        opened(item(), Away())


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_terminal_graph(status: str) -> None:
    """Not run; a result that stands there already stays, an unfinished node's state says why."""
    work = opened(item(), StubHolder(g={"status": status}))
    assert (code(work), work.keep_state, work.mode) == ("cancelled", False, "tool")
    done = {"n": {"status": "completed", "output": 1}}
    assert opened(item(), StubHolder(g={"status": status, "node_states": done})).keep_state


def test_an_item_that_has_been_run() -> None:
    """Its id in its node's finished state: repeat, whatever else is the matter with it."""
    mark = {"metadata": {"work_id": "w"}}
    for status in ("completed", "failed"):
        state = {"status": "cancelled", "node_states": {"n": {"status": status, **mark}}}
        work = opened(item(id="w", deadline="2000-01-01T00:00:00Z"), StubHolder(g=state), at=held(99), failure_code="x")
        assert is_repeated(work)
    running = {"node_states": {"n": {"status": "running", **mark}}}
    assert not is_repeated(opened(item(id="w"), StubHolder(g=running)))
    assert not is_repeated(opened(item(id="v"), StubHolder(g={"node_states": {"n": {"status": "completed", **mark}}})))


def test_an_entry_that_came_late_is_recognised() -> None:
    """Nobody has it any more and its node has its result: repeat. While it is held its id alone says nothing."""
    done = StubHolder(g={"node_states": {"n": {"status": "completed", "metadata": {"entry": "1-1"}}}})
    lost = {"row_lost": True}
    assert is_repeated(opened(item(), done, delivery=lost))
    assert not is_repeated(opened(item(), done))
    assert not is_repeated(opened(item(), StubHolder(g={"inputs": {}}), delivery=lost))


def test_poison() -> None:
    """Run MAX_DELIVERIES times and no more; what was forgiven does not count."""
    run_of(opened(item(), at=held(5)))
    run_of(opened(item(), at=held(105, uncounted=100)))
    work = opened(item(), at=held(6))
    assert (code(work), answer_to(work).dead_reason) == ("poisoned", "poisoned")


@pytest.mark.parametrize("failure_code", ["node_timeout", "tool_timeout"])
def test_a_kill_for_the_item_is_its_answer(failure_code: str) -> None:
    """What the last worker was killed for is not run again, and no dead letter."""
    work = opened(item(), failure_code=failure_code)
    assert (code(work), answer_to(work).dead_reason, work.mode) == (failure_code, None, "tool")


def test_the_run_key_names_the_item_over_all_its_runs() -> None:
    """The envelope's id, else the place in the stream."""
    assert opened(item(id="w")).run_key == "w"
    assert opened(item(), at=held(3)).run_key == opened(item()).run_key == "executor.work/1-1"
