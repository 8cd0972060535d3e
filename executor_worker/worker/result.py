"""How a settlement ended."""

from __future__ import annotations

from dataclasses import dataclass

from executor_worker.broker import Taken


@dataclass(frozen=True, slots=True)
class Result:
    """
    How a settlement ended.

    Attributes:
        settled: False where the item was no longer ours; nothing was written then.
        trimmed: The entry had been trimmed away meanwhile; the result was committed all the same.
        late: It was acknowledged only: its run had gone on, or ended, without it.
        next: The item taken in the same step.
    """

    settled: bool
    trimmed: bool = False
    late: bool = False
    next: Taken | None = None
