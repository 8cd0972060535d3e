"""Services: processes beside the workers, kept alive by the same supervisor."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.kit import alive, wait_until
from tests.system.supervisor.handle import DummyPool


def serving(pool: DummyPool) -> list[int]:
    """The numbers of the services' processes that live."""
    return [line["pid"] for line in pool.lines("serving") if alive(line["pid"])]


def test_services_come_up_with_the_pool_and_leave_with_it(pool: DummyPool) -> None:
    """The pool is ready when they are; at the end all are gone."""
    pool.start(services=2)
    assert pool.lines("pool.ready")[0]["services"] == 2
    assert len(serving(pool)) == 2
    pool.signal(signal.SIGTERM)
    assert pool.wait() == 0
    assert not serving(pool)


def test_a_pool_of_services_alone_has_no_worker(pool: DummyPool) -> None:
    """It is ready, and none is made later."""
    pool.start(workers=0, services=1)
    assert len(serving(pool)) == 1
    assert not pool.lines("up")
    pool.signal(signal.SIGTERM)
    assert pool.wait() == 0


def test_a_killed_service_is_replaced(pool: DummyPool) -> None:
    """At once, by one process; the workers don't notice."""
    pool.start(services=1)
    before = serving(pool)
    pool.kill(before[0])
    wait_until(lambda: serving(pool) not in ([], before), 5, "another service")
    assert pool.lines("service.dead")[0]["service"] == 1
    assert not pool.lines("slot.dead")


def test_a_service_that_hangs_is_replaced(pool: DummyPool, tmp_path: Path) -> None:
    """One whose deadline passes is killed, also while it is idle."""
    pool.start(services=1)
    before = serving(pool)
    (pool.folder / "service.hang").touch()
    wait_until(lambda: serving(pool) not in ([], before), 10, "another service")
    assert pool.lines("service.overdue")[0]["why"] == "deadline"


def test_a_reload_replaces_services_and_changes_their_number(pool: DummyPool) -> None:
    """They have the new settings, as many as these say."""
    pool.start(services=1, colour="red")
    pool.configure(services=2, colour="blue")
    pool.signal(signal.SIGHUP)
    pool.wait_for("pool.reloaded")
    colours = [line["colour"] for line in pool.lines("serving") if alive(line["pid"])]
    assert colours == ["blue", "blue"]


def test_a_service_that_refuses_its_settings_ends_the_start(pool: DummyPool) -> None:
    """With its reason and its exit status."""
    pool.start(ready=False, services=1, service_boot="exit:78")
    assert pool.wait() == 78
    assert pool.lines("pool.given_up")[0]["reason"] == "MODEL: it is wrong"


def test_a_service_that_never_comes_up_ends_the_start(pool: DummyPool) -> None:
    """After some tries; the workers that are up make no pool without it."""
    pool.start(ready=False, services=1, service_boot="raise")
    assert pool.wait() == 1
    assert "no module named nowhere" in pool.lines("pool.given_up")[0]["reason"]


def test_a_reload_whose_services_fail_is_abandoned(pool: DummyPool) -> None:
    """The old ones come back."""
    pool.start(services=1, colour="red")
    pool.configure(services=1, colour="blue", service_boot="exit:78")
    pool.signal(signal.SIGHUP)
    pool.wait_for("pool.reload_abandoned")
    wait_until(lambda: serving(pool), 5, "a service")
    assert pool.lines("serving")[-1]["colour"] == "red"
