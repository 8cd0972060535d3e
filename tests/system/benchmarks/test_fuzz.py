"""A slice of the fuzzer: `python -m benchmarks.fuzz` runs as many cases as one likes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.fuzz.run import TARGETS, counterparts, run_target

CASES = {"items": 600, "states": 800, "templates": 2000, "nodes": 250, "models": 250}


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    """Close what the cases start."""
    with counterparts():
        yield


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_in_gets_an_answer(name: str) -> None:
    """One of the contract's endings, in time, and the right one where the input is good."""
    *_, tally = run_target(name, 7, CASES[name])
    assert not tally.failures, "\n".join(f"case {number}: {trace}" for number, trace in tally.failures[:3])
    assert tally.cases == CASES[name]
    assert len(tally.endings) > 1, "the cases differ"
