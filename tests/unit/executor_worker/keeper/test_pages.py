"""The answers on HEALTH_PORT as readings of a scoreboard; no process and no Redis here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from executor_worker.keeper.pages import Health
from supervisor.scoreboard.scoreboard import Row, Scoreboard

NOW_S = 1000.0


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    """Two idle slots of a pool that runs."""
    made = Scoreboard(4)
    for slot in (1, 2):
        row = made.place(slot)
        row.pid = 4000 + slot
        row.state = "idle"
    head = made.head
    head.mode, head.configured = "running", 2
    head.redis_up = head.gate = True
    head.supervisor_beat_ns = int(NOW_S * 1e9)
    yield made
    made.close()


@pytest.fixture
def health(board: Scoreboard) -> Health:
    return Health("w", board, list, wall=lambda: 1.8e9, clock=lambda: NOW_S)


def status(health: Health) -> tuple[int, str]:
    code, _, body = health.answer("/health", {})
    return code, json.loads(body)["status"]


def ready(health: Health) -> int:
    return health.answer("/ready", {})[0]


def busy(row: Row, left_s: float) -> None:
    row.begin("held", "g/n", "running", int((NOW_S + left_s) * 1e9))


def test_a_whole_pool_is_healthy(health: Health) -> None:
    """All slots up, Redis there."""
    assert status(health) == (200, "healthy")
    assert health.answer("/ready", {}) == (200, "text/plain; charset=utf-8", b"ready")


@pytest.mark.parametrize("state", ["starting", "dead"])
def test_a_slot_that_is_not_up_degrades(health: Health, board: Scoreboard, state: str) -> None:
    """One of two works: degraded, still ready."""
    board.row(1).state = state
    assert status(health) == (200, "degraded")
    assert ready(health) == 200
    board.row(2).state = state
    assert status(health) == (503, "unhealthy")
    assert ready(health) == 503


@pytest.mark.parametrize("flag", ["redis_up", "gate"])
def test_without_redis_it_is_unhealthy(health: Health, board: Scoreboard, flag: str) -> None:
    """Also while the pool's name is not its own yet."""
    setattr(board.head, flag, False)
    assert status(health) == (503, "unhealthy")
    assert ready(health) == 503


def test_paused_is_degraded(health: Health, board: Scoreboard) -> None:
    """Paused slots could take items again at once."""
    board.head.paused = True
    assert status(health) == (200, "degraded")


@pytest.mark.parametrize("mode", ["draining", "stopped"])
def test_draining_comes_before_all_else(health: Health, board: Scoreboard, mode: str) -> None:
    """Whatever else is the matter, a pool that leaves says so."""
    board.head.mode = mode
    board.head.redis_up = False
    assert status(health) == (200, "draining")
    assert ready(health) == 503


@pytest.mark.parametrize(("mode", "code"), [("starting", 503), ("running", 200), ("reloading", 200)])
def test_ready_in_each_mode(health: Health, board: Scoreboard, mode: str, code: int) -> None:
    """Not before all is up; a reload changes nothing."""
    board.head.mode = mode
    assert ready(health) == code


def test_slots_that_are_all_past_their_time_make_no_progress(health: Health, board: Scoreboard) -> None:
    """Unhealthy when every slot hangs, not when one does."""
    busy(board.row(1), -1)
    busy(board.row(2), 5)
    assert status(health) == (200, "healthy")
    busy(board.row(2), -1)
    assert status(health) == (503, "unhealthy")


def test_stopped_processes_make_no_progress(health: Health, board: Scoreboard) -> None:
    """A process that is stopped by a signal is not idle, whatever its row says."""
    board.row(1).stopped = True
    assert status(health)[0] == 200
    board.row(2).stopped = True
    assert status(health) == (503, "unhealthy")


def test_live_follows_the_main_loop_only(health: Health, board: Scoreboard) -> None:
    """Redis away or draining do not matter; a loop that stands still does."""
    board.head.redis_up = False
    board.head.mode = "draining"
    assert health.answer("/live", {})[0] == 200
    board.head.supervisor_beat_ns = int((NOW_S - 60) * 1e9)
    assert health.answer("/live", {})[0] == 503


def test_rows_of_workers(health: Health, board: Scoreboard) -> None:
    """A row says what its slot is at; an idle one names no item."""
    board.row(2).begin("held", "g/n", "tool:x")
    body: dict[str, Any] = json.loads(health.answer("/workers", {})[2])
    first, second = body["workers"]
    assert (first["slot"], first["pid"], first["item"]) == (1, 4001, None)
    assert (second["state"], second["phase"], second["item"]) == ("busy", "tool:x", "g/n")
    assert first["pss_bytes"] is None


