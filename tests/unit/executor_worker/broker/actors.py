"""The worker processes of the model: the real parts of one, held still between its steps."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count

from executor_worker.broker import Consumer, Endpoint, Taken
from executor_worker.errors import StreamUnavailable
from executor_worker.outcome import Completed, Failed
from executor_worker.worker.intake import Intake, Limits, Ticket
from executor_worker.worker.settle import Settler
from tests.unit.executor_worker.broker.faulty_link import Fate, FaultyLink
from tests.unit.executor_worker.broker.oracle import Oracle
from tests.unit.executor_worker.broker.records import Actor, Place, Run

LEASE_S = 1000.0  # passes only when it is told to
MAX_DELIVERIES = 3
_MARKS = count(1)


class Hand(Actor):
    """
    A worker process: takes, runs (at once), settles or gives back.

    Attributes:
        ticket: What it has in hand.
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
        self.ticket: Ticket | None = None
        self.mark = ""
        self.asleep = self.gone = False
        self._oracle = oracle
        self._event_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self._link = FaultyLink(endpoint, name, oracle.look, before)
        self._consumer = Consumer(
            self._link, name, lease_s=LEASE_S, delete_settled=oracle.delete_settled, failures="never"
        )
        self._intake = Intake(Limits(900.0, MAX_DELIVERIES, 2**20), self._insist)
        self._gives_up = False
        self._settler = Settler(self._consumer, name, 1000, lambda _: not self._gives_up)

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
        self.gone, self.safe, self.ticket = True, False, None
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
        ticket, self._gives_up = self.ticket, gives_up
        assert ticket is not None
        record = self._oracle.records[ticket.held.stream, ticket.held.entry]
        with self._facing(fates):
            try:
                result = self._settler.settle(ticket, lambda: take_next)
            except StreamUnavailable:
                self.close()
                return
            mine = self.mark in record.commits or record.repeated_by is self
            unseen = ticket.repeat and record.row is None and not record.done  # nothing changes but our marker
            assert unseen or result.settled == mine, "P1: it knows whether it has settled, also after a lost reply"
            self._drop()
            self.condemned = None
            if take_next and result.settled:
                self._answered(result.next)

    def release(self, fates: Sequence[Fate]) -> None:
        """Give back what it holds, or try to."""
        assert self.ticket is not None and self.holds is not None
        with self._facing(fates):
            try:
                self._oracle.not_to_run(self.holds)
                self._consumer.release(self.ticket.held, counted=False)
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

    def _answered(self, taken: Taken | None) -> None:
        if taken is None:
            self.condemned = None
        else:
            self._open(taken)

    def _open(self, taken: Taken) -> None:
        held = taken.held
        self.holds, self.safe = (held.stream, held.entry), True
        self._oracle.handed(self.holds, held.count, held.attempt)
        try:
            self.ticket = self._intake.open(taken, "node_timeout" if self.condemned == self.holds else "")
        except StreamUnavailable:
            self.close()
            return
        self.mark = f"run-{next(_MARKS)}"
        self._run(self.ticket)
        self._oracle.runs[self.mark] = Run(self.holds, self.ticket)

    def _run(self, ticket: Ticket) -> None:
        ticket.execution_id = self.mark
        if ticket.outcome is None and not ticket.repeat:
            ticket.outcome = Completed({"mark": self.mark}, "tool")
        elif isinstance(ticket.outcome, Failed):
            ticket.outcome = Failed(self.mark, ticket.outcome.code)

    def _insist(self, key: str) -> bytes | None:
        for _ in range(2):
            try:
                return self._consumer.read_state(key)
            except StreamUnavailable:
                continue
        return self._consumer.read_state(key)

    def _drop(self) -> None:
        self.ticket, self.holds, self.safe, self.mark = None, None, False, ""
