"""
What the keeper does for the pool: everything that talks to Redis and is not a worker's own item.

Each duty is a small class whose `run` is called every so often. They share one connection. When Redis is away
`Pulse` says so once, the others are left out, and `Pulse` says once that it is back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from executor_worker import logs
from executor_worker.errors import StreamRefused, StreamUnavailable
from executor_worker.metrics import Gauge
from executor_worker.stream import Held, Link, Made, ensure_groups
from executor_worker.stream.backlog import Backlog, backlog
from executor_worker.stream.consumers import consumers_of, delete_consumer, prune_consumers, release_consumer
from executor_worker.stream.identity import BEAT_S, Identity, IdentityTaken
from executor_worker.stream.leases import renew
from executor_worker.stream.registry import Registration, register, unregister
from executor_worker.stream.releases import Releases
from executor_worker.stream.sweep import Sweeper
from executor_worker.stream.trim import trim
from executor_worker.worker import write_notice
from supervisor.keeper import Duty
from supervisor.scoreboard import Row, Scoreboard

PULSE_S = 1.0
REGISTRY_S, REGISTRY_CHANGED_S = 5.0, 1.0
UPKEEP_S = 5.0
PRUNE_S = 600.0
RECLAIM_S = 0.2  # how soon a slot that backs off is seen to hold something
MEMORY_S = 1.0  # one worker at a time
ORPHAN_S = 0.1  # a dead slot gets its next worker sooner than that, unless it backs off
MOST_STALE = 16  # entries put up at a time
REFUSED = 78


@dataclass(frozen=True, slots=True)
class Circumstances:
    """
    What the duties need to know; seconds.

    Attributes:
        health_port: Where this pool answers; None: nowhere.
        beside: A predecessor of the same name still runs: what it has is its own.
    """

    board: Scoreboard
    link: Link
    identity: Identity
    version: str
    lease_s: float
    delete_settled: bool
    results_maxlen: int
    health_port: int | None
    beside: bool
    report_group: Callable[[Made], None]

    @property
    def worker_id(self) -> str:
        return self.identity.worker_id

    def consumer(self, slot: int) -> str:
        """The name under which *slot*'s worker reads."""
        return f"{self.worker_id}.{slot}"


class Pulse:
    """
    Knows whether Redis answers, tells everybody, and opens the gate once this pool's name is its own.

    Ends the keeper, and so the pool, where Redis or the holder of the name refuses us from the start.
    """

    def __init__(self, around: Circumstances) -> None:
        self._around = around
        self._said_lost = False
        self._next_beat = 0.0

    def run(self) -> None:
        try:
            self._ask()
        except StreamRefused as error:
            self._refused(error)
        except StreamUnavailable as error:
            self.lost(error)
        else:
            self._back()

    def lost(self, error: StreamUnavailable) -> None:
        """Note that Redis does not answer."""
        self._around.board.head.redis_up = False
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
                logs.error("identity.taken", worker_id=around.worker_id, fix="give each supervisor a WORKER_ID of its own")
            self._next_beat = time.monotonic() + BEAT_S
        else:
            around.link.call("PING")

    def _back(self) -> None:
        head = self._around.board.head
        if head.redis_up:
            return
        head.redis_up = True
        head.redis_epoch += 1
        if self._said_lost:
            self._said_lost = False
            logs.info("redis.back")
        for row in self._around.board.rows():
            row.wake()

    def _linger(self, seconds: float) -> None:
        self._around.board.head.keeper_beat_ns = time.monotonic_ns()
        time.sleep(seconds)

    def _take_over(self) -> None:
        """Give back what a dead predecessor of our name left pending in slots that we do not have."""
        if self._around.beside:
            return
        ours = {self._around.consumer(row.slot) for row in self._around.board.rows()}
        for consumer in consumers_of(self._around.link, f"{self._around.worker_id}."):
            if consumer not in ours:
                release_consumer(self._around.link, consumer, counted=True)
                delete_consumer(self._around.link, consumer)

    def _refused(self, error: StreamRefused) -> None:
        if self._around.board.head.gate:
            self.lost(StreamUnavailable(str(error)))
            return
        fix = (
            "Give this one another WORKER_ID, or stop the other one."
            if isinstance(error, IdentityTaken)
            else "Correct REDIS_USER, REDIS_PASS or what this user may do."
        )
        self._around.board.head.reason = f"{error}. {fix}"
        raise SystemExit(REFUSED)


