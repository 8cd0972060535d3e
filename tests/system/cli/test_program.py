"""What the supervisor is told of the settings."""

from __future__ import annotations

import pytest

from executor_worker.keeper.duties import LONGEST_RENEWAL_S
from executor_worker.program.pool import pool_settings
from executor_worker.settings import Settings


@pytest.mark.parametrize("lease", ["1s", "2s", "3s", "30s", "1h"])
def test_a_new_keeper_is_there_before_a_lease_ends(lease: str) -> None:
    """Whether one hangs or dies again and again; one that hangs is not left alone for long."""
    settings = Settings.load({"LEASE": lease, "ENV_FILE": "/dev/null"})
    pool, renewed = pool_settings(settings), min(settings.lease / 3, LONGEST_RENEWAL_S)
    assert renewed + pool.keeper_silence_s < settings.lease
    assert renewed + pool.keeper_wait_s < settings.lease
    assert pool.keeper_silence_s <= 10
