"""Respawn delays: when a slot whose child has died gets the next one, and when the pool gives up."""

from __future__ import annotations

from collections.abc import Sequence

DELAYS_S = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
CALM_S = 30.0  # a life this long was no crash in a loop
LONG_S = 2.0  # from this delay on, no reload waits for the slot
HOPELESS_BOOTS = 3
HANGING_BOOT = 2  # failures one boot that hangs counts for: its deadline was wait enough


class Backoff:
    """
    One slot's record of crashes in a row.

    The first is replaced at once, so that what it held runs again at once; then the delays grow. A child that lived
    long or got work done ends the row.
    """

    __slots__ = ("boot_failures", "crashes", "delay_s")

    def __init__(self) -> None:
        self.crashes = 0
        self.boot_failures = 0
        self.delay_s = 0.0

    def crashed(self, lived_s: float, useful: bool) -> float:
        """Note a crash; returns the seconds until the next fork."""
        if useful or lived_s >= CALM_S:
            self.crashes = 0
        self.delay_s = DELAYS_S[min(self.crashes, len(DELAYS_S) - 1)]
        self.crashes += 1
        return self.delay_s

    def boot_failed(self, hung: bool = False) -> float:
        """Note a child that never came up; returns the seconds until the next fork."""
        self.boot_failures += HANGING_BOOT if hung else 1
        return max(self.crashed(0.0, useful=False), DELAYS_S[1])

    def came_up(self) -> None:
        self.boot_failures = 0

    def forgive(self) -> None:
        """Start afresh: the settings have changed."""
        self.crashes = self.boot_failures = 0
        self.delay_s = 0.0

    @property
    def long(self) -> bool:
        return self.delay_s >= LONG_S


def hopeless(boot_failures: Sequence[int], up: int) -> bool:
    """Tell whether to give up a pool with no slot *up*: each has failed to boot several times in a row."""
    return up == 0 and bool(boot_failures) and min(boot_failures) >= HOPELESS_BOOTS
