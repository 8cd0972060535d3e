"""HUP, TTIN, TTOU, worn workers: replacing and resizing while the pool goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from supervisor.errors import ReloadRefused
from supervisor.event_log import EventLog
from supervisor.pool_lifecycle import PoolLifecycle
from supervisor.program import PoolSettings, Program
from supervisor.scoreboard.scoreboard import Scoreboard
from supervisor.slots.host import Fork, Host
from supervisor.transitions import Mode
from tests.kit import Stopwatch, holds_for, wait_until
from tests.system.supervisor.handle import DummyPool

Start = Callable[..., DummyPool]


def reload(pool: DummyPool, count: int = 1, **settings: object) -> None:
    pool.configure(**settings)
    pool.signal(signal.SIGHUP)
    pool.wait_for("pool.reloaded", count=count)


def colours(pool: DummyPool) -> dict[int, str]:
    """The settings each slot's worker last came up with."""
    return {line["slot"]: line["colour"] for line in pool.lines("up")}


def fewest_ready(pool: DummyPool, workers: int) -> int:
    """How many workers were up and not leaving at the worst moment since all were, by the log."""
    ready: set[int] = set()
    counts: list[int] = []
    for line in pool.log:
        if line["event"] == "slot.up":
            ready.add(line["slot"])
        elif line["event"] in ("slot.dead", "slot.left"):
            ready.discard(line["slot"])
        counts.append(len(ready))
    return min(counts[counts.index(workers) :])


def test_hup_replaces_all_one_by_one(start: Start) -> None:
    """Every worker and the keeper are new, have the new settings, and never was more than one missing."""
    pool = start(workers=4, colour="red")
    before = {slot: row["pid"] for slot, row in pool.rows().items()}
    keeper = pool.page()["keeper"]
    reload(pool, workers=4, colour="blue", boot="slow:0.1")
    assert colours(pool) == dict.fromkeys(range(1, 5), "blue")
    after = pool.page()
    assert not set(before.values()) & {row["pid"] for row in after["rows"]}
    assert after["keeper"] != keeper
    assert fewest_ready(pool, 4) == 3
    assert after["counters"] == {"restarts\x1freloaded": 4.0}


def test_hup_lets_busy_workers_finish_and_takes_idle_ones_first(start: Start) -> None:
    """An item in hand is finished by the worker that began it, and holds nobody else up."""
    pool = start(workers=3, colour="red")
    pool.tell(1, "hold")
    pool.configure(workers=3, colour="blue")
    pool.signal(signal.SIGHUP)
    wait_until(lambda: [colours(pool)[slot] for slot in (2, 3)] == ["blue", "blue"], 5, "the idle ones to be replaced")
    assert not pool.lines("done", slot=1)
    pool.let_go()
    pool.wait_for("pool.reloaded")
    assert pool.lines("done", slot=1)
    assert colours(pool)[1] == "blue"


def test_hup_with_bad_settings_keeps_everything(start: Start) -> None:
    """The reason is in the log, every process stays."""
    pool = start(colour="red")
    before = pool.page()
    pool.configure(refuse="WORKERS: it is no number")
    pool.signal(signal.SIGHUP)
    assert pool.wait_for("pool.reload_refused")["reason"] == "WORKERS: it is no number"
    assert pool.page() == before
    reload(pool, colour="blue")
    assert set(colours(pool).values()) == {"blue"}


class Unusable:
    """A program whose new settings can't be used."""

    pool = PoolSettings("dummy", 1)

    def reload(self) -> Program:
        raise ReloadRefused("WORKERS: it is no number")


def test_whoever_hears_of_a_refused_reload_finds_the_pool_running(board: Scoreboard) -> None:
    """In the log or as the answer: from then on it is over, also by the shared table."""
    heard: list[tuple[str, str]] = []
    log = EventLog(lambda level, event, fields: heard.append((event, board.head.mode)))
    unused: Any = SimpleNamespace(make_room=None)
    host = Host(cast("Fork", None), time.monotonic, log)
    lifecycle = PoolLifecycle(cast("Program", Unusable()), (board, board), host, unused, unused)
    lifecycle.mode = Mode.RUNNING
    lifecycle.reload(lambda problem: heard.append((problem, board.head.mode)))
    assert heard == [("pool.reload_refused", "running"), ("WORKERS: it is no number", "running")]


