"""From a conclusion to one commit; whoever holds the item answers as Redis would."""

from __future__ import annotations

import json
from typing import Any

import pytest

from executor_worker.broker import COMPLETED_STREAM, FAILED_STREAM, DocumentCommit, Settled
from executor_worker.envelopes.events import rfc3339
from executor_worker.errors import StreamUnavailable
from executor_worker.outcome import Completed, Failed, Outcome, Usage
from executor_worker.worker.item import Intake, Settler
from executor_worker.worker.kinds.document import DocumentWork
from executor_worker.worker.result import Result
from executor_worker.worker.stages import Conclusion
from tests.unit.executor_worker.worker.holders import StubHolder, claim, documents, held

NOW = 1_800_000_000.0
STATE = b'{"graph_id":"g","inputs":{"x":1.00},"node_states":{}}'


class Bench:
    """
    An item and what it came to, to be settled with a holder that answers as told.

    Attributes:
        work: The item.
    """

    def __init__(
        self, *answers: Any, state: bytes | None = STATE, data: dict[str, Any] | None = None, count: int = 1
    ) -> None:
        self.holder = StubHolder(*answers, g=state)
        body = {"graph_id": "g", "node_id": "n", "config": {"tool_name": "t"}} | (data or {})
        intake = Intake(documents(node_timeout_s=9), wall=lambda: NOW, clock=lambda: 100.0)
        self.work = intake.open(claim(json.dumps(body).encode(), self.holder, at=held(count)))

    def settle(self, outcome: Outcome | None = None, *, tries: int = 0, jumped_s: float = 0.0) -> Result:
        def wall() -> float:
            return NOW + 1.5 + jumped_s

        conclusion = self.work.decision if outcome is None else Conclusion(outcome)
        assert isinstance(conclusion, Conclusion)
        settler = Settler(documents(node_timeout_s=9), "w.1", lambda number: number <= tries, wall, lambda: 101.5)
        return settler.settle(self.work, conclusion, lambda: True)

    @property
    def commits(self) -> list[DocumentCommit]:
        return self.holder.commits

    @property
    def forced(self) -> list[bool]:
        return self.holder.forced


def event(commit: DocumentCommit) -> dict[str, Any]:
    ((_, raw),) = commit.events
    return dict(json.loads(raw))


def test_a_completed_node_is_one_commit() -> None:
    """State, event and acknowledgement in one; the state only if it is what was read."""
    bench = Bench()
    assert bench.settle(Completed({"a": 1}, "tool")).settled
    (commit,) = bench.commits
    assert (commit.state_key, commit.ttl_s, commit.failure, commit.dead) == ("dago:state:g", 60, False, None)
    assert commit.expected and commit.document.startswith(b'{"graph_id":"g","inputs":{"x":1.00},"node_states":{"n":')
    assert commit.events[0][0] == COMPLETED_STREAM
    assert event(commit)["data"]["duration_ms"] == 1500


@pytest.mark.parametrize("jumped_s", [7200.0, -7200.0])
def test_how_long_it_took_is_true_when_the_clock_jumps(jumped_s: float) -> None:
    """Only when it ended is told by the clock of the wall."""
    bench = Bench()
    bench.settle(Completed({"a": 1}, "tool"), jumped_s=jumped_s)
    told = event(bench.commits[0])
    assert told["data"]["duration_ms"] == 1500
    assert told["timestamp"] == rfc3339(NOW + 1.5 + jumped_s)


def test_a_failed_node_says_what_it_cost() -> None:
    """The failure's own details and the usage stand in `data`."""
    bench = Bench()
    bench.settle(Failed("it broke", "tool_failed", "agent", Usage(3, 4), {"iterations": 2}))
    (commit,) = bench.commits
    assert commit.failure and commit.events[0][0] == FAILED_STREAM
    data = event(commit)["data"]
    assert (data["error"], data["error_code"], data["iterations"]) == ("it broke", "tool_failed", 2)
    assert data["usage"] == {"input_tokens": 3, "output_tokens": 4}


