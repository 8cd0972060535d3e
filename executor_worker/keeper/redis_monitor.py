"""Redis monitor: tells whether Redis answers, and whether our name is our own."""

from __future__ import annotations

import time
from collections.abc import Callable

from executor_worker.broker.connection.advice import as_config_error
from executor_worker.broker.fleet.identity import BEAT_S, IdentityTaken
from executor_worker.broker.queue.consumers import consumers_of, delete_consumer, release_consumer
from executor_worker.errors import StreamRefused, StreamUnavailable
from executor_worker.keeper.pool_context import PoolContext
from executor_worker.keeper.wrong_keys import explained
from executor_worker.telemetry import logs

REFUSED = 78


class _Ending(Exception):
    """The pool ends: no process needs the name any more."""


class RedisMonitor:
    """
    Knows whether Redis answers, tells all processes, and opens the gate once this pool's name is its own.

    Ends the keeper where Redis or the holder of the name refuses us from the start, and so the pool, or the reload that
    brought the settings which are refused.

    Args:
        on_back: Called when Redis answers again.
        every_s: How often it is run.
    """

    def __init__(self, around: PoolContext, on_back: Callable[[], None], every_s: float) -> None:
        self._around = around
        # Whatever else Redis has answered since the last look tells as much as a question of our own.
        self._silence_s = 1.5 * every_s
        self._on_back = on_back
        self._said_lost = False
        self._let_in = False
        self._next_beat = 0.0

    def run(self) -> None:
        try:
            self._ask()
        except StreamRefused as error:
            self._refused(error)
        except StreamUnavailable as error:
            self.lost(error)
        except _Ending:
            return
        else:
            self._back()

    def lost(self, error: StreamUnavailable) -> None:
        """Note that Redis does not answer."""
        head = self._around.board.head
        head.away = str(error)
        head.redis_up = False
        if not self._said_lost:
            self._said_lost = True
            logs.error("redis.lost", reason=str(error), advice="waiting; what is in hand goes on and is settled later")

    def _ask(self) -> None:
        head, around = self._around.board.head, self._around
        if not head.gate:
            around.identity.claim(around.link, sleep=self._linger)
            self._take_over()
            head.gate = True
        elif time.monotonic() >= self._next_beat:
            if not around.identity.beat(around.link):
                self._lose_name()
            self._next_beat = time.monotonic() + BEAT_S
        elif not head.redis_up or time.monotonic() > around.link.answered_at + self._silence_s:
            around.link.call("PING")

    def _back(self) -> None:
        self._let_in = True
        head = self._around.board.head
        if head.redis_up:
            return
        head.redis_up = True
        head.away = ""
        head.redis_epoch += 1
        if self._said_lost:
            self._said_lost = False
            logs.info("redis.back")
            self._on_back()
        for row in self._around.board.rows():
            row.wake()

    def _linger(self, seconds: float) -> None:
        self._beat()
        time.sleep(seconds)
        if self._around.ending:
            raise _Ending

    def _beat(self) -> None:
        self._around.board.head.keeper_beat_ns = time.monotonic_ns()

    def _take_over(self) -> None:
        """Give back what a dead predecessor of our name left pending in slots that we do not have."""
        around = self._around
        if around.beside:
            return
        ours = {around.consumer(row.slot) for row in around.board.rows()}
        for consumer in consumers_of(around.link, f"{around.worker_id}.", streams=around.streams, groups=around.groups):
            self._beat()  # there may be hundreds, and Redis far away
            if consumer not in ours:
                release_consumer(around.link, consumer, counted=True, streams=around.streams, groups=around.groups)
                delete_consumer(around.link, consumer, streams=around.streams, groups=around.groups)

    def _lose_name(self) -> None:
        """Leave the name to the pool that took it while we were cut off: both would claim the same items."""
        name = self._around.worker_id
        logs.error("identity.taken", worker_id=name, fix="give each supervisor a WORKER_ID of its own")
        self._around.board.head.gate = False
        raise IdentityTaken(f"{name!r} was taken by another supervisor while this one could not reach Redis")

    def _refused(self, error: StreamRefused) -> None:
        head = self._around.board.head
        if head.gate and (self._let_in or not head.on_trial):
            self.lost(StreamUnavailable(_reason(error).rstrip(".")))
            return
        head.reason = explained(self._around, error) or _reason(error)
        raise SystemExit(REFUSED)


def _reason(error: StreamRefused) -> str:
    said = str(error).rstrip(".")
    if isinstance(error, IdentityTaken):
        return f"{said}. Give this one another WORKER_ID, or stop the other one."
    wrong = as_config_error(error)
    return str(wrong) if wrong else f"{said}. See what is wrong with this Redis."
