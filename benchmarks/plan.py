"""Amounts of what is measured."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Plan:
    """
    Attributes:
        items: Of a throughput run.
        rounds: Of what is repeated side by side.
        workers: Where N is not the question.
        items_each: After how many items of its own a worker is weighed as one that has run for long; from some 2000 on
            nothing grows any more.
        quiet_s: How long an idle pool is watched.
        wakes: Items put one by one.
        kills: Workers killed one by one; each slot once: one whose workers keep dying is made to wait.
        pools: Pool sizes compared.
        backlogs: Items that wait behind those measured.
        calling: Workers that wait for a model.
    """

    items: int = 20_000
    rounds: int = 3
    workers: int = 32
    items_each: int = 3000
    quiet_s: float = 20.0
    wakeups: int = 200
    kills: int = 8
    trees: int = 3
    pools: tuple[int, ...] = (1, 8, 64, 200)
    backlogs: tuple[int, ...] = (0, 10_000, 100_000)
    pending: int = 50_000
    calling: int = 200


USUAL = Plan()
FULL = dataclasses.replace(
    USUAL, rounds=5, wakeups=1000, kills=32, trees=5, backlogs=(0, 10_000, 100_000, 1_000_000), items_each=100_000
)


def chosen(*, full: bool, **changes: Any) -> Plan:
    """The usual plan or the full one, with *changes*; those that are None are none."""
    return dataclasses.replace(
        FULL if full else USUAL, **{name: value for name, value in changes.items() if value is not None}
    )