class Leases:
    """Renews what workers report in hand; a worker whose item went to somebody else is told."""

    def __init__(self, around: Circumstances) -> None:
        self._around = around

    def run(self) -> None:
        held = {row: one for row in self._around.board.rows() if (one := _held(row)) is not None}
        if not held:
            return
        asked_at = time.monotonic()
        lost = set(renew(self._around.link, list(held.values())))
        until = int((asked_at + self._around.lease_s) * 1e9)
        for row, one in held.items():
            if one not in lost:
                row.lease_until_ns = until
            elif _held(row) == one:
                row.lost = True
                row.wake()


class Reclaim:
    """
    Finds what nobody works on and puts it up for whoever is free.

    Sweeps are the safety net; what others give back is heard of at once, and so is what a slot of
    ours leaves behind that gets no worker for a while.
    """

    def __init__(self, around: Circumstances, releases: Releases) -> None:
        self._around = around
        self._releases = releases
        self._sweeper = Sweeper(around.link, lease_s=around.lease_s)
        self._every_s = max(min(around.lease_s / 3, 10.0), 0.5)
        self._next_sweep = 0.0
        self._number = 0
        self._up: list[tuple[str, str]] = []
        self._orphaned: dict[int, int] = {}

    def sources(self) -> dict[int, Callable[[], object]]:
        """What to wait on, and what to call then."""
        fd = self._releases.fileno()
        return {} if fd is None else {fd: self._heed}

    def _heed(self) -> None:
        found = self._heard()
        if found:
            self._put_up(found)

    def run(self) -> None:
        found = [*self._heard(), *self._left_behind()]
        now = time.monotonic()
        if now >= self._next_sweep:
            self._next_sweep = now + self._every_s
            self._up = self._sweeper.stale(MOST_STALE)
            self._put_up(found)
        elif found:
            self._put_up(found)

    def _heard(self) -> list[tuple[str, str]]:
        try:
            return self._releases.heard()
        except StreamUnavailable:
            return []

    def _put_up(self, found: Sequence[tuple[str, str]]) -> None:
        entries = list(dict.fromkeys([*found, *self._up]))[:MOST_STALE]
        head = self._around.board.head
        if not entries:
            if head.noticed:
                head.post("", 0)
            return
        self._up = entries
        self._number += 1
        head.post(write_notice(entries), self._number)
        idle = [row for row in self._around.board.rows() if row.state == "idle"]
        for row in idle[: len(entries)]:
            row.wake()

    def _left_behind(self) -> Iterable[tuple[str, str]]:
        """What dead workers of ours held whose slots are not filled again at once."""
        late = time.monotonic_ns() - int(ORPHAN_S * 1e9)
        for row in self._around.board.rows():
            text = row.held
            if row.state != "dead" or not text or row.released == text or row.since_ns > late:
                continue
            released = release_consumer(self._around.link, self._around.consumer(row.slot), counted=True)
            row.released = text
            logs.info("item.released", slot=row.slot, entries=len(released), reason="its slot backs off")
            yield from released


class Announce:
    """Keeps the registry: who there is, and what they are at."""

    def __init__(self, around: Circumstances) -> None:
        self._around = around
        self._shown: dict[int, tuple[Any, ...]] = {}
        self._next_all = 0.0

    def run(self) -> None:
        around, rows = self._around, {row.slot: row for row in self._around.board.rows()}
        now = time.monotonic()
        everybody = now >= self._next_all
        facts = {slot: _status(row) for slot, row in rows.items()}
        changed = [slot for slot in rows if everybody or self._shown.get(slot) != facts[slot]]
        gone = [slot for slot in self._shown if slot not in rows]
        register(around.link, [self._registration(rows[slot]) for slot in changed])
        self._strike([around.consumer(slot) for slot in gone])
        self._shown = facts
        if everybody:
            self._next_all = now + REGISTRY_S

    def close(self) -> None:
        """Leave: nothing of ours stays in the registry, nor in the group where nothing is pending."""
        self._strike([self._around.consumer(slot) for slot in self._shown])

    def _strike(self, consumers: list[str]) -> None:
        unregister(self._around.link, consumers)
        for consumer in consumers:
            delete_consumer(self._around.link, consumer)

    def _registration(self, row: Row) -> Registration:
        status, item = _status(row)
        now = time.time()
        return Registration(
            id=self._around.consumer(row.slot),
            status=status,
            registered_at=now - (time.monotonic_ns() - row.started_ns) / 1e9,
            last_heartbeat=now,
            current_task=item or None,
            pending_tasks=1 if item else 0,
            version=self._around.version,
            metadata={
                "pid": row.pid,
                "slot": row.slot,
                "supervisor": self._around.worker_id,
                "host": self._around.identity.host,
                "phase": row.phase,
                "items_done": row.items_done,
                "health_port": self._around.health_port,
            },
        )


