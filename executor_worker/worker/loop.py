"""
One worker: take → execute → settle, one item at a time, until it is asked to leave.

Signals: TERM finish the item and leave · QUIT give the item back and leave · USR1 write all stacks to stderr ·
USR2 end the run that is over · HUP reopen the log. Handlers only note what is wanted; two of them, QUIT and USR2, also
interrupt a node that is running.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from resource import RLIMIT_NOFILE, getrlimit
from types import FrameType

from executor_worker.broker import Claim, Consumer
from executor_worker.broker.graphs.requests import drive
from executor_worker.broker.graphs.traces import trace_of_run
from executor_worker.broker.queue.reclaim_hints import read_notice
from executor_worker.errors import Abandoned, Parked, StreamError
from executor_worker.graph.ends import RunEnd
from executor_worker.outcome import Failed
from executor_worker.telemetry import logs
from executor_worker.telemetry.metrics import Recorder
from executor_worker.telemetry.tracing import NO_SPAN, NO_TRACING, Span, Tracing
from executor_worker.worker.item import Intake, Report, Settler
from executor_worker.worker.letting_go import LettingGo
from executor_worker.worker.poisoned import POISONED, tell_last_death
from executor_worker.worker.predecessor import Predecessor
from executor_worker.worker.recycling import Recycling
from executor_worker.worker.redis_wait import STUCK, STUCK_S, RedisWait, wait_for_wake
from executor_worker.worker.run import Runs
from executor_worker.worker.stages import Conclusion, Run, Work
from supervisor.scoreboard.scoreboard import Row, Scoreboard

IDLE_BLOCK_S = 25.0  # the keeper wakes us for whatever else there is
POLL_S = 0.5
TIDY_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 1.0  # between items of which none could be worked on
FLUSH_S = 1.0  # for spans that are not sent yet, when we leave
LEFT = 0


class Worker:
    """
    Everything is handed in; `run` returns the exit status.

    Args:
        recycling: Says when it is enough.
        reap: Reaps what tools have left to us and has died, and tells how many are left; for between items.
    """

    def __init__(
        self,
        board: Scoreboard,
        row: Row,
        consumer: Consumer,
        intake: Intake,
        settler: Settler,
        runs: Runs,
        recycling: Recycling,
        redis_wait: RedisWait,
        reap: Callable[[], int],
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self._board = board
        self._head = board.head
        self._row = row
        self._consumer = consumer
        self._intake = intake
        self._settler = settler
        self._runs = runs
        self._recycling = recycling
        self._redis_wait = redis_wait
        self._reap = reap
        self._tracing = tracing
        self._report = Report(Recorder(row.counters), row.note_done)
        self._letting_go = LettingGo(row, self._report)
        self._predecessor = Predecessor(row)
        self._leaving = False
        self._tried_notice = 0
        self._tidied_at = 0.0
        self._parked = 0  # items in a row whose model was throttled
        self._pausing = False
        self._untidy = False  # a tool may have left something to be reaped
        self._items = 0  # taken

    def run(self) -> int:
        self._heed_signals()
        self._row.state = "idle"
        self._row.phase = "waiting"
        self._board.event_fd.ring()
        claim: Claim | None = None
        while not self._leaving:
            claim = claim or self._next()
            if claim is not None:
                claim = self._process(claim)
        if claim is not None:
            self._row.end(done=False)  # what is in hand by the row was settled
            self._letting_go.give_back(claim)
        self._tracing.close(FLUSH_S)
        return LEFT

    def rehearse(self) -> None:
        """Work off what there is, and heed no signals: for a worker that is none yet."""
        claim = self._consumer.take()
        while claim is not None:
            claim = self._process(claim)

    # -- signals ----------------------------------------------------------------------------------

    def _heed_signals(self) -> None:
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGQUIT, self._on_quit)
        signal.signal(signal.SIGHUP, lambda *_: logs.reopen())
        signal.signal(signal.SIGUSR2, lambda *_: self._runs.end_if_over())

    def _on_term(self, _signum: int, _frame: FrameType | None) -> None:
        self._leaving = True
        self._row.wake()

    def _on_quit(self, _signum: int, _frame: FrameType | None) -> None:
        self._leaving = self._redis_wait.ended = True
        self._row.wake()
        self._runs.abandon("asked to give the item back")

    # -- taking -----------------------------------------------------------------------------------

    def _next(self) -> Claim | None:
        """The next item, or None after a wait: the caller looks at what is wanted of us first."""
        self._row.clear_wake()
        self._row.turned_ns = time.monotonic_ns()
        self._tidy(time.monotonic())
        if self._leaving:
            return None
        # Also when we are about to be killed: the item that follows would be killed with us.
        if self._paused() or self._row.leaving or not self._head.gate or self._recycling.spent():
            wait_for_wake(self._row, POLL_S)
            return None
        if self._pausing:
            self._pause()
            return None
        try:
            claim = self._take()
        except StreamError as error:
            logs.debug("redis.unavailable", reason=str(error))  # the keeper says it once for all
            self._row.phase = "waiting for redis"
            wait_for_wake(self._row, random.uniform(POLL_S / 2, POLL_S * 2))
            self._row.phase = "waiting"
            return None
        if claim is not None and self._paused() and self._predecessor.killed_for() != claim.held.name:
            # It came while we were being told: others may have it. What is only to be answered is answered.
            self._letting_go.give_back(claim)
            return None
        return claim

    def _pause(self) -> None:
        """
        Let throttled items lie before looking at the next: there may be thousands of them.

        Not for ever: behind them may be some of another kind. Who is woken looks at once.
        """
        self._pausing = False
        self._row.phase = "throttled"
        wait_for_wake(self._row, min(FIRST_PAUSE_S * 2 ** min(self._parked, 10), LONGEST_PAUSE_S))
        self._row.phase = "waiting"

    def _paused(self) -> bool:
        return self._head.paused

    def _take(self) -> Claim | None:
        noticed = self._head.noticed  # before the notice is read: one that comes meanwhile is not tried by this
        stale = self._stale()
        if stale or self._consumer.may_have_unseen:
            may_have_unseen = self._consumer.may_have_unseen
            claim = self._consumer.take(uncounted=self._predecessor.killed_for(), stale=stale)
            # What was ours already comes first: the stale ones have not been tried then.
            if claim is None or not (may_have_unseen or claim.held.name in stale):
                self._tried_notice = noticed
            if claim is not None:
                return claim
            self._predecessor.forget()
        self._row.client_id = self._consumer.client_id
        return self._consumer.wait(self._row.wake_fd, TIDY_S if self._untidy else IDLE_BLOCK_S)

    def _stale(self) -> list[tuple[str, str]]:
        """Entries that the keeper has found to be held by no worker; each worker starts at another one."""
        if self._head.noticed in (0, self._tried_notice):
            return []
        found = read_notice(self._head.notice)
        at = self._row.slot % len(found) if found else 0
        return found[at:] + found[:at]

    def _wants_next(self) -> bool:
        """Tell whether the next item may be taken in the same step: not when something else comes first."""
        if self._leaving or not self._row.may_take(self._tried_notice):
            return False
        recycling, (allowed, _) = self._recycling, getrlimit(RLIMIT_NOFILE)  # which a tool, or an operator, may change
        if allowed == recycling.allowed and recycling.watch.poll(0) == recycling.unused:
            return True
        return not recycling.spent()

    # -- one item ---------------------------------------------------------------------------------

    def _process(self, claim: Claim) -> Claim | None:
        """Work off *claim*; answers the one that was taken with its settlement."""
        started = time.monotonic()
        # What we may have read long after it was sent starts nothing before its lease is renewed.
        lease_until_ns = int((claim.delivery.asked_at + self._consumer.lease_s) * 1e9)
        self._row.take(str(claim.held), "preparing", int((started + STUCK_S) * 1e9), STUCK, lease_until_ns)
        # What this raises ends us: then it stays in hand for our successor, and is not taken for done.
        upcoming = self._answer(claim, started)
        if upcoming is None:
            self._row.end(done=not self._pausing)
        else:
            self._row.count_done()
        self._untidy = True
        if started > self._tidied_at + TIDY_S:
            self._tidy(started)
        self._items += 1
        if self._items >= self._recycling.weighed_after:
            self._recycling.weigh(self._items)
        return upcoming

    def _answer(self, claim: Claim, started: float) -> Claim | None:
        held = claim.held
        with logs.context(entry=held.entry) as known:  # also of items that are let go
            try:
                failure_code = "" if self._predecessor.dealt_with else self._predecessor.failure_code_of(held)
                work = self._intake.open(claim, failure_code)
                known.add(graph=work.graph_id, node=work.node_id)
                if failure_code and (tool := self._predecessor.tool_of(work, failure_code)):
                    self._runs.note_overdue(tool)
                decision = work.decision
                if isinstance(decision, Conclusion) and decision.dead_reason == POISONED:
                    deaths = [row.death for row in self._board.rows()]
                    work.decision = tell_last_death(decision, deaths, held.name)
                if not work.is_upkeep:
                    self._report.opened(work)
                if not self._tracing.wanted or work.is_upkeep:
                    return self._work_off(work, started, NO_SPAN)
                with self._tracing.item(work.facts) as span:
                    return self._work_off(work, started, span)
            except Abandoned as reason:
                self._letting_go.abandon(claim, reason)
                return None
            except StreamError as error:
                # Only when asked to give up: it stays pending for us until Redis can be told.
                advice = "it is taken over after LEASE"
                logs.warning("item.unsettled", entry=held.entry, reason=str(error), advice=advice)
                return None

    def _work_off(self, work: Work, started: float, span: Span) -> Claim | None:
        """Run the item if it is to be run, and settle what has come of it."""
        conclusion = work.decision
        if isinstance(conclusion, Run):
            try:
                conclusion = self._runs.run(work, conclusion, started)
            except Parked as reason:
                span.ended("postponed", work.mode)
                self._parked += 1
                self._pausing = True
                self._letting_go.park(work, reason)
                return None
            except Abandoned:
                span.ended("lost" if self._row.lost else "released", work.mode)
                raise
        self._parked = 0
        self._row.finish("settling", int((time.monotonic() + STUCK_S) * 1e9), STUCK)
        if isinstance(conclusion.outcome, Failed) and self._settler.repeat(work, conclusion):
            self._predecessor.forget_kill()
            span.ended("postponed", work.mode)
            return None
        result = self._settler.settle(work, conclusion, self._wants_next)
        if not self._predecessor.dealt_with:
            self._predecessor.forget_kill()
        if result.ends:
            self._note_ends(work.claim, result.ends)
        if not work.is_upkeep:
            self._report.settled(work, result, time.monotonic() - started)
        if span is not NO_SPAN:
            outcome = result.conclusion.outcome
            span.ended(result.fate, (outcome and outcome.mode) or work.mode, result.error_code)
        return result.next

    def _note_ends(self, claim: Claim, ends: Iterable[RunEnd]) -> None:
        """Runs are over with what was committed: count them, and tell of their spans."""
        self._report.ended(ends)
        for end in ends if self._tracing.wanted else ():
            with suppress(StreamError):  # then its span is missing
                found = claim.ask(lambda link, end=end: drive(link, trace_of_run(end.graph_id)))  # type: ignore[misc]
                if found is not None:
                    self._tracing.run(found)

    # -- between items ----------------------------------------------------------------------------------

    def _tidy(self, now: float) -> None:
        """Look after what tools have left, once a second."""
        if now > self._tidied_at + TIDY_S:
            self._tidied_at = now
            with suppress(OSError):  # no descriptor left to look with: we are about to be replaced
                self._untidy = self._reap() > 0
