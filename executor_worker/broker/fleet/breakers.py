"""
Circuit breakers shared by the fleet: a tool, or a server of tools, whose calls bring no answer is held back from all.

While all calls are answered one costs no round trip: Redis is told of the first that is not, all keepers hear of that
and say on the scoreboard that there is something to look at, and workers ask and tell until an answer has come.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import Script, script
from executor_worker.broker.names import BREAKER_PREFIX, THROTTLED_CHANNEL
from executor_worker.broker.queue.gates import BREAKERS, WAITING
from executor_worker.errors import StreamError
from executor_worker.run_context import Circuit
from executor_worker.telemetry import logs

TOO_MANY = 5
"""Calls in a row without an answer, over all workers."""
REMEMBERED_S = 3600.0
TOLD_S = 2.0  # until the keeper has surely heard of what we have written


@dataclass(frozen=True, slots=True)
class HeldBack:
    """
    Attributes:
        key: Names the breaker, for items that wait.
        seconds: Until one call may try.
        since: When the first call brought no answer, in seconds since the epoch; 0: not asked.
        why: The error code of the last that brought none.
    """

    circuit: Circuit
    key: str
    seconds: float
    since: float = 0.0
    why: str = ""


def scripts() -> list[Script]:
    """Those to ask, and to tell how a call has ended; read once, best before the workers are forked."""
    return [script(name, *WAITING, *BREAKERS) for name in ("tool_admit", "tool_failed", "tool_answered")]


class FleetBreakers:
    """
    The breakers as one worker sees them; if Redis can't be asked none holds it back.

    Args:
        link: Used between takes only, by the worker's one thread.
        caller: Whose call it is; each has one at a time.
        scope: The pool's own; see `pool_scope`.
        active: Tells whether there may be any call without an answer at all.

    Attributes:
        unsure: A call of ours brought no answer, and the keeper may not have heard of that yet.
    """

    def __init__(self, link: Link, caller: str, scope: str, *, active: Callable[[], bool]) -> None:
        self._link = link
        self._caller = caller
        self._scope = scope
        self._admit, self._failed, self._answered = scripts()
        self.active = active
        self.unsure = False
        self._told_until = 0.0

    def admit(self, circuits: Sequence[Circuit]) -> HeldBack | None:
        """Ask whether they may be called; None: yes."""
        if not self._asks(circuits):
            return None
        keys = self._keys(circuits)
        try:
            wait_ms, which, since_ms, why = self._link.run(self._admit, keys, [self._caller])
        except StreamError as error:
            logs.debug("breaker.unknown", reason=str(error))
            return None
        if not wait_ms:
            return None
        circuit, key = circuits[which - 1], keys[which - 1]
        return HeldBack(circuit, key, wait_ms / 1000, since_ms / 1000, why.decode("utf-8", "replace"))

    def failed(self, circuits: Sequence[Circuit], code: str) -> HeldBack | None:
        """
        Tell that a call brought no answer.

        Returns:
            What holds it back, if that did already when the call ended: it had begun before, or was the one that tries.
        """
        if not circuits:
            return None
        keys = self._keys(circuits)
        try:
            told: list[Word] = [self._caller, code, TOO_MANY, int(REMEMBERED_S * 1000), THROTTLED_CHANNEL]
            wait_ms, which, was_open, failures = self._link.run(self._failed, keys, told)
        except StreamError as error:
            logs.debug("breaker.untold", reason=str(error))
            return None
        self.unsure, self._told_until = True, time.monotonic() + TOLD_S
        if wait_ms < 0:
            return None
        circuit = circuits[which - 1]
        if not was_open:
            advice = "see why it does not answer; items that need it wait, and one call a minute tries"
            logs.warning("tool.held_back", name=str(circuit), reason=code, failures=failures, advice=advice)
            return None
        return HeldBack(circuit, keys[which - 1], wait_ms / 1000)

    def answered(self, circuits: Sequence[Circuit]) -> None:
        """Tell that a call was answered: they are held back no more."""
        if not self._asks(circuits):
            return
        try:
            closed = self._link.run(self._answered, self._keys(circuits), [THROTTLED_CHANNEL])
        except StreamError as error:
            logs.debug("breaker.untold", reason=str(error))
            return
        for which in closed:
            logs.info("tool.answers_again", name=str(circuits[which - 1]))

    def _asks(self, circuits: Sequence[Circuit]) -> bool:
        self.unsure = self.unsure and time.monotonic() <= self._told_until
        return bool(circuits) and (self.unsure or self.active())

    def _keys(self, circuits: Sequence[Circuit]) -> list[str]:
        return [breaker_key(circuit, self._scope) for circuit in circuits]


def breaker_key(circuit: Circuit, pool_scope: str) -> str:
    return f"{BREAKER_PREFIX}{circuit.kind}:{circuit.scope or pool_scope}:{circuit.name}"


def pool_scope(queues: Sequence[str]) -> str:
    """Tell functions from those of pools that serve other queues: staging does not hold production back."""
    return hashlib.blake2b("\0".join(sorted(queues)).encode(), digest_size=6).hexdigest()
