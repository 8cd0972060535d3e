"""From an outcome to one commit; the stream is a ledger that answers as Redis would."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from executor_worker.broker import COMPLETED_STREAM, FAILED_STREAM, Commit, Consumer, Held, Settled, Taken
from executor_worker.envelopes.events import rfc3339
from executor_worker.errors import StreamUnavailable
from executor_worker.outcome import Completed, Failed, Usage
from executor_worker.worker.intake import Intake, Limits, Ticket
from executor_worker.worker.result import Result
from executor_worker.worker.settle import Settler

NOW = 1_800_000_000.0
STATE = b'{"graph_id":"g","inputs":{"x":1.00},"node_states":{}}'


class Ledger:
    """Keeps commits; answers with what it was told, then with `settled`."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.commits: list[Commit] = []
        self.forced: list[bool] = []

    def settle(
        self, held: Held, commit: Commit, *, take_next: bool, force: bool = False
    ) -> tuple[Settled, bytes | None, Taken | None]:
        self.commits.append(commit)
        self.forced.append(force)
        answer = self.answers.pop(0) if self.answers else (Settled.settled, None, None)
        if isinstance(answer, Exception):
            raise answer
        return cast("tuple[Settled, bytes | None, Taken | None]", answer)


def ticket(state: bytes | None = STATE, data: dict[str, Any] | None = None, count: int = 1) -> Ticket:
    body = {"graph_id": "g", "node_id": "n", "config": {"tool_name": "t"}} | (data or {})
    intake = Intake(Limits(9, 5, 2**20), lambda _: state, wall=lambda: NOW, clock=lambda: 100.0)
    return intake.open(Taken(Held("executor.work", "1-1", count, "w.1"), json.dumps(body).encode(), {}))


def settle(ledger: Ledger, one: Ticket, tries: int = 0, jumped_s: float = 0.0) -> Result:
    def wall() -> float:
        return NOW + 1.5 + jumped_s

    settler = Settler(cast("Consumer", ledger), "w.1", 60, lambda number: number <= tries, wall, lambda: 101.5)
    return settler.settle(one, lambda: True)


def event(commit: Commit) -> dict[str, Any]:
    ((_, raw),) = commit.events
    return dict(json.loads(raw))


def test_a_completed_node_is_one_commit() -> None:
    """State, event and acknowledgement in one; the state only if it is what was read."""
    ledger, one = Ledger(), ticket()
    one.outcome = Completed({"a": 1}, "tool")
    assert settle(ledger, one) == Result(settled=True)
    (commit,) = ledger.commits
    assert (commit.state_key, commit.ttl_s, commit.failure, commit.dead) == ("dago:state:g", 60, False, None)
    assert commit.expected and commit.document.startswith(b'{"graph_id":"g","inputs":{"x":1.00},"node_states":{"n":')
    assert commit.events[0][0] == COMPLETED_STREAM
    assert event(commit)["data"]["duration_ms"] == 1500


@pytest.mark.parametrize("jumped_s", [7200.0, -7200.0])
def test_how_long_it_took_is_true_when_the_clock_jumps(jumped_s: float) -> None:
    """Only when it ended is told by the clock of the wall."""
    ledger, one = Ledger(), ticket()
    one.outcome = Completed({"a": 1}, "tool")
    settle(ledger, one, jumped_s=jumped_s)
    told = event(ledger.commits[0])
    assert told["data"]["duration_ms"] == 1500
    assert told["timestamp"] == rfc3339(NOW + 1.5 + jumped_s)


def test_a_failed_node_says_what_it_cost() -> None:
    """The failure's own details and the usage stand in `data`."""
    ledger, one = Ledger(), ticket()
    one.outcome = Failed("it broke", "tool_failed", "agent", Usage(3, 4), {"iterations": 2})
    settle(ledger, one)
    (commit,) = ledger.commits
    assert commit.failure and commit.events[0][0] == FAILED_STREAM
    data = event(commit)["data"]
    assert (data["error"], data["error_code"], data["iterations"]) == ("it broke", "tool_failed", 2)
    assert data["usage"] == {"input_tokens": 3, "output_tokens": 4}


