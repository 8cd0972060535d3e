"""What a program hears that has only just begun."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.kit import free_port, wait_until
from tests.kit.paths import ROOT
from tests.system.cli.conftest import environment


def blocks_term(pid: int) -> bool:
    blocked = re.search(r"^SigBlk:\s+(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return blocked is not None and bool(int(blocked[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_first_handler_waits_for_it(number: signal.Signals) -> None:
    """As the image starts it: to a PID 1 without a handler the kernel gives none, unless it was blocked."""
    (entry,) = re.findall(r"^ENTRYPOINT (.*)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    settings = {"HEALTH_PORT": str(free_port()), "LLM_PROVIDER": "scripted", "REDIS_ADDR": "localhost:1"}
    program = subprocess.Popen(
        [*json.loads(entry), "run"],
        env={**environment(settings), "PATH": f"{ROOT}/.venv/bin:/usr/bin:/bin"},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: blocks_term(program.pid), 10, "it is blocked", every=0.001)
        program.send_signal(number)
        assert program.wait(60) == 0
    finally:
        program.kill()
        program.wait()
