"""Limits over the fleet: how many places are taken, and what waits for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import script
from executor_worker.broker.names import LIMITS
from executor_worker.broker.queue.gates import GATES


@dataclass(frozen=True, slots=True)
class LimitView:
    """
    One limit as it stands.

    Attributes:
        used: Places that are taken.
        most: As the caller keeps to it, else as the worker that let items wait for it.
        waiting: Items that wait for it.
    """

    name: str
    used: int
    most: int
    waiting: int

    def as_json(self) -> dict[str, Any]:
        """As `status --json` shows it."""
        return {"name": self.name, "used": self.used, "max": self.most, "waiting": self.waiting}


def look_at_limits(link: Link, most: Mapping[str, int], *, lease_s: float) -> list[LimitView]:
    """
    Look at all limits that the caller keeps to, or that anything waits for.

    Raises:
        StreamUnavailable: No reply.
    """
    words: list[Word] = [int(lease_s * 1000)]
    for name, number in most.items():
        words += (name, number)
    flat = link.run(script("limits", "constants", "types", *GATES, "limits_watched"), [LIMITS], words)
    return [LimitView(flat[at].decode(), *flat[at + 1 : at + 4]) for at in range(0, len(flat), 4)]
