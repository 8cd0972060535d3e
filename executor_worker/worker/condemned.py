"""Answer an item in the name of a worker that was killed for its sake and gets no successor."""

from __future__ import annotations

import time

from executor_worker.broker import Consumer, Held
from executor_worker.telemetry import logs
from executor_worker.worker.item import Intake, Report, Settler
from executor_worker.worker.kinds import Kinds
from executor_worker.worker.poisoned import tell_place
from executor_worker.worker.stages import Conclusion
from supervisor.scoreboard.row import Death


def settle_condemned(
    consumer: Consumer, kinds: Kinds, report: Report, held: Held, failure_code: str, death: Death
) -> None:
    """
    Settle *held* as failed with *failure_code*.

    Args:
        death: The worker's.
        consumer: The dead worker's name, on a connection of the process that acts for it.

    Raises:
        StreamError: No reply; its lease ends, and another worker answers it.
    """
    claim = consumer.reopen(held)
    if claim is None:
        return
    work = Intake(kinds).open(claim, failure_code)
    decision = work.decision
    assert isinstance(decision, Conclusion), "what was ended with its worker is not run"
    decision = tell_place(decision, death, held.name)
    with logs.context(entry=held.entry, graph=work.graph_id, node=work.node_id):
        settler = Settler(kinds, held.consumer, lambda _: False)
        if settler.repeat(work, decision):
            return
        result = settler.settle(work, decision, lambda: False)
        report.ended(result.ends)
        report.settled(work, result, time.monotonic() - work.began)
