"""How long is waited between attempts, on a clock of the test's own."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor_worker.errors import (
    Abandoned,
    ContextExceeded,
    ModelBadResponse,
    ModelError,
    ModelRateLimited,
    ModelRefused,
    ModelRejected,
    ModelTimeout,
    ModelUnavailable,
    Parked,
)
from executor_worker.providers.retries import Retries, asked_wait_s, pause
from executor_worker.providers.throttle import Wait
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


class Given(RunContext):
    """A run whose item is given back instead of waiting."""

    def may_park(self, seconds: float, throttle_key: str) -> None:
        raise Parked(throttle_key, self.tries)


class Gate:
    """
    A throttle that others' refusals close: before the calls with these numbers.

    Attributes:
        refusal: How a refusal of the key ends.
    """

    def __init__(self, closed_before: tuple[int, ...] = (), refusal: Wait | None = None, refused: bool = False) -> None:
        self.closed_before = list(closed_before)
        self.calls = 0
        self.refusal = refusal
        self.accepted: list[bool] = []
        self._refused = refused

    def admit(self, model: str, run_context: RunContext) -> Wait | None:
        if self.calls in self.closed_before:
            self.closed_before.remove(self.calls)
            return Wait(60.0, "throttle", self._refused)
        self.calls += 1
        return None

    def ended(self, model: str, run_context: RunContext, error: ModelError | None, *, answered: bool) -> None:
        self.accepted.append(answered)

    def refused(self, model: str, run_context: RunContext, error: ModelRefused) -> Wait | None:
        return self.refusal

    def key(self, model: str) -> str:
        return "throttle"


def over_parks(gate: Gate, error: ModelError, *, retries: int = 2, left_s: float = 1000, most: int = 20) -> ModelError:
    """Run an item until it fails, taking it up again whenever it was given back, as workers do."""
    clock, tries = Clock(), 0

    def attempt(number: int) -> str:
        raise error

    for _ in range(most):
        run_context = Given(clock() + left_s, clock=clock)
        run_context.tries = tries
        try:
            Retries(retries, sleep=clock.sleep, throttle=gate).run(attempt, run_context, "m")
        except Parked as given_back:
            tries = given_back.refused
        except ModelError as failed:
            return failed
    raise AssertionError(f"it goes round for ever: {gate.calls} calls")


@pytest.mark.parametrize("closed", [(), (1,), (2,), (0, 1, 2), (1, 1, 1, 2, 2), (1, 2)])
@pytest.mark.parametrize(
    "error", [ModelUnavailable("500"), ModelTimeout("slow"), ModelBadResponse("odd")], ids=lambda error: error.code
)
def test_retries_hold_over_parks(closed: tuple[int, ...], error: ModelError) -> None:
    """However often others' refusals give the item back between its own errors."""
    gate = Gate(closed)
    assert "tried 3 times" in str(over_parks(gate, error))
    assert gate.calls == 3


def test_own_refusals_count_with_other_errors() -> None:
    """They are the call's own as well."""
    throttled = ModelRateLimited("busy", retry_after=1)
    throttled.throttled = True
    gate = Gate((1, 2))
    over_parks(gate, throttled)
    assert gate.calls == 3


def test_a_refused_key_that_never_worked_ends_the_call() -> None:
    """At once, as what it is."""
    gate = Gate()
    failed = over_parks(gate, ModelRefused("no", why="HTTP 401"))
    assert (failed.code, str(failed), gate.calls) == ("llm_refused", "no", 1)


def test_a_refused_key_that_has_worked_costs_no_tries() -> None:
    """The item waits, however often it is the one that tries, and however little time its runs have."""
    with pytest.raises(AssertionError, match="20 calls"):
        over_parks(Gate(refusal=Wait(60.0, "throttle", refused=True)), ModelRefused("no"), retries=0, left_s=5)
    gate = Gate((0, 0, 0), refused=True)
    assert "500" in str(over_parks(gate, ModelUnavailable("500"), retries=0, left_s=5))


def test_whoever_can_not_give_back_waits_no_longer_than_it_may() -> None:
    """A run by itself, with no stream to wait in."""
    clock, gate = Clock(), Gate(refusal=Wait(60.0, "", refused=True))

    def attempt(number: int) -> str:
        raise ModelRefused("no")

    with pytest.raises(ModelRefused):
        Retries(2, sleep=clock.sleep, throttle=gate).run(attempt, RunContext(clock() + 200, clock=clock), "m")
    assert gate.calls == 4
    closed = Gate((0,), refused=True)
    with pytest.raises(ModelRefused, match="not called; the node has 5 s left"):
        Retries(2, sleep=clock.sleep, throttle=closed).run(attempt, RunContext(clock() + 5, clock=clock), "m")


@pytest.mark.parametrize(
    ("error", "accepted"), [(ModelRejected("400"), True), (ContextExceeded("long"), True), (ModelTimeout("t"), False)]
)
def test_a_request_that_is_found_wrong_was_let_in(error: ModelError, accepted: bool) -> None:
    """It shows that the key is taken; a server that fails shows nothing."""
    gate = Gate()
    over_parks(gate, error, retries=0)
    assert gate.accepted == [accepted]


def test_an_endless_wait_is_bounded() -> None:
    """Five minutes, then the call is tried again, whatever was asked for."""
    clock = Clock()
    assert run([ModelRateLimited("x", retry_after=5000)], clock, left_s=10_000) == "attempt 1"
    assert clock.now == pytest.approx(400)


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
