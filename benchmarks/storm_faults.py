"""What a storm is made of: supervisors, their Redis, and everything that can happen to them."""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from tests.faults.journal import VARIABLE, Journal
from tests.kit import PROGRAM, Pool, Proxy, RedisServer, command_line
from tests.kit.processes import read_proc

ROOT = Path(__file__).parent.parent
LEFT_BEHIND_S = 3.0  # after its death nothing of a supervisor may live for longer
# How often each happens; the names are those of the methods of `Faults`.
WEIGHTS = {
    "kill_worker": 48,
    "stop_worker": 12,
    "kill_keeper": 6,
    "stop_keeper": 4,
    "kill_supervisor": 5,
    "stop_supervisor": 3,
    "cut_line": 7,
    "lose_replies": 5,
    "black_hole": 2,
    "kill_client": 5,
    "restart_redis": 2,
    "freeze_redis": 1,
}


class Hit(NamedTuple):
    """A fault that a worker met; *until* it could go on, for one that was stopped."""

    kind: str
    pid: int
    at: float
    until: float


@dataclass(slots=True)
class Seen:
    """What the storm saw while it lasted."""

    faults: Counter[str] = field(default_factory=Counter)
    hits: list[Hit] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)
    logged: Counter[str] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)


class Clock:
    """Does things later, in one thread."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._number), action))

    def work_off(self) -> bool:
        """Do what is due; False where nothing is left to be done."""
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()
        return bool(self._due)


class Supervisor:
    """One place for a supervisor: whoever is killed there is started again, under its name or a new one."""

    def __init__(self, name: str, addr: str, line: Proxy | None, folder: Path, settings: dict[str, str]) -> None:
        self.line = line
        self._name, self._folder, self._starts = name, folder, 0
        self._settings = {**settings, "REDIS_ADDR": addr}
        self.pool = self.start(anew=True)

    def start(self, *, anew: bool) -> Pool:
        self._starts += 1
        folder = self._folder / f"{self._name}-{self._starts}"
        folder.mkdir()
        if anew:
            self._settings["WORKER_ID"] = folder.name
        self.pool = Pool(folder, ("run",), self._settings)
        return self.pool

    def children(self, kind: str) -> list[psutil.Process]:
        """Its living workers or its keeper."""
        pid = self.pool.process.pid
        numbers = [int(number) for number in read_proc(pid, f"task/{pid}/children").split()]
        found = []
        for number in numbers:
            with suppress(psutil.NoSuchProcess):
                if f": {kind}" in command_line(number):
                    found.append(psutil.Process(number))
        return found


class Faults:
    """
    Lets things happen to the supervisors and to their Redis.

    Args:
        chance: Decides whom and for how long.
        lease_s: Stops are shorter and longer than that.
    """

    def __init__(self, server: RedisServer, folder: Path, chance: random.Random, count: int, lease_s: float) -> None:
        self.server, self.redis_up = server, True
        self.journal = Journal(folder)
        self.seen = Seen()
        self.clock = Clock()
        self._chance = chance
        self._lease_s = lease_s
        self._db: Any = server.client()
        settings = {
            "TOOL_MODULES": "tests.faults.tools",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LEASE": f"{lease_s:g}",
            "NODE_TIMEOUT": "90",
            "MAX_DELIVERIES": "100000",  # the storm's own kills must not make an item look like poison
            "RESULTS_MAXLEN": "100000000",
            VARIABLE: str(folder),
        }
        # The first is on the server's own socket, where only CLIENT KILL cuts its lines.
        lines = [None, *(Proxy(server.port) for _ in range(count - 1))]
        self.supervisors = [
            Supervisor(f"s{number}", line.addr if line else server.unix_url, line, folder, settings)
            for number, line in enumerate(lines)
        ]

    def happen(self, kind: str) -> None:
        """Let one fault happen; where there is nothing it could happen to, right now, a worker is killed instead."""
        with suppress(psutil.NoSuchProcess):  # it was quicker
            if not getattr(self, kind)():
                kind = "kill_worker"
                self.kill_worker()
            self.seen.faults[kind] += 1

    def look_after(self) -> None:
        """Start supervisors again that ended by themselves, which none should."""
        for one in self.supervisors:
            status = one.pool.process.popen.poll()
            if status is not None and status >= 0:
                self.seen.troubles.append(f"a supervisor ended by itself with {status}: {one.pool.said(5)}")
                one.start(anew=False)

    # Processes

    def kill_worker(self) -> bool:
        worker = self._busy_worker()
        if worker is not None:
            worker.kill()
            self._hit("kill_worker", worker)
        return worker is not None

    def stop_worker(self) -> bool:
        worker = self._busy_worker()
        if worker is not None:
            seconds = self._stop(worker, 2 * self._lease_s)
            self._hit("stop_worker", worker, seconds)
        return worker is not None

    def kill_keeper(self) -> bool:
        keepers = self._any().children("keeper")
        for keeper in keepers:
            keeper.kill()
        return bool(keepers)

    def stop_keeper(self) -> bool:
        keepers = self._any().children("keeper")
        for keeper in keepers:
            self._stop(keeper, 2 * self._lease_s)
        return bool(keepers)

    def kill_supervisor(self) -> bool:
        one = self._any()
        if not one.pool.process.running():
            return False
        workers = one.children("worker")
        for stopped in one.children("keeper"):  # one that is stopped could not clear away
            stopped.resume()
        one.pool.process.popen.kill()
        for worker in workers:
            self._hit("kill_supervisor", worker)
        dead, anew = one.pool, self._chance.random() < 0.5
        self.clock.later(LEFT_BEHIND_S, lambda: self.bury(dead))
        self.clock.later(self._chance.uniform(0.0, 1.0), lambda: one.start(anew=anew) and None)
        return True

    def stop_supervisor(self) -> bool:
        one = self._any()
        if one.pool.process.running():
            self._stop(psutil.Process(one.pool.process.pid), self._lease_s)
        return one.pool.process.running()

    # Lines and Redis

    def cut_line(self) -> bool:
        self._line().cut()
        return True

    def lose_replies(self) -> bool:
        line = self._line()
        line.lose_replies = True
        self.clock.later(self._chance.uniform(0.02, 0.5), lambda: self._mend(line))
        return True

    def black_hole(self) -> bool:
        line = self._line()
        line.black_hole = True
        self.clock.later(self._chance.uniform(0.1, self._lease_s), lambda: self._mend(line))
        return True

    def kill_client(self) -> bool:
        if not self.redis_up:
            return False
        ours = self._db.client_id()
        numbers = [int(client["id"]) for client in self._db.client_list() if int(client["id"]) != ours]
        if numbers:
            self._db.client_kill_filter(_id=self._chance.choice(numbers))
        return bool(numbers)

    def restart_redis(self) -> bool:
        if not self.redis_up:
            return False
        crash = self._chance.random() < 0.5
        self._away(self._chance.uniform(0.0, 1.5), self.server.kill if crash else self.server.stop, self.server.start)
        return True

    def freeze_redis(self) -> bool:
        if not self.redis_up:
            return False
        self._away(self._chance.uniform(0.1, self._lease_s), self.server.freeze, self.server.thaw)
        return True

    # The end

    def bury(self, pool: Pool) -> None:
        """Close a pool that was killed or drained: nothing of it may live any more; note what it said."""
        try:
            pool.close()
        except AssertionError as error:
            self.seen.troubles.append(str(error))
        self.seen.logged.update(str(event.get("event", "no event")) for event in pool.events)
        odd = [event for event in pool.events if "event" not in event or event["event"].startswith(("duty.", "lifec", "child."))]
        self.seen.troubles += [f"{pool.env['WORKER_ID']} said: {event}" for event in odd]

    def drain(self) -> None:
        """End all supervisors as an operator would."""
        for one in self.supervisors:
            try:
                status = one.pool.drain(30)
                if status:
                    self.seen.troubles.append(f"a supervisor drained with {status}")
            except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
                self.seen.troubles.append(f"a supervisor did not drain: {error}")
            self.bury(one.pool)
            if one.line is not None:
                one.line.close()

    # Means

    def _any(self) -> Supervisor:
        return self._chance.choice(self.supervisors)

    def _line(self) -> Proxy:
        return self._chance.choice([one.line for one in self.supervisors if one.line is not None])

    def _busy_worker(self) -> psutil.Process | None:
        """A worker that is at an item, if there is one; mostly."""
        workers = [worker for one in self.supervisors for worker in one.children("worker")]
        running = {fact.pid for fact in self.journal.unended()}
        busy = [worker for worker in workers if worker.pid in running]
        if busy and self._chance.random() < 0.9:
            return self._chance.choice(busy)
        return self._chance.choice(workers) if workers else None

    def _hit(self, kind: str, worker: psutil.Process, seconds: float = 0.0) -> None:
        now = time.monotonic()
        self.seen.hits.append(Hit(kind, worker.pid, now, now + seconds))

    def _stop(self, process: psutil.Process, longest_s: float) -> float:
        seconds = self._chance.uniform(0.05, longest_s)
        process.suspend()
        self.clock.later(seconds, lambda: go_on(process))
        return seconds

    def _away(self, seconds: float, leave: Callable[[], None], come_back: Callable[[], None]) -> None:
        self.redis_up = False
        leave()
        left_at = time.monotonic()

        def back() -> None:
            come_back()
            self.redis_up = True
            self.seen.outages.append((left_at, time.monotonic()))

        self.clock.later(seconds, back)

    def _mend(self, line: Proxy) -> None:
        line.lose_replies = line.black_hole = False
        line.cut()


def go_on(process: psutil.Process) -> None:
    """Let a stopped process go on, unless it was ended meanwhile."""
    with suppress(psutil.NoSuchProcess):
        process.resume()
