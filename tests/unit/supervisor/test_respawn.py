"""Back-off and giving up, on a clock of our own."""

from __future__ import annotations

from supervisor.slots.respawn import DELAYS_S, Backoff, hopeless


def test_first_crash_is_replaced_at_once_then_the_delays_grow() -> None:
    """A crash loop is slowed down to the longest delay, and stays there."""
    backoff = Backoff()
    delays = [backoff.crashed(0.1, useful=False) for _ in range(len(DELAYS_S) + 2)]
    assert delays == [*DELAYS_S, DELAYS_S[-1], DELAYS_S[-1]]
    assert delays[0] == 0


def test_work_done_ends_the_row_of_crashes() -> None:
    """A worker that gets items done and is killed again and again is no crash loop."""
    backoff = Backoff()
    assert [backoff.crashed(0.1, useful=True) for _ in range(10)] == [0.0] * 10


def test_long_life_ends_the_row_of_crashes() -> None:
    """An idle worker that dies once an hour is replaced at once each time."""
    backoff = Backoff()
    assert [backoff.crashed(3600, useful=False) for _ in range(10)] == [0.0] * 10


def test_failed_boot_always_waits() -> None:
    """A boot that failed is not tried again in the same moment."""
    assert Backoff().boot_failed() > 0


def test_forgiven_starts_afresh() -> None:
    """New settings clear the record."""
    backoff = Backoff()
    for _ in range(5):
        backoff.boot_failed()
    backoff.forgive()
    assert (backoff.boot_failures, backoff.long, backoff.crashed(0, useful=False)) == (0, False, 0.0)


def test_pool_is_given_up_only_when_every_seat_has_failed_several_times() -> None:
    """One seat that comes up, or one that has not had its chances yet, is reason to go on."""
    assert hopeless([3, 3, 4], up=0)
    assert not hopeless([3, 2, 4], up=0)
    assert not hopeless([9, 9, 9], up=1)
    assert not hopeless([], up=0)


def test_hanging_boot_counts_double() -> None:
    """Its deadline was wait enough."""
    backoff = Backoff()
    backoff.boot_failed(hung=True)
    backoff.boot_failed(hung=True)
    assert hopeless([backoff.boot_failures], up=0)