def test_hup_to_settings_that_workers_fail_with_goes_back(start: Start) -> None:
    """The first worker that does not come up shows it: the old settings are taken again, the others never left."""
    pool = start(workers=3, colour="red")
    others = {slot: pool.worker(slot) for slot in (2, 3)}
    reload(pool, workers=3, colour="blue", boot="exit:78")
    assert pool.lines("pool.reload_abandoned")[-1]["reason"] == "MODEL: it is wrong"
    assert set(colours(pool).values()) == {"red"}
    assert {slot: pool.worker(slot) for slot in (2, 3)} == others
    assert fewest_ready(pool, 3) == 2


def test_hup_to_settings_the_keeper_fails_with_goes_back(start: Start) -> None:
    """The keeper goes first, so no worker is touched."""
    pool = start(colour="red")
    workers = [pool.worker(slot) for slot in (1, 2)]
    reload(pool, colour="blue", keeper_boot="exit:78")
    assert pool.lines("pool.reload_abandoned")
    assert [pool.worker(slot) for slot in (1, 2)] == workers


def test_two_hups_at_once_coalesce(start: Start) -> None:
    """A burst of them is done in at most two rounds, the last one with what is in the file."""
    pool = start(colour="red")
    pool.tell(1, "hold")  # so that no round is over before all were sent
    pool.configure(colour="blue")
    for _ in range(5):
        pool.signal(signal.SIGHUP)
    pool.let_go()
    wait_until(lambda: pool.lines("pool.reloaded") and pool.page()["mode"] == "running", 10, "the reload to end")
    holds_for(lambda: pool.page()["mode"] == "running", 0.3)
    assert 1 <= len(pool.lines("pool.reloaded")) <= 2
    assert set(colours(pool).values()) == {"blue"}


def test_hup_resizes(start: Start) -> None:
    """WORKERS is the number of slots from then on, whatever TTIN and TTOU had made of it."""
    pool = start(workers=2)
    reload(pool, workers=4)
    assert sorted(pool.rows()) == [1, 2, 3, 4]
    reload(pool, count=2, workers=1)
    pool.wait_rows(lambda rows: sorted(rows) == [1])


def test_term_during_a_reload_wins(start: Start) -> None:
    """The pool drains, however far the roll has come."""
    pool = start(workers=3)
    pool.configure(workers=3, boot="slow:30")
    pool.signal(signal.SIGHUP)
    pool.wait_for("slot.left")
    pool.signal(signal.SIGTERM)
    assert pool.wait(3) == 0
    assert not pool.left_behind()


def test_hup_helps_a_slot_that_is_backing_off(start: Start) -> None:
    """New settings may be the cure: it is tried with them at once."""
    pool = start(workers=2)
    for crash in range(6):
        pool.tell(1, "exit", 1)
        pool.wait_for("slot.dead", slot=1, count=crash + 1)
        if crash < 5:
            pool.wait_for("up", slot=1, count=crash + 2)
    pool.wait_for("slot.backing_off", slot=1, delay_s=2)
    began = Stopwatch()
    reload(pool, workers=2, colour="blue")
    assert began.own_s() < 1.5
    assert set(colours(pool).values()) == {"blue"}


def test_ttin_and_ttou_change_the_number_of_slots(start: Start) -> None:
    """One more, one fewer; a burst counts each; never fewer than one."""
    pool = start(workers=2)
    for _ in range(3):
        lines = len(pool.lines("pool.resized"))
        pool.signal(signal.SIGTTIN)
        pool.wait_for("pool.resized", count=lines + 1)
    pool.wait_rows(lambda rows: [row["state"] for row in rows.values()] == ["idle"] * 5)
    for _ in range(7):
        lines = len(pool.lines("pool.resized"))
        pool.signal(signal.SIGTTOU)
        pool.wait_for("pool.resized", count=lines + 1)
    pool.wait_rows(lambda rows: sorted(rows) == [1])
    assert pool.page()["configured"] == 1
    pool.tell(1, "count", 1)


def test_grown_slots_can_be_woken(start: Start) -> None:
    """A slot opened after the keeper was forked drains as fast as the others."""
    pool = start(workers=1, poll_ms=30_000)
    for number in range(12):
        pool.signal(signal.SIGTTIN)
        pool.wait_for("pool.resized", count=number + 1)
    pool.wait_for("slot.up", count=13)
    pool.signal(signal.SIGTERM)
    assert pool.wait(2) == 0


