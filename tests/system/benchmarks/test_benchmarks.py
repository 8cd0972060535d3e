"""The benchmarks' own arithmetic, and one row of them in short."""

from __future__ import annotations

import json

import pytest

from benchmarks.figures import Figure, as_json, change, kept_form, percentile, table
from benchmarks.interpreter import described, is_plain
from benchmarks.plan import chosen
from benchmarks.slow_model import flying, repeated
from benchmarks.stage import item, state
from benchmarks.yardstick import cpu_per_1000
from tests.kit import RedisServer


def test_percentiles_are_samples_that_were_seen() -> None:
    """The smallest sample that so many do not exceed; the slowest of a few is their 99th percentile."""
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([4.0, 1.0, 2.0, 3.0], 0.5) == 2.0
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile([1.0, 9.0], 0.99) == 9.0
    assert percentile([5.0], 0.5) == 5.0


def test_a_regression_is_seen_on_a_machine_of_another_speed() -> None:
    """What takes time is kept as a ratio to the bare loop of its own run; what does not is kept as it is."""
    before = [Figure.of("took", [4.0], "s", scale="speed"), Figure.of("weight", [10.0], "MiB")]
    kept = kept_form(before, loop_s=0.5)
    twice_as_slow = Figure.of("took", [8.0], "s", scale="speed")
    assert change(twice_as_slow, kept, loop_s=1.0) == pytest.approx(1.0)
    assert change(twice_as_slow, kept, loop_s=0.5) == pytest.approx(2.0)
    assert change(Figure.of("weight", [15.0], "MiB"), kept, loop_s=1.0) == pytest.approx(1.5)
    assert change(Figure.of("new", [1.0]), kept, loop_s=1.0) is None


def test_a_plain_build_of_the_interpreter_is_named() -> None:
    """As configure was told: distributions and images optimise, who builds one without saying so gets a plain one."""
    assert is_plain("'--prefix=/opt/python' '--enable-shared'")
    assert not is_plain("'--enable-loadable-sqlite-extensions' '--enable-optimizations' '--with-lto'")
    assert "a plain build" in described(plain=True)
    assert "plain" not in described(plain=False)


def test_the_table_puts_ratios_first_and_marks_what_is_too_much() -> None:
    """A figure beyond what is wanted, and one far beyond what is kept, have a mark; others have none."""
    ratio = Figure.of("ratio", [0.5, 0.7, 0.6], at_most=0.6, scale="ratio")
    figures = [Figure.of("weight", [15.0], "MiB", at_most=14.0), ratio]
    _, first, second = table(figures, {"ratio": 0.3, "weight": 15.0}, loop_s=1.0).splitlines()
    assert first.split() == ["ratio", "0.600", "×", "0.500", "…", "0.700", "0.600", "2.00", "!"]
    assert second.split() == ["weight", "15.0", "MiB", "15.0", "…", "15.0", "14.0", "!", "1.00"]
    data = json.loads(as_json(figures, {}, 1.0, {}))
    assert [(row["name"], row["met"]) for row in data["figures"]] == [("weight", False), ("ratio", True)]


def test_calls_in_flight_are_averaged_over_the_time_looked_at() -> None:
    """Calls count for as long as they lie inside it; those still without an answer until its end."""
    calls = [("a", 0.0, 5.0), ("b", 4.0, 12.0), ("c", 9.0, 0.0)]
    assert flying(calls, 0.0, 10.0) == pytest.approx((5 + 6 + 1) / 10)
    assert repeated([*calls, ("a", 6.0, 7.0)]) == 1


def test_items_and_states_are_as_large_as_they_are_to_be() -> None:
    """Otherwise figures of two versions would not be of the same work."""
    assert len(item("g", size=1024)) == 1024
    assert len(state("g", 2048)) == 2048
    assert chosen(full=False, items=7, rounds=None).items == 7


def test_the_bare_loop_works_a_stream_off(redis_server: RedisServer) -> None:
    """Each item leaves its event, and what it cost is told."""
    assert cpu_per_1000(redis_server, 50) > 0
    assert not list(redis_server.client().scan_iter("bare.*"))
