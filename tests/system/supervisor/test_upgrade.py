"""USR2: a successor beside the running pool."""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.control.control_socket import ask
from tests.kit import alive, holds_for, need, state_of, wait_until
from tests.system.supervisor.handle import DummyPool

Start = Callable[..., DummyPool]


@pytest.fixture
def heirs(pool: DummyPool) -> Iterator[list[int]]:
    """Pids of successors; ended with the test."""
    started: list[int] = []
    yield started
    for pid in started:
        if alive(pid):
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not alive(pid), 5, "the successor to end")  # noqa: B023


def upgrade(pool: DummyPool, heirs: list[int]) -> int:
    pool.signal(signal.SIGUSR2)
    heirs.append(int(pool.wait_for("upgrade.started")["pid"]))
    return heirs[-1]


def test_successor_takes_over_and_the_old_pool_drains(start: Start, heirs: list[int]) -> None:
    """
    The same port, other slot numbers; what the old pool has in hand it finishes; no moment without an answer.

    What was counted counts on, also in the successor's successor.
    """
    pool = start(workers=2)
    pool.tell(2, "count", 5)
    pool.tell(1, "sleep", 1)
    heir = upgrade(pool, heirs)
    pool.wait_for("upgrade.ready")
    wait_until(lambda: pool.page()["supervisor"] == heir, 5, "the successor to answer")
    assert sorted(pool.rows()) == [3, 4]
    assert pool.wait() == 0
    assert pool.lines("done", slot=1)
    page = pool.page()
    assert (page["supervisor"], page["mode"]) == (heir, "running")
    pool.tell(3, "count", 1)
    wait_until(lambda: pool.page()["counted"] == 6, 5, "both to be counted")
    os.kill(heir, signal.SIGUSR2)
    heirs.append(heir := int(pool.wait_for("upgrade.started", 2)["pid"]))
    pool.wait_for("upgrade.ready", 2)
    wait_until(lambda: pool.page()["supervisor"] == heir, 10, "the successor's successor to answer")
    pool.tell(5, "count", 1)
    wait_until(lambda: pool.page()["counted"] == 7, 5, "all three to be counted")
    os.kill(heir, signal.SIGTERM)
    wait_until(lambda: not alive(heir) and not pool.left_behind(), 5, "the successor to end")


def test_successor_of_a_paused_pool_is_paused(start: Start, heirs: list[int]) -> None:
    """Whoever has stopped it has reasons that an upgrade does not know."""
    pool = start(workers=2)
    pool.signal(signal.SIGTSTP)
    pool.wait_for("pool.paused")
    heir = upgrade(pool, heirs)
    wait_until(lambda: pool.page()["supervisor"] == heir, 10, "the successor to answer")
    assert pool.page()["paused"]
    os.kill(heir, signal.SIGCONT)
    wait_until(lambda: not pool.page()["paused"], 5, "it to take items again")


def test_killed_old_pool_leaves_its_successor_alone(start: Start, heirs: list[int]) -> None:
    """Clearing away after a killed supervisor stops at what it has handed over."""
    pool = start()
    pool.tell(1, "sleep", 60)
    heir = upgrade(pool, heirs)
    pool.wait_for("upgrade.ready")
    pool.wait_for("pool.draining")
    pool.kill(pool.pid)
    pool.wait(5)
    wait_until(lambda: pool.page()["supervisor"] == heir, 5, "the successor to answer")
    holds_for(lambda: pool.page()["supervisor"] == heir, 0.5)
    assert [row["state"] for row in pool.rows().values()] == ["idle", "idle"]


def test_successor_that_fails_leaves_the_old_pool_as_it_was(start: Start, heirs: list[int], pool: DummyPool) -> None:
    """A broken program ends; the old one says so and goes on."""
    (pool.folder / "successor.fails").touch()
    start()
    before = pool.page()
    upgrade(pool, heirs)
    assert pool.wait_for("upgrade.failed")["why"] == "it ended before it was ready"
    assert pool.page() == before
    (pool.folder / "successor.fails").unlink()


def test_successor_that_never_gets_ready_is_ended(start: Start, heirs: list[int]) -> None:
    """It has its time; then the old pool goes on alone."""
    pool = start(boot_timeout_s=2)
    pool.configure(boot="slow:60", boot_timeout_s=60)
    heir = upgrade(pool, heirs)
    assert pool.wait_for("upgrade.failed")["why"] == "it took too long"
    wait_until(lambda: not alive(heir), 5, "the successor to end")
    assert pool.page()["supervisor"] == pool.pid


def test_successor_is_nobodys_child_here(start: Start, heirs: list[int]) -> None:
    """Systemd kills the main process at once, instead of letting it drain, where that is another's child."""
    pool = start()
    pool.configure(boot="slow:60")
    heir = upgrade(pool, heirs)
    assert heir not in pool.children()
    assert alive(heir)


def test_orphans_are_ours_after_an_upgrade_that_failed(start: Start, heirs: list[int], pool: DummyPool) -> None:
    """They go past us for the moment only in which the successor does."""
    (pool.folder / "successor.fails").touch()
    start()
    upgrade(pool, heirs)
    pool.wait_for("upgrade.failed")
    pool.tell(1, "spawn", "daemon")
    left = pool.spawned()
    pool.kill(pool.worker(1))
    wait_until(lambda: not alive(left), 5, "what the worker has left to end")