class Upkeep:
    """The streams themselves: groups that were lost, results that pile up, how much there is to do."""

    def __init__(self, around: Circumstances) -> None:
        self._around = around
        self._known = False
        self._next_prune = time.monotonic() + PRUNE_S
        self.backlogs: list[Backlog] = []

    def run(self) -> None:
        around = self._around
        for made in ensure_groups(around.link, delete_settled=around.delete_settled, known=self._known):
            around.report_group(made)
        self._known = True
        self.backlogs = backlog(around.link, delete_settled=around.delete_settled)
        trim(around.link, around.results_maxlen)
        if time.monotonic() >= self._next_prune:
            self._next_prune = time.monotonic() + PRUNE_S
            prune_consumers(around.link, keep={around.consumer(row.slot) for row in around.board.rows()})

    def gauges(self) -> list[Gauge]:
        """What is known of the streams, for `/metrics`."""
        now = self.backlogs
        return [
            ("dago_queue_depth", "Items not settled yet.", {(("queue", one.stream),): one.depth for one in now}),
            ("dago_dead_letters", "Items in dead-letter streams.", {(("queue", one.stream),): one.dead for one in now}),
            ("dago_items_pending", "Items taken, not settled yet.", {(): sum(one.pending for one in now)}),
            (
                "dago_oldest_item_age_seconds",
                "Age of the oldest item not settled yet.",
                {(): max((one.oldest_age_s for one in now), default=0.0)},
            ),
        ]


class Farewell:
    """At the end: what dead workers held goes to others at once, our name is free again."""

    def __init__(self, around: Circumstances) -> None:
        self._around = around

    def close(self) -> None:
        around = self._around
        for row in around.board.rows():
            if row.held and row.released != row.held:
                # A drain is not held against the item.
                release_consumer(around.link, around.consumer(row.slot), counted=False)
                row.released = row.held
        if not around.board.head.superseded:
            around.identity.leave(around.link)


class Memory:
    """Measures the workers, one at a time: it takes a millisecond or two."""

    def __init__(self, around: Circumstances) -> None:
        self._around = around
        self._turn = 0

    def run(self) -> None:
        rows = [row for row in self._around.board.rows() if row.pid]
        if rows:
            self._turn = (self._turn + 1) % len(rows)
            rows[self._turn].pss_bytes = _pss_bytes(rows[self._turn].pid)


class Duties:
    """All of them, in the order in which they are run and, at the end, closed."""

    def __init__(self, around: Circumstances) -> None:
        self.pulse = Pulse(around)
        self.upkeep = Upkeep(around)
        releases = Releases(around.link.another())
        self.reclaim = Reclaim(around, releases)
        announce, farewell = Announce(around), Farewell(around)
        head = around.board.head
        self.all = [
            Duty("pulse", PULSE_S, self.pulse.run),
            Duty("leases", min(around.lease_s / 3, 5.0), self._while_up(Leases(around).run)),
            Duty("reclaim", RECLAIM_S, self._while_up(self.reclaim.run)),
            Duty("registry", REGISTRY_CHANGED_S, self._while_up(announce.run), self._while_up(announce.close)),
            Duty("upkeep", UPKEEP_S, self._while_up(self.upkeep.run)),
            Duty("memory", MEMORY_S, Memory(around).run),
            Duty("farewell", 3600.0, lambda: None, self._while_up(farewell.close)),
        ]
        self._head = head

    def _while_up(self, run: Callable[[], None]) -> Callable[[], None]:
        """Leave *run* out while Redis is away or the pool's name is not ours yet."""

        def run_or_not() -> None:
            if not (self._head.redis_up and self._head.gate):
                return
            try:
                run()
            except StreamUnavailable as error:
                self.pulse.lost(error)
            except StreamRefused as error:
                logs.error("redis.refused", reason=str(error), fix="correct what REDIS_USER may do")

        return run_or_not


def _held(row: Row) -> Held | None:
    try:
        return Held.parse(row.held) if row.pid and row.held else None
    except ValueError:
        return None


def _status(row: Row) -> tuple[str, str]:
    """As the registry says it, and the item in hand."""
    if row.state == "dead":
        return "stopped", ""
    overdue = 0 < row.item_deadline_ns < time.monotonic_ns()
    if row.state == "starting" or row.stopped or overdue:
        return "unhealthy", row.item
    return ("busy", row.item) if row.held else ("idle", "")


def _pss_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as rollup:
            line = next((line for line in rollup if line.startswith(b"Pss:")), b"Pss: 0 kB")
        return int(line.split()[1]) * 1024
    except OSError:
        return 0
