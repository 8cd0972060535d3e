"""A node's outcome on stdout, as JSON."""

from __future__ import annotations

from typing import Any

from executor_worker.cli.display import print_json
from executor_worker.cli.exits import DONE, FAILED
from executor_worker.outcome import Completed, Outcome


def print_outcome(outcome: Outcome) -> int:
    """Print it; returns the exit status."""
    shown: dict[str, Any]
    if isinstance(outcome, Completed):
        shown = {"status": "completed", "output": outcome.output}
    else:
        shown = {"status": "failed", "error": outcome.error, "error_code": outcome.code, **outcome.detail}
    shown["mode"] = outcome.mode
    if outcome.usage is not None:
        shown["usage"] = outcome.usage.as_json()
    print_json(shown)
    return DONE if isinstance(outcome, Completed) else FAILED
