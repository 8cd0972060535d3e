"""Amount of what tests make up: everything in `make test`, a fifth of it in `make quick` (QUICK=1)."""

from __future__ import annotations

import os

import hypothesis

QUICK = bool(os.environ.get("QUICK"))


def tries(full: int) -> int:
    """Say how many cases to make up, or how often to kill, of the *full* number."""
    return max(1, full // 5) if QUICK else full


def register_profile() -> None:
    """Set what hypothesis makes up; how long an example takes says how busy the machine is, nothing more."""
    hypothesis.settings.register_profile(
        "ours",
        deadline=None,
        max_examples=tries(100),
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.load_profile("ours")
