"""Run cases one after the other, and count what came of them."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

from benchmarks.fuzz import items, models, nodes, states, templates
from benchmarks.fuzz.material import Material

LONGEST_S = 3.0  # of the processor's time: a case may wait, but not work so long

TARGETS: dict[str, tuple[float, Callable[[Material], str]]] = {
    "items": (0.25, items.case),
    "states": (0.25, states.case),
    "templates": (0.25, templates.case),
    "nodes": (0.15, nodes.case),
    "models": (0.10, models.case),
}
"""By name: their part of all cases, and what runs one."""


@dataclass
class Tally:
    """
    The outcome of a target's cases.

    Attributes:
        endings: How they ended → how many.
        failures: Number and traceback of those that did what they must not.
        slowest_s: The longest one's processor time, in seconds.
    """

    name: str
    cases: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)
    slowest_s: float = 0.0


def run_case(name: str, seed: int, number: int) -> tuple[str, float]:
    """
    Run one case.

    Returns:
        How it ended, and its processor time in seconds.

    Raises:
        AssertionError: It took too long. What else it raises is what it must not.
    """
    material = Material(Random(f"{seed}/{name}/{number}"))
    began = time.thread_time()
    ending = TARGETS[name][1](material)
    took_s = time.thread_time() - began
    assert took_s <= LONGEST_S, f"it took {took_s:.1f} s of the processor's time"
    return ending, took_s


def run_target(name: str, seed: int, cases: int) -> Iterator[Tally]:
    """Run *cases* of a target; the same tally again and again, after each."""
    tally = Tally(name)
    for number in range(cases):
        try:
            ending, took_s = run_case(name, seed, number)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - that is what is looked for
            tally.failures.append((number, traceback.format_exc(limit=-6)))
        else:
            tally.endings[ending] += 1
            tally.slowest_s = max(tally.slowest_s, took_s)
        tally.cases += 1
        yield tally


@contextmanager
def counterparts() -> Iterator[None]:
    """Close in the end what cases have started."""
    try:
        yield
    finally:
        models.close()
