"""`demo`: the whole thing, with nothing set up."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.kit import PROGRAM, Process, Stopwatch, alive, descendants, wait_until
from tests.system.cli.conftest import Run, environment

BAD = {"REDIS_ADDR": "localhost:1", "WORKERS": "many", "LLM_PROVIDER": "nobody", "LLM_API_KEY_FILE": "gone"}


def test_demo_shows_every_node_by_its_worker_and_drains(run: Run) -> None:
    """Whatever is set around it; all four nodes, on more than one worker, under 20 seconds."""
    taken = Stopwatch()
    done = run("demo", timeout=150, **BAD)
    assert done.status == 0, done.out + done.err
    assert done.err == ""
    results = [line for line in done.out.splitlines() if "✓" in line]
    assert {line.split("✓")[1].split()[0] for line in results} == {"stock", "price", "offer", "letter"}
    assert len({line.partition("by worker ")[2].split()[0] for line in results}) > 1
    assert "111.00 euros. [called stock, price, calculate]" in done.out
    assert '"pieces": 7' in done.out
    assert "/api/v1/graphs: 201" in done.out and "completed, after" in done.out
    assert all(f"worker {number} is ready" in done.out for number in range(1, 5))
    assert "drained and left with exit status 0" in done.out
    assert "\x1b" not in done.out
    assert float(done.out.splitlines()[-1].split("s")[0]) < 20 + taken.others_s()


def test_demo_of_resuming_kills_five_workers_and_sends_one_mail(run: Run) -> None:
    """No answer of the model is paid twice, and the mail that was cut off is not sent again."""
    done = run("demo", "--resume", timeout=200, **BAD)
    assert done.status == 0, done.out + done.err
    assert done.err == ""
    assert done.out.count("kill -9 worker") == 5
    assert "find_address ok, send_mail unknown, read_outbox ok" in done.out
    assert "4 answers were paid, one for each of its 4 turns" in done.out
    assert "1 mail: ada@example.com: Will you come to dinner?" in done.out
    assert "run number 6: The invitation is out." in done.out


def test_demo_is_in_colour_on_a_terminal(terminal: Any) -> None:
    """And Ctrl-C leaves at once."""
    started = terminal("demo")
    started.wait_for("worker 4 is ready")
    assert "\x1b[" in started.shown
    started.press("\x03")
    assert started.wait() == 130


def test_demo_leaves_nothing_behind_when_it_is_killed(folder: Path) -> None:
    """Redis, the pool and its tools go with it."""
    demo = Process([PROGRAM, "demo"], env={**environment({}), "TMPDIR": str(folder)}, cwd=folder)
    try:
        wait_until(lambda: len(descendants(demo.pid)) >= 7, 20, "Redis, supervisor, keeper and workers are there")
        started = descendants(demo.pid)
        demo.send(signal.SIGKILL)
        wait_until(lambda: not any(alive(pid) for pid in started), 15, "everything it started is gone")
    finally:
        demo.kill()


def test_demo_whose_reader_has_left_is_no_failure(folder: Path) -> None:
    """As with every other command: `executor-worker demo | head -1`."""
    demo = subprocess.Popen(
        [PROGRAM, "demo"], cwd=folder, env=environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert demo.stdout is not None
    demo.stdout.readline()
    demo.stdout.close()
    assert demo.stderr is not None
    with demo.stderr as said:
        assert said.read() == b""
    assert demo.wait(120) == 0