def test_a_conflict_is_merged_and_tried_again() -> None:
    """Somebody else's change stays; the event is the same one."""
    newer = b'{"graph_id":"g","inputs":{"x":1.00},"node_states":{"m":{"status":"completed"}}}'
    bench = Bench((Settled.conflict, newer, None), (Settled.conflict, None, None))
    assert bench.settle(Completed(1, "tool")).settled
    first, second, third = bench.commits
    assert b'"m":{"status":"completed"}' in second.document and b'"n":' in second.document
    assert third.expected == b"", "it expired meanwhile: made anew from what was read"
    assert third.document == first.document
    assert first.events == second.events == third.events


def test_a_lost_reply_is_repeated_until_there_is_one() -> None:
    """The same commit again; its own commit found is settled too."""
    bench = Bench(StreamUnavailable("x"), StreamUnavailable("x"), (Settled.already, None, None))
    assert bench.settle(Completed(1, "tool"), tries=5).settled
    assert len({commit.events[0] for commit in bench.commits}) == 1


def test_whoever_waits_may_give_up() -> None:
    """Then nobody knows whether it was committed."""
    bench = Bench(*[StreamUnavailable("x")] * 3)
    with pytest.raises(StreamUnavailable):
        bench.settle(Completed(1, "tool"), tries=1)


def test_a_fenced_run_has_written_nothing() -> None:
    """Not settled, and not tried again."""
    bench = Bench((Settled.fenced, None, None))
    assert not bench.settle(Completed(1, "tool")).settled
    assert len(bench.commits) == 1


def test_a_trimmed_entry_is_committed_by_force_once() -> None:
    """Only where nobody has settled the node since."""
    bench = Bench((Settled.trimmed, STATE, None))
    result = bench.settle(Completed(1, "tool"))
    assert result.settled and result.trimmed
    assert bench.forced == [False, True]
    settled = b'{"node_states":{"n":{"status":"completed","metadata":{"entry":"1-1","delivery":2}}}}'
    bench = Bench((Settled.trimmed, settled, None))
    assert not bench.settle(Completed(1, "tool")).settled
    assert bench.forced == [False]


def test_an_entry_that_was_settled_before_its_state_was_read_is_not_forced() -> None:
    """It came late, after somebody else had settled it: the state was the same before and after, and says so."""
    done = b'{"node_states":{"n":{"status":"completed","metadata":{"entry":"1-1"}}}}'
    bench = Bench((Settled.trimmed, done, None), state=done)
    assert not bench.settle(Completed(1, "tool")).settled
    assert bench.forced == [False]


def test_force_ends_with_a_conflict() -> None:
    """Two that both found the entry gone: the second one finds the first one's result, and writes nothing."""
    done = b'{"node_states":{"n":{"status":"completed","metadata":{"entry":"1-1"}}}}'
    answers = (Settled.trimmed, STATE, None), (Settled.conflict, done, None), (Settled.trimmed, done, None)
    bench = Bench(*answers)
    assert not bench.settle(Completed(1, "tool")).settled
    assert bench.forced == [False, True, False]


def test_what_was_recorded_may_be_gone_with_the_state() -> None:
    """Somebody else has settled it, the graph ended and was cleared away: nothing is written into the void."""
    bench = Bench((Settled.trimmed, None, None))
    assert not bench.settle(Completed(1, "tool")).settled
    assert bench.forced == [False]
    bench = Bench((Settled.trimmed, None, None), state=None, data={"inputs": {}})
    assert bench.settle(Completed(1, "tool")).trimmed, "there never was a state"


def test_a_repeat_writes_nothing() -> None:
    """Acknowledged only."""
    done = b'{"node_states":{"n":{"status":"completed","metadata":{"work_id":"w"}}}}'
    bench = Bench(state=done, data={"id": "w"})
    bench.settle()
    (commit,) = bench.commits
    assert (commit.expected, commit.events, commit.dead) == (None, [], None)


