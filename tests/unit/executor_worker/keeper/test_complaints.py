"""What Redis refuses is said once, then at intervals."""

from __future__ import annotations

from typing import Any

import pytest

from executor_worker.errors import StreamRefused
from executor_worker.keeper.complaints import AGAIN_S, Complaints


def test_the_same_refusal_is_said_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries and lines in it make no other one of it; another reason is said at once, and bounded is what is known."""
    said: list[dict[str, Any]] = []
    monkeypatch.setattr("executor_worker.telemetry.logs.error", lambda event, **fields: said.append(fields))
    now = 100.0
    complaints = Complaints(lambda: now)
    for entry in range(50):
        complaints.refused(StreamRefused(f"ERR Error running script at 17{entry}-0: user_script:{entry}: nil"))
    assert len(said) == 1 and "170-0" in said[0]["reason"]
    complaints.refused(StreamRefused("NOPERM no permissions to run the 'xadd' command"))
    assert len(said) == 2
    now += AGAIN_S
    complaints.refused(StreamRefused("ERR Error running script at 9-0: user_script:9: nil"))
    assert len(said) == 3
    for kind in range(500):
        complaints.refused(StreamRefused("x" * kind))
    assert len(complaints._silent_until) <= 100
