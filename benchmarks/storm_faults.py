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
from tests.kit import Pool, Proxy, RedisServer, command_line
from tests.kit.processes import read_proc

ROOT = Path(__file__).parent.parent
SETTLED_S = 2.0  # for how long a fault that is over may still disturb
MOSTLY = 0.9  # of the workers that are hit are at an item
AGAIN_S = 0.2  # until a fault that found nobody to happen to is tried again
DYING_S = 0.5  # a killed supervisor's workers may just begin something
GONE_S = 3.0  # for all that a killed supervisor had started; tests of single faults are stricter
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
# How often each happens; the names are those of the methods of `Faults`.
WEIGHTS = {
    "kill_worker": 48,
    "stop_worker": 12,
    "kill_keeper": 6,
    "stop_keeper": 4,
    "kill_supervisor": 5,
    "stop_supervisor": 3,
    "stop_host": 3,
    "cut_line": 7,
    "lose_replies": 5,
    "black_hole": 2,
    "kill_client": 5,
    "restart_redis": 2,
    "freeze_redis": 1,
}


class Hit(NamedTuple):
    """A fault that a worker met; *until* it could go on, for one that was stopped or cut off."""

    kind: str
    pid: int
    at: float
    until: float
    where: str  # its supervisor's place


class Disturbance(NamedTuple):
    """When something else than a worker was at fault: at one supervisor's, or for all."""

    where: str
    at: float
    until: float


@dataclass(slots=True)
class Seen:
    """What the storm saw while it lasted."""

    faults: Counter[str] = field(default_factory=Counter)
    hits: list[Hit] = field(default_factory=list)
    disturbances: list[Disturbance] = field(default_factory=list)
    logged: Counter[str] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)


class Tail(Journal):
    """The journal, read as it grows."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._path = folder / "journal"
        self._offset = 0
        self._last: dict[int, str] = {}

    def running(self) -> set[int]:
        """The processes that are in the midst of a run, or died so."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                for line in file:
                    _, what, pid, _ = line.decode().split()
                    self._last[int(pid)] = what
                self._offset = file.tell()
        return {pid for pid, what in self._last.items() if what == "start"}


