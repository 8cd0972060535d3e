"""Circuit breakers that a fleet shares, on real servers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from executor_worker.broker import Endpoint, Link
from executor_worker.broker.fleet.breakers import TOO_MANY, FleetBreakers, pool_scope
from executor_worker.broker.fleet.throttle_views import clear, throttled
from executor_worker.run_context import Circuit
from tests.unit.executor_worker.broker.acts import Client, survey

SERVER, SEARCH, BOOK = (Circuit("mcp", "s", "p"), Circuit("tool", "s.search", "p"), Circuit("tool", "s.book", "p"))
AWAY, LATE = "tool_unavailable", "tool_timeout"
MakeBreakers = Callable[..., FleetBreakers]


@pytest.fixture
def worker(make_link: Callable[..., Link]) -> MakeBreakers:
    """Make a worker's view of the breakers."""

    def make(name: str, *, queues: tuple[str, ...] = ("default",), active: bool = True) -> FleetBreakers:
        return FleetBreakers(make_link(), name, pool_scope(queues), active=lambda: active)

    return make


def fail(breakers: FleetBreakers, *circuits: Circuit, times: int = 1, code: str = AWAY) -> None:
    for _ in range(times):
        breakers.failed(circuits, code)


def open_names(link: Link) -> list[str]:
    return [one.name for one in throttled(link)]


def test_five_in_a_row_over_all_workers(worker: MakeBreakers, make_link: Callable[..., Link]) -> None:
    """An answer of whomever in between begins the count anew."""
    first, second = worker("w.1"), worker("w.2")
    fail(first, SEARCH, times=3)
    fail(second, SEARCH, times=1, code=LATE)
    second.answered([SEARCH])
    fail(first, SEARCH, times=2)
    fail(second, SEARCH, times=2)
    assert first.admit([SEARCH]) is None and open_names(make_link()) == []
    fail(first, SEARCH, code=LATE)
    for one in (first, second):
        held_back = one.admit([SEARCH])
        assert held_back is not None and 58 < held_back.seconds <= 60 and held_back.why == LATE
    assert first.admit([BOOK]) is None
    (shown,) = throttled(make_link())
    assert (shown.name, shown.is_tool, shown.why, shown.at_once) == ("tool/s.search", True, LATE, 1)


def test_a_server_that_is_away_is_held_back_and_not_its_tools(worker: MakeBreakers, db: Client) -> None:
    """A tool of it that only does not end is held back by itself, whatever the rest of the server does."""
    one, link = worker("w.1"), worker("w.2")
    fail(one, SERVER, SEARCH, times=3)
    fail(one, SERVER, BOOK, times=2)
    assert open_names(link._link) == ["mcp/s"]
    held_back = link.admit([SERVER, SEARCH])
    assert held_back is not None and held_back.circuit == SERVER
    one.answered([SERVER, SEARCH])
    one.answered([SERVER, BOOK])
    fail(one, SEARCH, times=TOO_MANY, code=LATE)
    assert open_names(link._link) == ["tool/s.search"]
    assert link.admit([SERVER, BOOK]) is None
    assert db.exists("dago:breaker:tool:p:s.search")


def test_one_call_a_minute_tries(worker: MakeBreakers, db: Client) -> None:
    """Who makes it may ask again; when it brings no answer either the minute begins anew; an answer opens all."""
    first, second = worker("w.1"), worker("w.2")
    fail(first, SEARCH, times=TOO_MANY)
    db.hset("dago:breaker:tool:p:s.search", "not_before", 1)
    assert first.admit([SEARCH]) is None and first.admit([SEARCH]) is None
    other = second.admit([SEARCH])
    assert other is not None and 58 < other.seconds <= 60
    held_back = first.failed([SEARCH], AWAY)
    assert held_back is not None and held_back.key == other.key
    assert first.admit([SEARCH]) is not None
    db.hset("dago:breaker:tool:p:s.search", "not_before", 1)
    assert second.admit([SEARCH]) is None
    second.answered([SEARCH])
    assert first.admit([SEARCH]) is None and not db.exists("dago:breaker:tool:p:s.search")


def test_what_was_begun_before_does_not_put_the_next_try_off(worker: MakeBreakers, db: Client) -> None:
    first, second = worker("w.1"), worker("w.2")
    fail(first, SEARCH, times=TOO_MANY)
    db.hset("dago:breaker:tool:p:s.search", "not_before", 1)
    held_back = second.failed([SEARCH], LATE)
    assert held_back is not None and held_back.seconds == 0


def test_pools_of_other_queues_have_other_functions(worker: MakeBreakers) -> None:
    """And those of the same queues the same, in whatever order they name them."""
    function = Circuit("tool", "lookup")
    fail(worker("prod.1", queues=("a", "b")), function, times=TOO_MANY)
    assert worker("prod.2", queues=("b", "a")).admit([function]) is not None
    assert worker("staging.1", queues=("staging",)).admit([function]) is None


def test_it_can_be_cleared_and_is_forgotten(worker: MakeBreakers, db: Client, make_link: Callable[..., Link]) -> None:
    one, link = worker("w.1"), make_link()
    fail(one, SEARCH, times=TOO_MANY)
    assert survey(link).breakers == 1
    ttl = db.pttl("dago:breaker:tool:p:s.search")
    assert 3_500_000 < ttl <= 3_600_000, "an hour without a call, and it is as if nothing had been"
    (shown,) = throttled(link)
    assert clear(link, shown) and one.admit([SEARCH]) is None
    assert survey(link).breakers == 0


def test_redis_is_not_asked_while_all_calls_are_answered() -> None:
    """And if it can't be asked no call is held back."""
    link = Link(Endpoint.parse("redis://127.0.0.1:1"), name="test", timeout_s=0.2)
    calls: list[object] = []
    link.run = lambda *words: calls.append(words)  # type: ignore[method-assign]
    idle = FleetBreakers(link, "w.1", "p", active=lambda: False)
    assert idle.admit([SEARCH]) is None and idle.failed([], AWAY) is None
    idle.answered([SEARCH])
    assert not calls
    del link.run
    away = FleetBreakers(link, "w.1", "p", active=lambda: True)
    assert away.admit([SEARCH]) is None and away.failed([SEARCH], AWAY) is None
    away.answered([SEARCH])
