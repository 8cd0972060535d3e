"""How long is waited between attempts, on a clock of the test's own."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor_worker.errors import Abandoned, ModelBadResponse, ModelRateLimited, ModelRejected, ModelUnavailable
from executor_worker.providers.retries import Retries, asked_wait_s, pause
from executor_worker.run_context import RunContext


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def run(errors: list[Exception], clock: Clock, *, chance: float = 1.0, left_s: float = 1000, retries: int = 5) -> str:
    """Fail with *errors* one after the other, then answer."""
    queue = list(errors)

    def attempt(number: int) -> str:
        if queue:
            raise queue.pop(0)
        return f"attempt {number}"

    patience = Retries(retries, sleep=clock.sleep, chance=lambda: chance)
    return patience.run(attempt, RunContext(clock() + left_s, clock=clock))


def test_waits_double_up_to_a_cap_and_are_drawn_by_lot() -> None:
    """Full jitter: between nothing and the step's length."""
    for chance, expected in (
        (1.0, [0.5, 1, 2, 4, 8, 16, 30, 30]),
        (0.0, [0] * 8),
        (0.5, [0.25, 0.5, 1, 2, 4, 8, 15, 15]),
    ):
        clock, total = Clock(), 0.0
        for count, wait in enumerate(expected, start=1):
            clock = Clock()
            total += wait
            run([ModelUnavailable("x")] * count, clock, chance=chance, retries=8)
            assert clock.now - 100 == pytest.approx(total)


def test_what_the_provider_asks_for_goes_first() -> None:
    """Never earlier, and a little later by lot."""
    clock = Clock()
    assert run([ModelRateLimited("x", retry_after=7)], clock, chance=0) == "attempt 1"
    assert clock.now == pytest.approx(107)
    run([ModelRateLimited("x", retry_after=20)], clock, chance=1)
    assert clock.now == pytest.approx(128)


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    """The error comes at once, with what was asked for."""
    clock = Clock()
    with pytest.raises(ModelRateLimited, match=r"^busy \(asked to wait 60 s; the node has 30 s left\)$"):
        run([ModelRateLimited("busy", retry_after=60)], clock, left_s=30)
    assert clock.slept == []


def test_what_can_not_pass_is_not_tried_again() -> None:
    """By its class, or because this one says so."""
    with pytest.raises(ModelRejected, match=r"^no$"):
        run([ModelRejected("no")], Clock())
    final = ModelRateLimited("no money")
    final.retryable = False
    with pytest.raises(ModelRateLimited, match=r"^no money$") as caught:
        run([final], Clock())
    assert caught.value.retryable is False


def test_the_last_error_says_how_often_it_was_tried() -> None:
    """And keeps its class."""
    with pytest.raises(ModelBadResponse, match=r"^odd \(tried 3 times\)$"):
        run([ModelBadResponse("odd")] * 3, Clock(), retries=2)
    with pytest.raises(ModelBadResponse, match=r"^odd$"):
        run([ModelBadResponse("odd")], Clock(), retries=0)


def test_a_wait_is_broken_off_by_the_watch() -> None:
    """It is asked every half second."""
    clock = Clock()

    class Lost(RunContext):
        def check(self) -> None:
            if clock() >= 103:
                raise Abandoned("gone")

    with pytest.raises(Abandoned):
        pause(60, Lost(1000, clock=clock), clock.sleep)
    assert clock.now == pytest.approx(103)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:30 GMT"}, 30),
        ({"retry-after": "Sat, 21 Nov 2026 09:59:00 GMT"}, 0),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:30 +0100"}, 30),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT", "date": "Sat, 21 Nov 2026 12:00:10 GMT"}, 20),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:30 GMT", "date": "noon"}, 30),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "1e9"}, 86400),
        ({"retry-after-ms": "1e300"}, 86400),
        ({"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"}, 86400),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
    ],
)
def test_the_headers_are_read(headers: dict[str, str], seconds: float | None) -> None:
    """Milliseconds before seconds, seconds or a date by its own clock, nonsense as nothing, ages as a day."""
    assert asked_wait_s(headers, lambda: datetime(2026, 11, 21, 10, tzinfo=UTC)) == seconds


@given(st.text(max_size=40))
def test_no_header_breaks_it(text: str) -> None:
    """Whatever a server sends, the wait is a number from 0 or nothing."""
    wait_s = asked_wait_s({"retry-after": text})
    assert wait_s is None or 0 <= wait_s <= 86400
