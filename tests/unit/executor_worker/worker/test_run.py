"""One run on a real scoreboard: what is shown and told of it, and what ends it; whoever holds its item answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from executor_worker.errors import Abandoned
from executor_worker.nodes.executor import Executor
from executor_worker.outcome import Completed, Failed
from executor_worker.tools.base import Answer
from executor_worker.worker.item import Intake
from executor_worker.worker.run import Runs
from executor_worker.worker.stages import Conclusion, Run, Work
from supervisor.scoreboard.progress import Progress
from supervisor.scoreboard.scoreboard import Row, Scoreboard
from tests.unit.executor_worker.nodes.doubles import Box, FunctionTool, ScriptedModel
from tests.unit.executor_worker.worker.holders import StubHolder, claim, documents, held

STATE = {"graph_id": "g", "status": "running", "inputs": {}, "node_states": {}}
CANCELLED = STATE | {"status": "cancelled"}
LIMIT_S = 100.0


class Bench:
    """
    An item of a tool's node in the hand of a worker that is to run it.

    Attributes:
        tool: The one there is.
        loses: Redis says that the item is another worker's.
    """

    def __init__(self, body: Callable[..., Any] = lambda: 1, *, graph: str = "g", lease_s: float = 60.0) -> None:
        board, kinds = Scoreboard(capacity=1), documents(node_timeout_s=LIMIT_S)
        self.row, self.tool = board.place(1), FunctionTool("t", body, timeout=7.0)
        self.holder = StubHolder(**{graph: STATE})
        self.loses = False
        self.holder.holds = lambda _: not self.loses  # type: ignore[method-assign, assignment]
        executor = Executor(models=ScriptedModel(), tools=Box((self.tool,)), default_model="m")
        self.runs = Runs(self.row, executor, kinds, "w.1", lambda _: False)
        self.row.take(str(held()), "preparing", 0, "stuck", int((time.monotonic() + lease_s) * 1e9))
        data = {"graph_id": graph, "node_id": "n", "config": {"tool_name": "t"}}
        self.work: Work = Intake(kinds).open(claim(json.dumps(data).encode(), self.holder, start_told=True))

    def run(self, *, since_s: float = 0.0) -> Conclusion:
        assert isinstance(self.work.decision, Run)
        return self.runs.run(self.work, self.work.decision, time.monotonic() - since_s)

    def told(self) -> list[dict[str, Any]]:
        """What the settle script is to tell besides."""
        return [json.loads(event) for event in self.holder.untold]

    def counted(self) -> dict[str, float]:
        found = {key.decode(): value for key, value in self.row.counters.items().items()}
        return {key: value for key, value in found.items() if key.endswith("_total\x1ft")}


def test_a_call_is_shown_while_it_lasts_and_told_at_the_end() -> None:
    """Its phase with its own limit, the node's mode; its event is the settlement's, and counted it is at once."""
    shown: list[Any] = []

    def look() -> int:
        row = bench.row
        ends_s = (row.deadline_ns - time.monotonic_ns()) / 1e9
        shown.extend((row.phase, ends_s <= 8, row.on_deadline, row.progress[:3], bench.told(), row.run_is_over))
        return 1

    bench = Bench(look)
    assert bench.run() == Conclusion(Completed(1, "tool"))
    assert shown == ["tool:t", True, "tool_timeout", ("tool", 0, 0), [], False]
    (event,) = bench.told()
    assert (event["type"], event["graph_id"], event["node_id"]) == ("tool.called", "g", "n")
    assert event["data"].pop("duration_ms") >= 0
    item = {"graph_id": "g", "node_id": "n", "worker_id": "w.1", "attempt": 1}
    assert event["data"] == item | {"call": "0.0", "name": "t", "ok": True}
    assert bench.counted() == {"dago_tool_executions_total\x1ft": 1.0}
    assert (bench.row.run, bench.row.progress) == (0, Progress())


def test_an_answer_that_is_an_error_is_told_and_counted_as_one() -> None:
    """The tool was called all the same."""
    bench = Bench(lambda: Answer("no", is_error=True))
    outcome = bench.run().outcome
    assert isinstance(outcome, Failed) and outcome.code == "tool_failed"
    assert [event["data"]["ok"] for event in bench.told()] == [False]
    assert set(bench.counted()) == {"dago_tool_executions_total\x1ft", "dago_tool_failures_total\x1ft"}


def test_a_call_is_told_also_if_its_item_is_given_back_behind_it() -> None:
    """It was made, and whoever watches has seen its node begin."""

    class Asked(dict[str, int]):
        def items(self) -> Any:  # looked through for JSON once the call is over
            bench.runs.abandon("asked to give the item back")

    bench = Bench(lambda: Answer(Asked(a=1), ""))
    with pytest.raises(Abandoned):
        bench.run()
    assert [event["data"]["ok"] for event in bench.told()] == [True]


@pytest.mark.parametrize("loses", [True, False])
def test_a_run_whose_lease_is_said_to_be_lost_asks_redis(loses: bool) -> None:
    """The keeper may have meant the item before; if it did not nothing is called any more."""
    bench = Bench()
    bench.row.lost, bench.loses = True, loses
    if loses:
        with pytest.raises(Abandoned, match="taken over"):
            bench.run()
    else:
        assert bench.run().outcome == Completed(1, "tool") and not bench.row.lost
    assert len(bench.tool.calls) == (not loses)


def test_a_run_whose_time_is_up_calls_nothing() -> None:
    """Preparing it took all the time there was."""
    bench = Bench()
    outcome = bench.run(since_s=LIMIT_S + 1).outcome
    assert isinstance(outcome, Failed) and (outcome.code, outcome.mode) == ("node_timeout", "tool")
    assert (bench.tool.calls, bench.told(), bench.counted()) == ([], [], {})


@pytest.mark.parametrize(("since_s", "called"), [(2.0, False), (-60.0, True)])
def test_a_run_that_no_keeper_can_watch_looks_for_itself(since_s: float, called: bool) -> None:
    """Before a call, once a second: its document may be large."""
    graph = "g" * 600
    bench = Bench(graph=graph)
    bench.holder.states[f"dago:state:{graph}"] = CANCELLED
    outcome = bench.run(since_s=since_s).outcome
    assert len(bench.tool.calls) == called
    assert outcome == Completed(1, "tool") if called else isinstance(outcome, Failed) and outcome.code == "cancelled"


def test_a_run_whose_graph_is_cancelled_calls_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper has said so of this very run, before its call."""
    begin = Row.begin_run

    def cancelled(row: Row, *given: Any) -> int:
        row.stop_run = begin(row, *given)
        return row.stop_run

    monkeypatch.setattr(Row, "begin_run", cancelled)
    bench = Bench()
    outcome = bench.run().outcome
    assert isinstance(outcome, Failed) and outcome.code == "cancelled" and bench.tool.calls == []