def test_term_during_an_upgrade_ends_both(start: Start, heirs: list[int]) -> None:
    """Who asks the old pool to end does not want to be left with half a new one."""
    pool = start()
    pool.configure(boot="slow:60")
    heir = upgrade(pool, heirs)
    pool.signal(signal.SIGTERM)
    assert pool.wait() == 0
    wait_until(lambda: not alive(heir), 5, "the successor to end")


def test_upgrade_is_refused_where_it_can_not_work(start: Start, pool: DummyPool) -> None:
    """With a companion that would end with us, nothing is started."""
    (pool.folder / "companion").touch()
    start()
    pool.signal(signal.SIGUSR2)
    assert "sleeper would end with us" in pool.wait_for("upgrade.refused")["reason"]


@pytest.mark.parametrize("free", [0, 2])
def test_upgrade_without_descriptors_to_start_it_with_is_refused(start: Start, free: int) -> None:
    """Neither for the pipe nor, two more, for what comes after: the pool goes on, and hears what it is told."""
    pool = start()
    numbers = {int(number) for number in os.listdir(f"/proc/{pool.pid}/fd")}
    unused = (number for number in itertools.count() if number not in numbers)
    limits = resource.prlimit(pool.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pool.pid, resource.RLIMIT_NOFILE, (next(itertools.islice(unused, free, None)), limits[1]))
    pool.signal(signal.SIGUSR2)
    assert "Too many open files" in pool.wait_for("upgrade.refused")["reason"]
    resource.prlimit(pool.pid, resource.RLIMIT_NOFILE, limits)
    pool.signal(signal.SIGTERM)
    assert pool.wait() == 0


def test_as_pid_1_it_reaps_orphans_and_refuses_upgrades(start: Start) -> None:
    """In a container: what is orphaned to it leaves no zombie, and there is nobody to hand over to."""
    if shutil.which("unshare") is None or os.geteuid() != 0:
        need("unshare")
    namespace = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL")
    pool = start(prefix=namespace)
    inside = pool.children()[0]
    orphan = ["nsenter", "--target", str(inside), "--pid", "--mount", "sh", "-c", "sleep 1000 & exit 0"]
    os.waitpid(os.posix_spawnp(orphan[0], orphan, dict(os.environ)), 0)

    def orphans() -> list[int]:
        return [pid for pid in pool.children() if pool.command(pid).startswith("sleep")]

    (left,) = wait_until(orphans, 5, "the orphan")
    pool.kill(left)
    wait_until(lambda: not state_of(left), 5, "it to be gone and reaped")
    holds_for(lambda: not pool.zombies(), 0.3)
    os.kill(inside, signal.SIGUSR2)
    assert "as PID 1" in pool.wait_for("upgrade.refused")["reason"]
    os.kill(inside, signal.SIGTERM)
    assert pool.wait() == 0


def test_systemd_hears_of_start_reload_hand_over_and_stop(
    start: Start, pool: DummyPool, heirs: list[int], folder: Path
) -> None:
    """Through all of it systemd is told what it needs, by whom it expects it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(folder / "notify"))
        systemd.setblocking(False)
        said: list[str] = []

        def heard(message: str) -> bool:
            try:
                while True:
                    said.append(systemd.recv(500).decode())
            except BlockingIOError:
                return any(line.startswith(message) for line in said)

        start(environ={"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "600000"})
        wait_until(lambda: heard("READY=1"), 5, "READY")
        wait_until(lambda: heard("WATCHDOG=1") and heard("STATUS=running, 2 of 2"), 5, "the watchdog and a status")
        pool.signal(signal.SIGHUP)
        wait_until(lambda: heard("RELOADING=1\nMONOTONIC_USEC="), 5, "RELOADING")
        pool.wait_for("pool.reloaded")
        said.clear()
        heir = upgrade(pool, heirs)
        wait_until(lambda: heard(f"MAINPID={heir}"), 10, "MAINPID")
        assert pool.wait() == 0
        assert not heard("STOPPING=1"), "the successor goes on"
        os.kill(heir, signal.SIGTERM)
        wait_until(lambda: heard("STOPPING=1") and heard("EXTEND_TIMEOUT_USEC="), 5, "STOPPING")


def test_successor_that_ends_before_its_word_was_read_leaves_the_old_pool_in_charge(
    start: Start, heirs: list[int]
) -> None:
    """It said that it was ready, and was gone before anybody listened: the host is not left without a pool."""
    pool = start()
    heir = upgrade(pool, heirs)
    pool.signal(signal.SIGSTOP)
    pool.wait_for("pool.ready", by=heir)
    os.kill(heir, signal.SIGTERM)
    pool.wait_for("pool.stopped", by=heir)
    wait_until(lambda: not alive(heir), 5, "the successor to end")
    pool.signal(signal.SIGCONT)
    assert pool.wait_for("upgrade.failed")["why"] == "it ended after it was ready"
    status = ask(str(pool.folder / "ctl"), "status", 5)
    assert (status["pid"], status["mode"]) == (pool.pid, "running")
    assert pool.page()["supervisor"] == pool.pid
