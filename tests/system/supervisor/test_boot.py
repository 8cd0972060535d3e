"""Workers and keepers that do not come up."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.kit import wait_until
from tests.system.supervisor.handle import DummyPool

Start = Callable[..., DummyPool]


def test_pool_whose_workers_all_fail_to_boot_ends_with_the_reason(start: Start) -> None:
    """Each slot gets its chances, then the pool gives up: exit 1, and the error named."""
    pool = start(boot="raise", ready=False)
    assert pool.wait() == 1
    given_up = pool.lines("pool.given_up")[-1]
    assert (given_up["status"], given_up["reason"]) == (1, "ImportError: no module named nowhere")
    assert len(pool.lines("slot.dead")) >= 6
    assert pool.lines("keeper.closed")


def test_pool_whose_workers_all_hang_in_boot_ends(start: Start) -> None:
    """A boot past its deadline is killed and backed off; when all hang, the pool gives up."""
    pool = start(boot="hang", boot_timeout_s=1, ready=False)
    assert pool.wait() == 1
    assert len(pool.lines("slot.overdue", why="boot")) >= 4, "each slot twice"
    stacks = [line["stack"] for line in pool.lines("slot.overdue_stack")]
    assert any(" start < " in stack for stack in stacks), "the stacks are written before the kill"


@pytest.mark.parametrize("who", ["boot", "keeper_boot"])
def test_wrong_settings_found_in_a_child_end_the_pool_with_78(start: Start, who: str) -> None:
    """A worker or keeper that says it can't work with these settings: once is enough."""
    pool = start(**{who: "exit:78"}, ready=False)
    assert pool.wait() == 78
    assert pool.lines("pool.given_up")[-1]["reason"] == "MODEL: it is wrong"


def test_keeper_that_never_comes_up_ends_the_pool(start: Start) -> None:
    """Without a keeper no lease would be kept: the pool gives up."""
    pool = start(keeper_boot="raise", ready=False)
    assert pool.wait() == 1
    assert pool.lines("pool.given_up")[-1]["reason"] == "ImportError: no module named nowhere"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_asked_to_end_while_booting_ends_clean(start: Start, number: signal.Signals) -> None:
    """However slow the workers come up: nothing was taken, so the end is clean and quick."""
    pool = start(boot="slow:30", ready=False)
    pool.wait_for("slot.started", count=2)
    pool.signal(number)
    assert pool.wait(3) == 0
    assert not pool.lines("up")
    wait_until(lambda: not pool.left_behind(), 1, "nobody to be left")


def test_term_at_any_moment_of_the_start_ends_clean(start: Start, pool: DummyPool) -> None:
    """TERM in the fork window is not lost: dozens of starts, each interrupted a little later."""
    for moment in range(15):
        events = ["pool.starting", "keeper.started", "slot.started"]
        (pool.folder / "log").unlink(missing_ok=True)
        start(workers=4, ready=False)
        pool.wait_for(events[moment % 3], count=1 + (moment % 4 if moment % 3 == 2 else 0))
        pool.signal(signal.SIGTERM)
        assert pool.wait(5) == 0
        assert not pool.left_behind()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_keeper_that_is_just_being_born_leaves_the_groups_signals_to_the_supervisor(
    start: Start, number: signal.Signals
) -> None:
    """It was not asked to leave: whoever sent that meant the pool, which may need it for a while yet."""
    pool = start(keeper_boot="until:told", ready=False)
    keeper = int(pool.wait_for("keeper.started")["pid"])
    os.kill(keeper, number)
    (pool.folder / "told").touch()
    pool.wait_for("pool.ready")
    assert pool.page()["keeper"] == keeper
    assert not pool.lines("keeper.dead")


def test_group_that_is_asked_to_end_while_the_keeper_boots_ends_clean(start: Start) -> None:
    """The keeper goes when the supervisor says so, at once, and no other takes its place."""
    pool = start(keeper_boot="until:told", ready=False)
    pool.wait_for("up", count=2)
    os.killpg(pool.pid, signal.SIGTERM)
    assert pool.wait(3) == 0
    assert len(pool.lines("keeper.started")) == len(pool.lines("keeper.left")) == 1


def test_fork_that_fails_is_tried_again(start: Start) -> None:
    """No room for one more process: the slot backs off and comes back; the others go on."""
    pool = start(workers=2, environ={"DUMMY_FORK_FAILS": "3"})
    assert len(pool.lines("slot.fork_failed")) + len(pool.lines("keeper.fork_failed")) == 3
    pool.signal(signal.SIGTERM)
    assert pool.wait() == 0


def test_log_that_can_not_be_written_stops_nothing(start: Start, pool: DummyPool) -> None:
    """stdout and stderr are closed and every line of the log fails: the pool works on and ends clean."""
    start(ready=False, prefix=("sh", "-c", 'exec "$@" >&- 2>&-', "sh"), environ={"DUMMY_LOG": "/dev/full"})
    wait_until(lambda: (pool.folder / "port").exists() and pool.page()["mode"] == "running", 5, "the pool to run")
    worker = pool.worker(1)
    pool.kill(worker)
    wait_until(lambda: pool.worker(1) not in (0, worker), 5, "a new worker")
    pool.signal(signal.SIGTERM)
    assert pool.wait() == 0
