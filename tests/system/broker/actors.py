"""The worker processes of the model: the real parts of one, held still between its steps."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count

from executor_worker.broker import Claim, Consumer, Endpoint
from executor_worker.errors import StreamUnavailable
from executor_worker.outcome import Completed, Failed
from executor_worker.worker.item import Intake, Settler
from executor_worker.worker.kinds import by_name
from executor_worker.worker.kinds.document import DocumentKind, DocumentWork
from executor_worker.worker.kinds.document_cases import Read
from executor_worker.worker.limits import Limits
from executor_worker.worker.stages import Conclusion, Run
from tests.system.broker.oracle import Oracle
from tests.system.broker.records import Actor, Place
from tests.system.broker.records import Run as ModelRun
from tests.unit.executor_worker.broker.faulty_link import Fate, FaultyLink

LEASE_S = 1000.0  # passes only when it is told to
MAX_DELIVERIES = 3
_MARKS = count(1)


class Hand(Actor):
    """
    A worker process: takes, runs (at once), settles or gives back.

    Attributes:
        work: What it has in hand.
        conclusion: What that has come to.
        mark: What its run would write.
        asleep: Stopped; it goes on later with what it had in hand.
        gone: It has left.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        name: str,
        oracle: Oracle,
        before: Callable[[Fate], None],
        condemned: Place | None = None,
    ) -> None:
        super().__init__(name, condemned=condemned)
        self.work: DocumentWork | None = None
        self.conclusion = Conclusion(None)
        self.mark = ""
        self.asleep = self.gone = False
        self._oracle = oracle
        self._event_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self._link = FaultyLink(endpoint, name, oracle.look, before)
        self._consumer = Consumer(
            self._link, name, lease_s=LEASE_S, delete_settled=oracle.delete_settled, failures="never"
        )
        kinds = by_name(DocumentKind(Limits(900.0, MAX_DELIVERIES, 2**20), 1000, _insist))
        self._intake = Intake(kinds)
        self._gives_up = False
        self._settler = Settler(kinds, name, lambda _: not self._gives_up)

    @property
    def sure(self) -> bool:
        """As it tells Redis itself: until it has had an answer, what is pending may be its predecessor's."""
        return self._consumer._orders.own == "forgiven"

    @property
    def answers_for_predecessor(self) -> bool:
        """What it holds is not run: its predecessor was ended for it."""
        return self.holds is not None and self.condemned == self.holds

    def close(self) -> None:
        """End the process: the kernel closes what it had open."""
        self.gone, self.safe, self.work = True, False, None
        if self._event_fd >= 0:
            self._consumer.close()
            os.close(self._event_fd)
            self._event_fd = -1

    # -- its steps ----------------------------------------------------------------------------------

    def take(self, fates: Sequence[Fate], stale: Sequence[Place]) -> None:
        """Take without waiting."""
        with self._facing(fates):
            try:
                taken = self._consumer.take(self.condemned, stale)
            except StreamUnavailable:
                return
            self._answered(taken)

    def wait(self, fates: Sequence[Fate]) -> None:
        """Read, blocking: what comes is still to be confirmed; as workers do, one that is unsure takes first."""
        with self._facing(fates):
            try:
                taken = self._consumer.take(self.condemned) if self._consumer.may_have_unseen else None
                if taken is None:
                    self.condemned = None
                    taken = self._consumer.wait(self._event_fd, 0.001)
            except StreamUnavailable:
                return
            if taken is not None:
                self._open(taken)

    def settle(self, fates: Sequence[Fate], *, take_next: bool = False, gives_up: bool = False) -> None:
        """Commit, until that is answered or until it gives up and leaves."""
        work, self._gives_up = self.work, gives_up
        assert work is not None
        record = self._oracle.records[work.held.name]
        with self._facing(fates):
            try:
                result = self._settler.settle(work, self.conclusion, lambda: take_next)
            except StreamUnavailable:
                self.close()
                return
            mine = self.mark in record.commits or record.repeated_by is self
            unseen = (
                self.conclusion.outcome is None and record.row is None and not record.done
            )  # nothing changes but our marker
            assert unseen or result.settled == mine, "P1: it knows whether it has settled, also after a lost reply"
            self._drop()
            self.condemned = None
            if take_next and result.settled:
                self._answered(result.next)

    def release(self, fates: Sequence[Fate]) -> None:
        """Give back what it holds, or try to."""
        assert self.work is not None and self.holds is not None
        with self._facing(fates):
            try:
                self._oracle.not_to_run(self.holds)
                self.work.claim.release(counted=False)
            except StreamUnavailable:
                pass  # it is taken over after the lease, or found to be pending
            self._drop()

    def abandon(self) -> None:
        """Stop, write nothing: it was told that somebody else has it."""
        self._drop()

    # -- inside -------------------------------------------------------------------------------------

    @contextmanager
    def _facing(self, fates: Sequence[Fate]) -> Iterator[None]:
        """Meanwhile the link meets these fates, and what happens is this hand's doing."""
        self._link.fates = list(fates)
        with self._oracle.acting(self):
            yield
        self._link.fates = []

    def _answered(self, taken: Claim | None) -> None:
        if taken is None:
            self.condemned = None
        else:
            self._open(taken)

    def _open(self, taken: Claim) -> None:
        held = taken.held
        self.holds, self.safe = held.name, True
        self._oracle.handed(self.holds, held.count, held.attempt)
        try:
            work = self._intake.open(taken, "node_timeout" if self.condemned == self.holds else "")
        except StreamUnavailable:
            self.close()
            return
        assert isinstance(work, DocumentWork)
        self.work, self.mark = work, f"run-{next(_MARKS)}"
        self._run(work)
        self._oracle.runs[self.mark] = ModelRun(self.holds, work)

    def _run(self, work: DocumentWork) -> None:
        work.execution_id, decision = self.mark, work.decision
        if isinstance(decision, Run):
            self.conclusion = Conclusion(Completed({"mark": self.mark}, "tool"))
        elif isinstance(decision.outcome, Failed):
            self.conclusion = replace(decision, outcome=Failed(self.mark, decision.outcome.code))
        else:
            self.conclusion = decision

    def _drop(self) -> None:
        self.work, self.holds, self.safe, self.mark = None, None, False, ""


def _insist(read: Read) -> bytes | None:
    for _ in range(2):
        try:
            return read()
        except StreamUnavailable:
            continue
    return read()