def test_a_conflict_is_merged_and_tried_again() -> None:
    """Somebody else's change stays; the event is the same one."""
    newer = b'{"graph_id":"g","inputs":{"x":1.00},"node_states":{"m":{"status":"completed"}}}'
    ledger, one = Ledger((Settled.conflict, newer, None), (Settled.conflict, None, None)), ticket()
    one.outcome = Completed(1, "tool")
    assert settle(ledger, one).settled
    first, second, third = ledger.commits
    assert b'"m":{"status":"completed"}' in second.document and b'"n":' in second.document
    assert third.expected == b"", "it expired meanwhile: made anew from what was read"
    assert third.document == first.document
    assert first.events == second.events == third.events


def test_a_lost_reply_is_repeated_until_there_is_one() -> None:
    """The same commit again; its own commit found is settled too."""
    ledger, one = Ledger(StreamUnavailable("x"), StreamUnavailable("x"), (Settled.already, None, None)), ticket()
    one.outcome = Completed(1, "tool")
    assert settle(ledger, one, tries=5).settled
    assert len({commit.events[0] for commit in ledger.commits}) == 1


def test_whoever_waits_may_give_up() -> None:
    """Then nobody knows whether it was committed."""
    one = ticket()
    one.outcome = Completed(1, "tool")
    with pytest.raises(StreamUnavailable):
        settle(Ledger(*[StreamUnavailable("x")] * 3), one, tries=1)


def test_a_fenced_run_has_written_nothing() -> None:
    """Not settled, and not tried again."""
    ledger, one = Ledger((Settled.fenced, None, None)), ticket()
    one.outcome = Completed(1, "tool")
    assert settle(ledger, one) == Result(settled=False)
    assert len(ledger.commits) == 1


def test_a_trimmed_entry_is_committed_by_force_once() -> None:
    """Only where nobody has settled the node since."""
    ledger, one = Ledger((Settled.trimmed, STATE, None)), ticket()
    one.outcome = Completed(1, "tool")
    assert settle(ledger, one) == Result(settled=True, trimmed=True)
    assert ledger.forced == [False, True]
    settled = b'{"node_states":{"n":{"status":"completed","metadata":{"entry":"1-1","delivery":2}}}}'
    ledger, one = Ledger((Settled.trimmed, settled, None)), ticket()
    one.outcome = Completed(1, "tool")
    assert not settle(ledger, one).settled
    assert ledger.forced == [False]


def test_an_entry_that_was_settled_before_its_state_was_read_is_not_forced() -> None:
    """It came late, after somebody else had settled it: the state was the same before and after, and says so."""
    done = b'{"node_states":{"n":{"status":"completed","metadata":{"entry":"1-1"}}}}'
    ledger, one = Ledger((Settled.trimmed, done, None)), ticket(state=done)
    one.outcome = Completed(1, "tool")
    assert not settle(ledger, one).settled
    assert ledger.forced == [False]


def test_force_ends_with_a_conflict() -> None:
    """Two that both found the entry gone: the second one finds the first one's result, and writes nothing."""
    done = b'{"node_states":{"n":{"status":"completed","metadata":{"entry":"1-1"}}}}'
    answers = (Settled.trimmed, STATE, None), (Settled.conflict, done, None), (Settled.trimmed, done, None)
    ledger, one = Ledger(*answers), ticket()
    one.outcome = Completed(1, "tool")
    assert not settle(ledger, one).settled
    assert ledger.forced == [False, True, False]


def test_what_was_recorded_may_be_gone_with_the_state() -> None:
    """Somebody else has settled it, the graph ended and was cleared away: nothing is written into the void."""
    ledger, one = Ledger((Settled.trimmed, None, None)), ticket()
    one.outcome = Completed(1, "tool")
    assert not settle(ledger, one).settled
    assert ledger.forced == [False]
    ledger, one = Ledger((Settled.trimmed, None, None)), ticket(None, {"inputs": {}})
    one.outcome = Completed(1, "tool")
    assert settle(ledger, one).trimmed, "there never was a state"


