"""Redis' password is rotated while work is in hand: managed Redis cuts the connections and knows the new one only."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.stage import Stage
from tests.kit import Pool, RedisServer

OLD, NEW = "old-password-1", "new-password-2"


class Rotation:
    """A pool that has its password from a file, on a Redis that is given another one."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self.file = folder / "redis-pass"
        self.file.write_text(OLD)

    def pool(self, **settings: Any) -> Pool:
        given = {"REDIS_ADDR": self.stage.server.addr, "REDIS_PASS": "", "REDIS_PASS_FILE": str(self.file)}
        return self.stage.pool(**given | settings)

    def rotate(self) -> None:
        """Change it at the server, which cuts all connections."""
        db = self.stage.db
        db.config_set("requirepass", NEW)
        db.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def write(self, password: str = NEW) -> None:
        self.file.write_text(password)


@pytest.fixture
def rotation(
    start_server: Callable[..., RedisServer], make_stage: Callable[[RedisServer], Stage], tmp_path: Path
) -> Rotation:
    return Rotation(make_stage(start_server("redis", password=OLD)), tmp_path)


def assert_each_ran_once(pool: Pool, stage: Stage, graphs: list[str]) -> None:
    """All are settled, no worker died for it, and no password is in the log."""
    for graph in graphs:
        assert stage.result(graph, 20)["type"] == "node.completed"
    stage.wait_nothing_left()
    assert len(stage.journal.starts()) == len(graphs)
    assert not pool.seen("slot.dead")
    assert not [secret for secret in (OLD, NEW) if secret in json.dumps(pool.events)]


def hold(stage: Stage, count: int) -> list[str]:
    graphs = [f"g{number}" for number in range(count)]
    for graph in graphs:
        stage.push("hold", graph)
        stage.started(graph)
    return graphs


def let_go(stage: Stage, graphs: list[str]) -> None:
    for graph in graphs:
        stage.journal.let_go(graph)


@pytest.mark.parametrize("workers", [1, 3])
def test_results_in_hand_are_committed_with_the_new_password(rotation: Rotation, workers: int) -> None:
    """Each item is run once; the reload ends."""
    pool, stage = rotation.pool(workers=workers, LEASE="30"), rotation.stage
    graphs = hold(stage, workers)
    rotation.rotate()
    rotation.write()
    pool.send(signal.SIGHUP)
    pool.wait_event("pool.reloading")
    let_go(stage, graphs)
    assert_each_ran_once(pool, stage, graphs)
    pool.wait_event("pool.reloaded", 20)


def test_a_new_password_is_found_without_a_signal(rotation: Rotation) -> None:
    """Written late: the log names the setting meanwhile; then keeper, busy and idle workers all go on."""
    pool, stage = rotation.pool(workers=2, LEASE="30"), rotation.stage
    graphs = hold(stage, 1)
    rotation.rotate()
    let_go(stage, graphs)
    said = pool.wait_event("redis.refused", 20, level="error")
    assert said["setting"] == "REDIS_PASS" and "WRONGPASS" in said["reason"] and "REDIS_PASS_FILE" in said["fix"]
    assert pool.wait_event("settle.refused", 20)["setting"] == "REDIS_PASS"
    rotation.write()
    pool.wait_event("redis.back", 20)
    for number in (1, 2):
        stage.push("nap", f"after{number}", seconds=0.2)
    assert_each_ran_once(pool, stage, [*graphs, "after1", "after2"])


def test_another_user_is_found_too(
    start_server: Callable[..., RedisServer], make_stage: Callable[[RedisServer], Stage], tmp_path: Path
) -> None:
    """REDIS_USER changes as well, in the settings file; the old one is gone."""
    stage = make_stage(start_server("redis"))
    for user, password in (("first", OLD), ("second", NEW)):
        stage.db.execute_command("ACL", "SETUSER", user, "on", f">{password}", "~*", "&*", "+@all")
    settings = tmp_path / "settings"
    settings.write_text(f"REDIS_USER=first\nREDIS_PASS={OLD}\n")
    pool = stage.pool(workers=2, LEASE="30", ENV_FILE=str(settings))
    graphs = hold(stage, 1)
    settings.write_text(f"REDIS_USER=second\nREDIS_PASS={NEW}\n")
    stage.db.execute_command("ACL", "DELUSER", "first")
    let_go(stage, graphs)
    assert_each_ran_once(pool, stage, graphs)


def test_a_worker_by_itself_finds_a_password_where_there_was_none(
    start_server: Callable[..., RedisServer], make_stage: Callable[[RedisServer], Stage], tmp_path: Path
) -> None:
    """NOAUTH; the settings file that has it now is the one it was started with."""
    stage = make_stage(start_server("redis"))
    settings = tmp_path / "settings"
    settings.write_text(f"REDIS_ADDR={stage.server.addr}\n")
    pool = stage.pool(command=("work",), wait=False, REDIS_ADDR="", ENV_FILE=str(settings), LEASE="30")
    pool.wait_event("worker.up")
    graphs = hold(stage, 1)
    stage.db.config_set("requirepass", NEW)
    stage.db.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    settings.write_text(f"REDIS_ADDR={stage.server.addr}\nREDIS_PASS={NEW}\n")
    let_go(stage, graphs)
    assert_each_ran_once(pool, stage, graphs)
