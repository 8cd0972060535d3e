"""The logrotate file that is shipped, tried by logrotate itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.wire import Wire
from tests.kit import RedisServer, cannot_run, wait_until
from tests.kit.paths import ROOT

SHIPPED = ROOT / "systemd" / "executor-worker.logrotate"
SYSTEMCTL = '#!/bin/sh\necho "$@" >>"{folder}/asked"\nkill -USR1 {pid}\n'


@pytest.fixture(scope="session")
def logrotate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The command on PATH, else Debian's, unpacked."""
    found = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin")
    if found:
        return found
    folder = tmp_path_factory.mktemp("logrotate")
    command = [sys.executable, str(ROOT / "tests/kit/debian.py"), "unpack", str(folder), "logrotate"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        cannot_run(f"logrotate: {done.stderr.strip()[-200:]}")
    return str(folder / "root/usr/sbin/logrotate")


def test_a_rotated_log_goes_on_in_a_new_file(
    start: Callable[..., Wire], server: RedisServer, tmp_path: Path, logrotate: str
) -> None:
    """Every process goes over to it, nothing is lost, and the old file is written no more."""
    folder = tmp_path / "executor-worker"
    path = folder / "executor.log"
    wire = start(server, workers=1, LOG_FILE=str(path), LOG_LEVEL="debug")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "systemctl").write_text(SYSTEMCTL.format(folder=tmp_path, pid=wire.pool.process.pid))
    (programs / "systemctl").chmod(0o755)
    rules = tmp_path / "rules"
    rules.write_text(SHIPPED.read_text().replace("/var/log/", f"{tmp_path}/"))
    rules.chmod(0o644)
    libraries = ":".join(
        str(one) for one in Path(logrotate).parents[1].glob("lib/*-linux-gnu")
    )  # of Debian's, unpacked
    environ = {**os.environ, "LD_LIBRARY_PATH": libraries, "PATH": f"{programs}:{os.environ['PATH']}"}
    command = [logrotate, "--force", "--state", str(tmp_path / "state"), str(rules)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    wait_until(path.exists, 10, "the pool has made the file anew")
    old = folder / "executor.log.1"
    assert "pool.ready" in old.read_text()
    wire.output({"tool_name": "renamed"})
    wait_until(lambda: '"slot":1' in path.read_text().replace(" ", ""), 10, "the worker writes there")
    assert wire.pool.drain() == 0
    assert "pool.stopped" in path.read_text()
    assert "pool.stopped" not in old.read_text()
    assert "--signal=USR1 executor-worker*.service" in (tmp_path / "asked").read_text()