def test_ttou_lets_a_busy_worker_finish_and_ttin_takes_it_back(start: Start) -> None:
    """A slot on its way out finishes its item; wanted again meanwhile, it stays."""
    pool = start(workers=2)
    pool.tell(2, "hold")
    pool.signal(signal.SIGTTOU)
    pool.wait_rows(lambda rows: rows[2]["state"] == "draining")
    pool.signal(signal.SIGTTIN)
    pool.wait_for("pool.resized", count=2)
    pool.let_go()
    pool.wait_for("done", slot=2)
    pool.wait_for("up", slot=2, count=2)
    pool.wait_rows(lambda rows: [row["state"] for row in rows.values()] == ["idle", "idle"])
    pool.tell(2, "sleep", 0.3)
    pool.signal(signal.SIGTTOU)
    pool.wait_for("done", slot=2, count=2)
    pool.wait_rows(lambda rows: sorted(rows) == [1])


def test_removed_slot_stays_until_what_it_held_was_given_back(start: Start) -> None:
    """A worker killed on its way out: nobody takes over, so the keeper must see its row until it has released it."""
    pool = start(workers=2)
    pool.tell(2, "sleep", 60)
    pool.signal(signal.SIGTTOU)
    pool.wait_rows(lambda rows: rows[2]["state"] == "draining")
    pool.kill(pool.worker(2))
    pool.wait_for("item.released", slot=2, held="sleep held")
    pool.wait_rows(lambda rows: sorted(rows) == [1])


def test_worn_workers_are_replaced_one_at_a_time(start: Start) -> None:
    """By their own wish or for their size: between items, staggered, without counting as crashes."""
    pool = start(workers=3, max_rss_bytes=100 << 20)
    pool.tell(1, "fat", 200)
    pool.tell(2, "wear")
    pool.tell(3, "wear")
    pool.wait_for("slot.up", count=6)
    assert fewest_ready(pool, 3) == 2
    assert pool.page()["counters"] == {"restarts\x1freplaced": 3.0}
    assert [row["restarts"] for row in pool.rows().values()] == [0, 0, 0]


def test_tstp_pauses_and_cont_resumes(start: Start) -> None:
    """The flag is there for all to see, and idle workers look up at once."""
    pool = start(poll_ms=30_000)
    pool.signal(signal.SIGTSTP)
    pool.wait_for("pool.paused")
    pool.wait_for("woken", slot=1)
    assert pool.page()["paused"]
    pool.signal(signal.SIGCONT)
    pool.wait_for("pool.resumed")
    assert not pool.page()["paused"]


def test_alrm_reports_rows_and_stacks(start: Start) -> None:
    """One line a slot in the log, and one with its stack, which says whose it is."""
    pool = start()
    pool.tell(1, "sleep", 5)
    pool.signal(signal.SIGALRM)
    status = pool.wait_for("slot.status", slot=1)
    assert (status["state"], status["phase"], status["item"]) == ("busy", "sleep", "sleep item")
    stacks = {slot: pool.wait_for("slot.stack", slot=slot) for slot in (1, 2)}
    assert (stacks[1]["item"], stacks[1]["pid"]) == ("sleep item", pool.worker(1))
    assert " take < " in stacks[1]["stack"] and " sleep < " not in stacks[2]["stack"]
    assert len(pool.lines("slot.status")) == 2


def test_usr1_reopens_logs_everywhere(start: Start) -> None:
    """Supervisor, keeper and workers."""
    pool = start()
    pool.signal(signal.SIGUSR1)
    for who in ("supervisor", "keeper", 1, 2):
        pool.wait_for("logs.reopened", who=who)


def test_signals_for_the_whole_group_are_the_supervisors_business(start: Start) -> None:
    """Ctrl-C, Ctrl-Z and a HUP to all: children leave the answer to the supervisor."""
    pool = start()
    workers = [pool.worker(slot) for slot in (1, 2)]
    pool.tell(1, "sleep", 0.8)
    for number in (signal.SIGTSTP, signal.SIGCONT, signal.SIGALRM, signal.SIGTTIN):
        os.killpg(pool.pid, number)
    pool.wait_for("pool.resized")
    assert [pool.worker(slot) for slot in (1, 2)] == workers
    os.killpg(pool.pid, signal.SIGINT)
    assert pool.wait(5) == 0
    assert pool.lines("done", slot=1)
