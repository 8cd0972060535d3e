"""Reports: how long workers' stacks are waited for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from supervisor.control.report import LONGEST_S, STOPPED_S, Report, StackDump
from supervisor.processes.stacks import MOST_FRAMES


def slot(state: str, written: list[str]) -> Any:
    """A slot whose worker is in that state and has written what is in the list."""
    stacks = SimpleNamespace(clear=lambda: None, read=lambda: "".join(written))
    child, row = SimpleNamespace(look=lambda: state), SimpleNamespace(phase="llm", item="g/n")
    return SimpleNamespace(
        child=child, row=row, stacks=stacks, kill_at=None, pid=7, signal=lambda number: None, label=lambda: {"slot": 1}
    )


@pytest.mark.parametrize(("state", "waits_s"), [("T", STOPPED_S), ("R", LONGEST_S), ("D", LONGEST_S)])
def test_one_that_is_not_stopped_has_longer(state: str, waits_s: float) -> None:
    """It may only wait for a core or its pages; what is said of one that writes nothing names its state."""
    now, told = [100.0], list[Report]()
    dump = StackDump(lambda: now[0])
    dump.begin([slot(state, [])], told.extend)
    now[0] += waits_s - 0.01
    dump.advance()
    assert not told
    now[0] += 0.02
    dump.advance()
    assert f"process state {state}" in str(told[0]["stack"])


def test_a_late_stack_is_told() -> None:
    """Written after a second, by one that had no core until then."""
    now, told, written = [100.0], list[Report](), list[str]()
    dump = StackDump(lambda: now[0])
    dump.begin([slot("R", written)], told.extend)
    now[0] += 1.0
    dump.advance()
    written.append("Current thread 0x1:\n" + '  File "a.py", line 1 in f\n' * MOST_FRAMES)
    dump.advance()
    assert "a.py" in str(told[0]["stack"])