def test_a_poisoned_item_is_kept() -> None:
    """The letter says how often it was run, the event the last attempt."""
    bench = Bench(count=6)
    bench.settle()
    (commit,) = bench.commits
    assert commit.dead is not None
    assert (commit.dead["reason"], commit.dead["deliveries"], commit.dead["original_id"]) == ("poisoned", "5", "1-1")
    assert event(commit)["data"]["attempt"] == 5


def test_a_document_is_made_of_inputs() -> None:
    """Where there was none it must still not be there."""
    bench = Bench(state=None, data={"inputs": {"x": 2**70}})
    bench.settle(Completed(None, "tool"))
    (commit,) = bench.commits
    assert commit.expected == b""
    assert json.loads(commit.document)["inputs"] == {"x": 2**70}


def deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(("mode", "code"), [("tool", "tool_failed"), ("llm", "llm_bad_response")])
def test_an_output_that_cant_be_written_is_a_failure(mode: Any, code: str) -> None:
    """The worker must not die of it: it would be run again, and die again."""
    config = {"tool_name": "t"} if mode == "tool" else {"llm_config": {"prompt": "p"}}
    bench = Bench(data={"config": config})
    assert bench.settle(Completed(deep(100_000), mode, Usage(1, 1))).settled
    data = event(bench.commits[0])["data"]
    assert (data["error_code"], data["mode"], data["usage"]["input_tokens"]) == (code, mode, 1)
    assert b'"status":"failed"' in bench.commits[0].document


def test_output_and_state_that_cant_be_written_are_one_failure() -> None:
    """The worker must not die of both any more than of one."""
    bench = Bench((Settled.conflict, b"garbage", None))
    assert isinstance(bench.work, DocumentWork)
    bench.work.state = b"garbage"
    assert bench.settle(Completed(deep(100_000), "tool")).settled
    last = bench.commits[-1]
    assert (last.expected, event(last)["data"]["error_code"]) == (None, "state_invalid")


def test_a_state_spoilt_meanwhile_is_a_failure() -> None:
    """Event and state agree: what could not be stored is not said to be done."""
    bench = Bench((Settled.conflict, b"garbage", None))
    assert bench.settle(Completed(1, "tool")).settled
    last = bench.commits[-1]
    assert (last.expected, event(last)["data"]["error_code"]) == (None, "state_invalid")
    assert last.failure


@pytest.mark.parametrize("how", [Settled.conflict, Settled.trimmed])
def test_nothing_completes_for_a_graph_that_was_cancelled_meanwhile(how: Settled) -> None:
    """The node was done before anybody saw it: it fails all the same, with what it has cost."""
    newer = b'{"graph_id":"g","status":"cancelled","inputs":{"x":1.00},"node_states":{}}'
    bench = Bench((how, newer, None))
    assert bench.settle(Completed(1, "llm", Usage(3, 4))).settled
    _, commit = bench.commits
    data = event(commit)["data"]
    assert commit.failure and commit.events[0][0] == FAILED_STREAM
    assert (data["error_code"], data["output"], data["mode"]) == ("cancelled", None, "llm")
    assert data["usage"] == {"input_tokens": 3, "output_tokens": 4}
    document = json.loads(commit.document)
    assert (document["status"], document["node_states"]["n"]["status"]) == ("cancelled", "failed")


@pytest.mark.parametrize("status", ["completed", "failed", "running"])
def test_a_graph_that_ended_otherwise_takes_the_result(status: str) -> None:
    """What was done is told."""
    newer = b'{"graph_id":"g","status":"%s","node_states":{}}' % status.encode()
    bench = Bench((Settled.conflict, newer, None))
    assert bench.settle(Completed(1, "tool")).settled
    assert bench.commits[-1].events[0][0] == COMPLETED_STREAM


def test_a_failure_stays_what_it_is_when_its_graph_is_cancelled() -> None:
    """What went wrong is worth more than that nobody wants it any more."""
    newer = b'{"graph_id":"g","status":"cancelled","node_states":{}}'
    bench = Bench((Settled.conflict, newer, None))
    assert bench.settle(Failed("it broke", "tool_failed")).settled
    assert event(bench.commits[-1])["data"]["error_code"] == "tool_failed"