def test_status_says_all_that_is_known_of_a_run(board: Scoreboard) -> None:
    """Its mode and step, which run it is, when its time and that of its call are up; and of the pool what it did."""
    told = Health("w", board, list, lambda: 1.8e9, lambda: NOW_S, rates=lambda: {"totals": {"completed": 3}})
    row, lonely = board.row(1), board.row(2)
    busy(row, 60)
    row.begin_run("g/n", "running", 0, "", 2)
    row.show("agent", 3, 10, int((NOW_S + 30) * 1e9))
    row.enter("llm", int((NOW_S + 10) * 1e9))
    lonely.state, lonely.stopped = "dead", True
    lonely.respawn_at_ns = int((NOW_S + 4) * 1e9)
    body: dict[str, Any] = json.loads(told.answer("/status", {})[2])
    assert (body["mode"], body["paused"], body["totals"]) == ("running", False, {"completed": 3})
    assert body["health"]["worker_id"] == "w"
    first, second = body["workers"]
    assert [first[name] for name in ("mode", "step", "steps", "attempt", "item")] == ["agent", 3, 10, 2, "g/n"]
    assert (first["deadline"], first["phase_deadline"]) == ("2027-01-15T08:00:30.000Z", "2027-01-15T08:00:10.000Z")
    assert (second["stopped"], second["respawn"], second["attempt"]) == (True, "2027-01-15T08:00:04.000Z", None)
    row.end_run()
    body = json.loads(told.answer("/status", {})[2])
    assert (body["workers"][0]["mode"], body["workers"][0]["attempt"]) == (None, None)


def test_the_pools_own_gauges(health: Health, board: Scoreboard) -> None:
    """What workers weigh together, whether it is paused, and whether names from outside have filled the totals."""
    board.row(1).pss_bytes = board.row(2).pss_bytes = 5 * 2**20
    board.head.paused = True
    for number in range(2000):
        board.row(1).counters.add(b"dago_tool_executions_total\x1f%d" % number, 1)
    lines = health.answer("/metrics", {})[2].decode().splitlines()
    assert "dago_worker_memory_bytes 1.048576e+07" in lines and "dago_pool_paused 1.0" in lines
    (missing,) = (float(line.split()[1]) for line in lines if line.startswith("dago_uncounted "))
    kept = sum(line.startswith("dago_tool_executions_total{") for line in lines)
    assert missing > 0 and missing + kept == 2000
    board.row(2).pid = 0
    assert b"dago_worker_memory_bytes 5.24288e+06" in health.answer("/metrics", {})[2]


def test_counts_of_health(health: Health, board: Scoreboard) -> None:
    """All states are named, with 0 if there is none."""
    busy(board.row(1), 5)
    body = json.loads(health.answer("/health", {})[2])
    assert body["workers"] == {"configured": 2, "starting": 0, "idle": 1, "busy": 1, "draining": 0, "dead": 0}
    assert (body["timestamp"], body["last_processed"]) == ("2027-01-15T08:00:00.000Z", None)


def test_unknown_paths_are_named(health: Health) -> None:
    """404, and which there are."""
    code, _, body = health.answer("/healthz", {})
    assert code == 404
    assert "/health" in json.loads(body)["error"]


@pytest.mark.parametrize("path", ["/workers", "/status", "/metrics"])
@pytest.mark.parametrize(
    ("brought", "code"),
    [
        ("Bearer right-token", 200),
        ("bearer  right-token ", 200),
        ("", 401),
        ("Bearer", 401),
        ("Bearer right-toke", 401),
        ("Bearer right-token2", 401),
        ("Bearer r\xefght-token", 401),
        ("Basic right-token", 401),
        ("right-token", 401),
    ],
)
def test_a_token_guards_what_tells_of_the_work(board: Scoreboard, path: str, brought: str, code: int) -> None:
    """The answer to anything else tells nothing; a probe brings no token."""
    guarded = Health("w", board, list, wall=lambda: 1.8e9, clock=lambda: NOW_S, token="right-token")
    status, _, body = guarded.answer(path, {"authorization": brought} if brought else {})
    assert status == code
    assert code == 200 or list(json.loads(body)) == ["error"]
    assert b"right-token" not in body
    assert [guarded.answer(probe, {})[0] for probe in ("/health", "/live", "/ready")] == [200, 200, 200]


def test_pages_that_name_graphs_are_for_this_machine_unless_there_is_a_token(health: Health, board: Scoreboard) -> None:
    """Probes and metrics are for everybody; who brings the token may be anywhere."""
    answered = {
        path: health.answer(path, {}, local=False)[0] for path in ("/workers", "/status", "/metrics", "/health")
    }
    assert answered == {"/workers": 403, "/status": 403, "/metrics": 200, "/health": 200}
    guarded = Health("w", board, list, token="word")
    assert guarded.answer("/workers", {"authorization": "Bearer word"}, local=False)[0] == 200
    assert guarded.answer("/workers", {}, local=False)[0] == 401