def test_a_repeat_writes_nothing() -> None:
    """Acknowledged only."""
    done = b'{"node_states":{"n":{"status":"completed","metadata":{"work_id":"w"}}}}'
    ledger = Ledger()
    settle(ledger, ticket(done, {"id": "w"}))
    (commit,) = ledger.commits
    assert (commit.expected, commit.events, commit.dead) == (None, [], None)


def test_a_poisoned_item_is_kept() -> None:
    """The letter says how often it was run, the event the last attempt."""
    ledger = Ledger()
    settle(ledger, ticket(count=6))
    (commit,) = ledger.commits
    assert commit.dead is not None
    assert (commit.dead["reason"], commit.dead["deliveries"], commit.dead["original_id"]) == ("poisoned", "5", "1-1")
    assert event(commit)["data"]["attempt"] == 5


def test_a_document_is_made_of_inputs() -> None:
    """Where there was none it must still not be there."""
    ledger, one = Ledger(), ticket(None, {"inputs": {"x": 2**70}})
    one.outcome = Completed(None, "tool")
    settle(ledger, one)
    (commit,) = ledger.commits
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
    ledger, one = Ledger(), ticket(data={"config": config})
    one.outcome = Completed(deep(100_000), mode, Usage(1, 1))
    assert settle(ledger, one).settled
    data = event(ledger.commits[0])["data"]
    assert (data["error_code"], data["mode"], data["usage"]["input_tokens"]) == (code, mode, 1)
    assert b'"status":"failed"' in ledger.commits[0].document


def test_output_and_state_that_cant_be_written_are_one_failure() -> None:
    """The worker must not die of both any more than of one."""
    ledger, one = Ledger((Settled.conflict, b"garbage", None)), ticket()
    one.state, one.outcome = b"garbage", Completed(deep(100_000), "tool")
    assert settle(ledger, one).settled
    last = ledger.commits[-1]
    assert (last.expected, event(last)["data"]["error_code"]) == (None, "state_invalid")


def test_a_state_spoilt_meanwhile_is_a_failure() -> None:
    """Event and state agree: what could not be stored is not said to be done."""
    ledger, one = Ledger((Settled.conflict, b"garbage", None)), ticket()
    one.outcome = Completed(1, "tool")
    assert settle(ledger, one).settled
    last = ledger.commits[-1]
    assert (last.expected, event(last)["data"]["error_code"]) == (None, "state_invalid")
    assert last.failure


@pytest.mark.parametrize("how", [Settled.conflict, Settled.trimmed])
def test_nothing_completes_for_a_graph_that_was_cancelled_meanwhile(how: Settled) -> None:
    """The node was done before anybody saw it: it fails all the same, with what it has cost."""
    newer = b'{"graph_id":"g","status":"cancelled","inputs":{"x":1.00},"node_states":{}}'
    ledger, one = Ledger((how, newer, None)), ticket()
    one.outcome = Completed(1, "llm", Usage(3, 4))
    assert settle(ledger, one).settled
    _, commit = ledger.commits
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
    ledger, one = Ledger((Settled.conflict, newer, None)), ticket()
    one.outcome = Completed(1, "tool")
    assert settle(ledger, one).settled
    assert ledger.commits[-1].events[0][0] == COMPLETED_STREAM


def test_a_failure_stays_what_it_is_when_its_graph_is_cancelled() -> None:
    """What went wrong is worth more than that nobody wants it any more."""
    newer = b'{"graph_id":"g","status":"cancelled","node_states":{}}'
    ledger, one = Ledger((Settled.conflict, newer, None)), ticket()
    one.outcome = Failed("it broke", "tool_failed")
    assert settle(ledger, one).settled
    assert event(ledger.commits[-1])["data"]["error_code"] == "tool_failed"
