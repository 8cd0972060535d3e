"""Another program puts something else under a key of ours: the key is named, and all goes on when it is gone."""

from __future__ import annotations

import pytest

from tests.faults.stage import COMPLETED, FAILED, WORK, Stage
from tests.kit import wait_until


def test_a_text_under_the_streams_name_at_the_start(stage: Stage) -> None:
    """The pool ends as with wrong settings, and names the key."""
    stage.db.set(WORK, "x")
    pool = stage.pool(wait=False)
    assert pool.wait() == 78
    reason = pool.wait_event("pool.given_up")["reason"]
    assert reason.startswith(f"the key {WORK} holds a string, where a stream is expected.")


@pytest.mark.parametrize("key", [WORK, COMPLETED, FAILED])
def test_a_key_that_is_taken_while_the_pool_runs(stage: Stage, key: str) -> None:
    """Said once, by name, in the log and in health; the result waits and is settled when the key is free."""
    pool = stage.pool(workers=1)
    stage.push("hold")
    stage.started()
    stage.db.delete(key)
    stage.db.rpush(key, "x")
    stage.journal.let_go("g")
    if key in (COMPLETED, FAILED):
        stage.push("hold", "other")  # the keeper meets the completed stream, and no other, by itself
    problem = f"the key {key} holds a list, where a stream is expected"
    pool.wait_event("key.wrong_type", 30, problem=problem)
    wait_until(lambda: pool.health()["status"] == "unhealthy", 10)
    assert pool.health()["problems"][0].startswith(problem)
    stage.db.delete(key)
    wait_until(lambda: pool.health()["status"] == "healthy", 20)
    stage.journal.let_go("other")
    assert stage.result()["type"] == "node.completed"
    assert len(pool.seen("key.wrong_type")) == 1