class Clock:
    """Does things later, in one thread."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._number = itertools.count()

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._number), action))

    def work_off(self) -> bool:
        """Do what is due; False where nothing is left to be done."""
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()
        return bool(self._due)


class Supervisor:
    """One place for a supervisor: whoever is killed there is started again, under its name or a new one."""

    def __init__(self, name: str, addr: str, line: Proxy | None, folder: Path, settings: dict[str, str]) -> None:
        self.name, self.line = name, line
        self._folder, self._starts = folder, 0
        self._settings = {**settings, "REDIS_ADDR": addr}
        self.down = False
        self.pool = self.start(anew=True)

    def start(self, *, anew: bool) -> Pool:
        self._starts += 1
        folder = self._folder / f"{self.name}-{self._starts}"
        folder.mkdir()
        if anew:
            self._settings["WORKER_ID"] = folder.name
        self.pool, self.down = Pool(folder, ("run",), self._settings), False
        return self.pool

    def itself(self) -> psutil.Process:
        return psutil.Process(self.pool.process.pid)

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

    def __init__(
        self, server: RedisServer, folder: Path, count: int, workers: int, lease_s: float, chance: random.Random
    ) -> None:
        self.server, self.redis_up = server, True
        self.journal = Tail(folder)
        self.seen = Seen()
        self.clock = Clock()
        self._chance = chance
        self._lease_s = lease_s
        self._db: Any = server.client()
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
        # The first is on the server's own socket, where only CLIENT KILL cuts its lines.
        lines = [None, *(Proxy(server.port) for _ in range(count - 1))]
        self.supervisors = [
            Supervisor(f"s{number}", line.addr if line else server.unix_url, line, folder, settings)
            for number, line in enumerate(lines)
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

    def look_after(self) -> None:
        """Start supervisors again that ended by themselves, which none should."""
        for one in self.supervisors:
            status = None if one.down else one.pool.process.popen.poll()
            if status is not None:
                self.seen.troubles.append(f"a supervisor ended by itself with {status}: {one.pool.said(5)}")
                self.bury(one.pool)
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
            seconds = self._stop([worker], 2 * self._lease_s)
            self._hit("stop_worker", where, worker, seconds)
        return worker is not None

    def kill_keeper(self) -> bool:
        one = self._any()
        keepers = one.children("keeper")
        for keeper in keepers:
            keeper.kill()
        self._disturb(one.name)
        return bool(keepers)

    def stop_keeper(self) -> bool:
        one = self._any()
        keepers = one.children("keeper")
        self._disturb(one.name, self._stop(keepers, 2 * self._lease_s))
        return bool(keepers)

    def kill_supervisor(self) -> bool:
        one = self._any()
        if one.down:
            return False
        workers = one.children("worker")
        for stopped in one.children("keeper"):  # one that is stopped could not clear away
            stopped.resume()
        one.pool.process.popen.kill()
        one.down = True
        for worker in workers:
            self._hit("kill_supervisor", one.name, worker, DYING_S)
        self._disturb(one.name)
        dead, anew = one.pool, self._chance.random() < 0.5
        self.clock.later(GONE_S, lambda: self.bury(dead))
        self.clock.later(self._chance.uniform(0.0, 1.0), lambda: one.start(anew=anew))
        return True

    def stop_supervisor(self) -> bool:
        one = self._any()
        if not one.down:
            self._disturb(one.name, self._stop([one.itself()], self._lease_s))
        return not one.down

    def stop_host(self) -> bool:
        """All of a supervisor's at once, as a machine that stands still: the others take over what it has in hand."""
        one = self._any()
        if one.down:
            return False
        workers = one.children("worker")
        seconds = self._stop([one.itself(), *one.children("keeper"), *workers], 3 * self._lease_s)
        for worker in workers:
            self._hit("stop_host", one.name, worker, seconds)
        self._disturb(one.name, seconds)
        return True

    # Lines and Redis

    def cut_line(self) -> bool:
        one, line = self._line()
        line.cut()
        self._disturb(one.name)
        return True

    def lose_replies(self) -> bool:
        one, line = self._line()
        line.lose_replies = True
        self._mend_later(one, line, self._chance.uniform(0.02, 0.5))
        return True

    def black_hole(self) -> bool:
        one, line = self._line()
        line.black_hole = True
        self._mend_later(one, line, self._chance.uniform(0.1, 2 * self._lease_s))
        return True

    def kill_client(self) -> bool:
        if not self.redis_up:
            return False
        ours = self._db.client_id()
        clients = [client for client in self._db.client_list() if int(client["id"]) != ours]
        if clients:
            client = self._chance.choice(clients)
            self._db.client_kill_filter(_id=int(client["id"]))
            self._disturb(client["name"].partition("-")[0])
        return bool(clients)

    def restart_redis(self) -> bool:
        crash = self._chance.random() < 0.5
        return self._away(1.5, self.server.kill if crash else self.server.stop, self.server.start)

    def freeze_redis(self) -> bool:
        return self._away(self._lease_s, self.server.freeze, self.server.thaw)

    # The end

    def bury(self, pool: Pool) -> None:
        """Close a pool that was killed or drained: nothing of it may live any more; note what it said."""
        left = [command_line(pid) for pid in pool.process.relatives()]
        if left:
            self.seen.troubles.append(f"left behind by {pool.env['WORKER_ID']}: {left}")
        with suppress(AssertionError):  # that was said just now
            pool.close()
        self.seen.logged.update(str(event.get("event", "no event")) for event in pool.events)
        # Lines that are no events are stacks, of keepers that were ended because they had been stopped for too long.
        odd = [event for event in pool.events if str(event.get("event", event.get("text"))).startswith(ODD)]
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

    def _line(self) -> tuple[Supervisor, Proxy]:
        return self._chance.choice([(one, one.line) for one in self.supervisors if one.line is not None])

    def _busy_worker(self) -> tuple[str, psutil.Process | None]:
        """A worker, mostly one that is at an item, and where it is."""
        workers = [(one.name, worker) for one in self.supervisors for worker in one.children("worker")]
        running = self.journal.running()
        busy = [(where, worker) for where, worker in workers if worker.pid in running]
        if busy and self._chance.random() < MOSTLY:
            return self._chance.choice(busy)
        return self._chance.choice(workers) if workers else ("", None)

    def _hit(self, kind: str, where: str, worker: psutil.Process, seconds: float = 0.0) -> None:
        now = time.monotonic()
        self.seen.hits.append(Hit(kind, worker.pid, now, now + seconds, where))

    def _disturb(self, where: str, seconds: float = 0.0) -> None:
        now = time.monotonic()
        self.seen.disturbances.append(Disturbance(where, now, now + seconds + SETTLED_S))

    def _stop(self, processes: list[psutil.Process], longest_s: float) -> float:
        seconds = self._chance.uniform(0.05, longest_s)
        for process in processes:
            process.suspend()
            self.clock.later(seconds, lambda process=process: go_on(process))  # type: ignore[misc]
        return seconds

    def _mend_later(self, one: Supervisor, line: Proxy, seconds: float) -> None:
        def mend() -> None:
            line.lose_replies = line.black_hole = False
            line.cut()

        self.clock.later(seconds, mend)
        if seconds > self._lease_s / 2:  # else leases that were just to be renewed hold out
            for worker in one.children("worker"):
                self._hit("cut_off", one.name, worker, seconds)
        self._disturb(one.name, seconds)

    def _away(self, longest_s: float, leave: Callable[[], None], come_back: Callable[[], None]) -> bool:
        if not self.redis_up:
            return False
        self.redis_up = False
        leave()

        def back() -> None:
            come_back()
            self.redis_up = True
            self._disturb("")

        seconds = self._chance.uniform(0.0, longest_s)
        self.clock.later(seconds, back)
        self._disturb("", seconds)
        return True


def go_on(process: psutil.Process) -> None:
    """Let a stopped process go on, unless it was ended meanwhile."""
    with suppress(psutil.NoSuchProcess):
        process.resume()
