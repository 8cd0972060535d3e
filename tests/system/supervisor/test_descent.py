"""Who descends from whom, by /proc."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.processes import process_tree
from supervisor.processes.processes import reap_adopted
from supervisor.scoreboard.scoreboard import Scoreboard
from tests.kit import wait_until


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], env={"EXECUTOR_POOL": "some-mark", "PATH": os.environ["PATH"]}) as process:
        yield process
        process.kill()


def test_process_with_a_nasty_name_is_read(folder: Path) -> None:
    """A name may hold blanks and parentheses; just executed it may also wait for the disk its pages come from."""
    nasty = folder / "a) S 1 (b"
    nasty.symlink_to("/bin/sleep")
    with subprocess.Popen([nasty, "60"]) as process:
        wait_until(lambda: b"a) S 1" in Path(f"/proc/{process.pid}/stat").read_bytes(), 5, "the exec")
        seen = process_tree.read(process.pid)
        assert seen is not None
        assert (seen.pid, seen.parent) == (process.pid, os.getpid())
        assert seen.state in "RSD"
        process.kill()


def test_children_and_theirs_are_found() -> None:
    """Down to the last generation, and without the roots."""
    with subprocess.Popen(["sh", "-c", "sleep 60; true"]) as shell:
        wait_until(lambda: process_tree.descendants([shell.pid], process_tree.everyone()), 5, "the grandchild")
        [grandchild] = process_tree.descendants([shell.pid], process_tree.everyone())
        assert grandchild.parent == shell.pid
        assert shell.pid in process_tree.children_of(os.getpid())
        assert grandchild.pid not in process_tree.children_of(os.getpid())
        assert process_tree.kill(grandchild)
        shell.wait(5)


def test_number_that_went_to_another_is_not_killed(sleeper: subprocess.Popen[bytes]) -> None:
    """A process is its number and its start."""
    seen = process_tree.read(sleeper.pid)
    assert seen is not None
    assert not process_tree.kill(seen._replace(started=seen.started - 1))
    assert sleeper.poll() is None
    assert process_tree.kill(seen)
    assert sleeper.wait(5) == -signal.SIGKILL


def test_marks_are_found_across_exec_and_fork(sleeper: subprocess.Popen[bytes], board: Scoreboard) -> None:
    """By environment what was executed, by shared memory what was only forked."""
    mapping = process_tree.mapping_at(ctypes.addressof(ctypes.c_char.from_buffer(board.shared)))
    forked = os.fork()
    if forked == 0:
        signal.pause()
        os._exit(0)
    found = set(process_tree.bearing(b"EXECUTOR_POOL=some-mark", mapping))
    os.kill(forked, signal.SIGKILL)
    os.waitpid(forked, 0)
    assert found == {sleeper.pid, forked, os.getpid()}


def test_who_only_looks_at_the_memory_is_none_of_ours(board: Scoreboard) -> None:
    """`executor-worker status` is not killed with the pool that it looks at."""
    assert board.fd is not None
    look = f"import mmap; seen = mmap.mmap({board.fd}, 0, prot=mmap.PROT_READ); print('looks', flush=True); input()"
    command = [sys.executable, "-c", look]
    with subprocess.Popen(command, pass_fds=[board.fd], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as viewer:
        assert viewer.stdout is not None
        assert viewer.stdout.readline() == b"looks\n"
        mapping = process_tree.mapping_at(ctypes.addressof(ctypes.c_char.from_buffer(board.shared)))
        found = set(process_tree.bearing(b"EXECUTOR_POOL=no-mark", mapping))
        viewer.communicate()
    assert found == {os.getpid()}


def test_adopted_dead_are_reaped_and_own_children_are_not() -> None:
    """A zombie seen twice was nobody's; one whose parent waits for it is left to its parent."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    seen: dict[int, int] = {}
    wait_until(lambda: (at := process_tree.read(pid)) is not None and at.state == "Z", 5, "the zombie")
    reap_adopted(seen)
    assert pid in seen
    assert process_tree.read(pid) is not None
    reap_adopted(seen)
    assert process_tree.read(pid) is None
