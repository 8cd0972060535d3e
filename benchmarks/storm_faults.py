"""Faults of supervisors and of what they have started, whatever Redis they are on."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.storm_places import Clock, Supervisor
from benchmarks.storm_record import Disturbance, Hit, Seen, Tail
from tests.faults.journal import VARIABLE
from tests.kit import Pool, Proxy, command_line

ROOT = Path(__file__).parent.parent
SETTLED_S = 2.0  # for how long a fault that is over may still disturb
MOSTLY = 0.9  # of the workers that are hit are at an item
AGAIN_S = 0.2  # until a fault that found nobody to happen to is tried again
# For all that a killed supervisor had started, and at last on a busy machine; tests of single faults are stricter.
GONE_S, GONE_AT_LAST_S = 3.0, 20.0
# Log events, by how they begin, that no storm may bring.
ODD = (
    "Traceback",
    "duty.failed",
    "child.failed",
    "lifecycle.",
    "node.failed",
    "item.dead",
    "entry.trimmed",
    "pool.given_up",
)
# How often each happens; the names are those of the methods.
WEIGHTS = {
    "kill_worker": 48,
    "stop_worker": 12,
    "kill_keeper": 6,
    "stop_keeper": 4,
    "kill_supervisor": 5,
    "stop_supervisor": 3,
    "stop_host": 3,
}


class Faults:
    """
    Lets things happen to the supervisors; what can happen to their Redis is added by the kinds of that.

    Args:
        db: A client of their Redis.
        addresses: Where each supervisor finds Redis, and the bad line there that it is behind, if any.
        chance: Decides whom and for how long.
        lease_s: Stops are shorter and longer than that.
    """

    weights: Mapping[str, int] = WEIGHTS
    odd: tuple[str, ...] = ODD

    def __init__(
        self,
        db: Any,
        addresses: Sequence[tuple[str, Proxy | None]],
        folder: Path,
        workers: int,
        lease_s: float,
        chance: random.Random,
    ) -> None:
        self.redis_up = True
        self.journal = Tail(folder)
        self.seen = Seen(lease_s)
        self.clock = Clock()
        self._chance = chance
        self._lease_s = lease_s
        self.db = db
        settings = {
            "TOOL_MODULES": "tests.faults.tools",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "WORKERS": str(workers),
            "LEASE": f"{lease_s:g}",
            "NODE_TIMEOUT": "90",
            "MAX_DELIVERIES": "10000",  # the storm's own kills must not make an item look like poison
            "RESULTS_MAXLEN": "100000000",
            VARIABLE: str(folder),
        }
        self.supervisors = [
            Supervisor(f"s{number}", address, line, folder, settings)
            for number, (address, line) in enumerate(addresses)
        ]

    def happen(self, kind: str) -> None:
        """Let one fault happen; where there is nothing it could happen to right now, a little later."""
        try:
            happened = getattr(self, kind)()
        except psutil.NoSuchProcess:  # it was quicker
            happened = False
        if happened:
            self.seen.faults[kind] += 1
        else:
            self.clock.later(AGAIN_S, lambda: self.happen(kind))

    def secure(self) -> None:
        """Make sure that what was put in last can't be lost."""

    def look_after(self) -> None:
        """Start supervisors again that ended by themselves, which none should."""
        for one in self.supervisors:
            status = None if one.down else one.pool.process.popen.poll()
            if status is not None:
                self.seen.troubles.append(f"a supervisor ended by itself with {status}: {one.pool.said(5)}")
                self.bury(one.name, one.pool)
                one.start(anew=False)

    # Processes

    def kill_worker(self) -> bool:
        where, worker = self._busy_worker()
        if worker is not None:
            worker.kill()
            self._hit("kill_worker", where, worker)
        return worker is not None

    def stop_worker(self) -> bool:
        where, worker = self._busy_worker()
        if worker is not None:
            self._stop("stop_worker", where, 2 * self._lease_s, workers=[worker])
        return worker is not None

    def kill_keeper(self) -> bool:
        one = self._any()
        keepers = one.keepers()
        for keeper in keepers:
            keeper.kill()
        self._disturb(one.name)
        return bool(keepers)

    def stop_keeper(self) -> bool:
        one = self._any()
        keepers = one.keepers()
        if keepers:
            self._stop("stop_keeper", one.name, 2 * self._lease_s, others=keepers)
        return bool(keepers)

    def kill_supervisor(self) -> bool:
        one = self._any()
        if one.down:
            return False
        one.itself().suspend()  # so that it forks nobody we don't know of
        workers = one.workers()
        for stopped in one.keepers():  # one that is stopped could not clear away
            stopped.resume()
        one.pool.process.popen.kill()
        one.down = True
        for worker in workers:
            self._hit("kill_supervisor", one.name, worker)
        self._disturb(one.name)
        dead, anew = one.pool, self._chance.random() < 0.5
        gone_by = time.monotonic() + GONE_AT_LAST_S
        self.clock.later(GONE_S, lambda: self._bury_when_gone(one.name, dead, gone_by))
        self.clock.later(self._chance.uniform(0.0, 1.0), lambda: one.start(anew=anew))
        return True

    def stop_supervisor(self) -> bool:
        one = self._any()
        if not one.down:
            self._stop("stop_supervisor", one.name, self._lease_s, others=[one.itself()])
        return not one.down

    def stop_host(self) -> bool:
        """All of a supervisor's at once, as a machine that stands still: the others take over what it has in hand."""
        one = self._any()
        if one.down:
            return False
        one.itself().suspend()  # so that it forks nobody we don't know of
        self._stop("stop_host", one.name, 3 * self._lease_s, one.workers(), [one.itself(), *one.keepers()])
        return True

    def kill_client(self) -> bool:
        if not self.redis_up:
            return False
        places = [one.name for one in self.supervisors]
        clients = [client for client in self.db.client_list() if client["name"].partition("-")[0] in places]
        if clients:
            client = self._chance.choice(clients)
            self.db.client_kill_filter(_id=int(client["id"]))
            self._disturb(client["name"].partition("-")[0])
        return bool(clients)

    # The end

    def bury(self, where: str, pool: Pool) -> None:
        """Close a pool that was killed or drained: nothing of it may live any more; note what it said."""
        left = [command_line(pid) for pid in pool.process.relatives()]
        if left:
            self.seen.troubles.append(f"left behind by {pool.env['WORKER_ID']}: {left}")
        with suppress(AssertionError):  # that was said just now
            pool.close()
        self.seen.places |= {int(up["pid"]): where for up in pool.seen("slot.up")}
        self.seen.logged.update(str(event.get("event", "no event")) for event in pool.events)
        # Lines that are no events are stacks, of keepers that were ended because they had been stopped for too long.
        odd = [event for event in pool.events if str(event.get("event", event.get("text"))).startswith(self.odd)]
        self.seen.troubles += [f"{pool.env['WORKER_ID']} said: {event}" for event in odd]

    def _bury_when_gone(self, where: str, pool: Pool, gone_by: float) -> None:
        if pool.process.relatives() and time.monotonic() < gone_by:
            self.clock.later(AGAIN_S, lambda: self._bury_when_gone(where, pool, gone_by))
        else:
            self.bury(where, pool)

    def drain(self) -> None:
        """End all supervisors as an operator would."""
        for one in self.supervisors:
            try:
                status = one.pool.drain(30)
                if status:
                    self.seen.troubles.append(f"a supervisor drained with {status}")
            except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
                self.seen.troubles.append(f"a supervisor did not drain: {error}")
            self.bury(one.name, one.pool)

    def close(self) -> None:
        """End whatever is left, whatever has gone wrong."""
        for one in self.supervisors:
            with suppress(AssertionError):
                one.pool.close()
            if one.line is not None:
                one.line.close()

    # Means

    def _any(self) -> Supervisor:
        return self._chance.choice(self.supervisors)

    def _busy_worker(self) -> tuple[str, psutil.Process | None]:
        """A worker, mostly one that is at an item, and where it is."""
        workers = [(one.name, worker) for one in self.supervisors for worker in one.workers()]
        running = self.journal.running()
        busy = [(where, worker) for where, worker in workers if worker.pid in running]
        if busy and self._chance.random() < MOSTLY:
            return self._chance.choice(busy)
        return self._chance.choice(workers) if workers else ("", None)

    def _hit(self, kind: str, where: str, worker: psutil.Process) -> None:
        """Note that a worker was killed: whatever it may still begin is ended with it."""
        self.seen.hits.append(Hit(kind, worker.pid, time.monotonic(), math.inf, where))

    def _disturb(self, where: str, seconds: float = 0.0, since: float = math.inf) -> None:
        now = time.monotonic()
        self.seen.disturbances.append(Disturbance(where, min(since, now), now + seconds + SETTLED_S))

    def _stop(
        self,
        kind: str,
        where: str,
        longest_s: float,
        workers: Sequence[psutil.Process] = (),
        others: Sequence[psutil.Process] = (),
    ) -> None:
        """Stop processes for a while; noted when they really go on, which may be later than planned."""
        began, seconds = time.monotonic(), self._chance.uniform(0.05, longest_s)
        for process in (*others, *workers):
            process.suspend()
        if others:
            self._disturb(where, seconds)

        def go_on() -> None:
            for process in (*others, *workers):
                with suppress(psutil.NoSuchProcess):  # it was ended meanwhile
                    process.resume()
            now = time.monotonic()
            self.seen.hits += (Hit(kind, worker.pid, began, now, where) for worker in workers)
            if others:
                self._disturb(where, since=began)

        self.clock.later(seconds, go_on)
