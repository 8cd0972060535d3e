"""Reading what a fault handler has written of a process's stacks."""

from __future__ import annotations

import faulthandler
import tempfile
import threading

import pytest

from supervisor.processes.stacks import MOST_FRAMES, frames_of, in_one_line, is_whole, main_thread_first

OTHER = 'Thread 0x1 (most recent call first):\n  File "/p/beat.py", line 7 in wait\n'
MAIN = (
    "Current thread 0x2 (most recent call first):\n"
    '  File "/p/tool.py", line 3 in work\n  File "/p/m.py", line 1 in {}\n'
)


def written(depth: int = 0) -> str:
    """Have this process's own stacks written, *depth* calls further in."""
    if depth:
        return written(depth - 1)
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return main_thread_first(file.read().decode())


def test_main_thread_comes_first() -> None:
    """The fault handler writes it last."""
    text = main_thread_first(f"{OTHER}\n{MAIN.format('<module>')}")
    assert [str(frame) for frame in frames_of(text)] == ["tool.py:3 work", "m.py:1 <module>"]
    assert in_one_line(text) == "tool.py:3 work < m.py:1 <module> | beat.py:7 wait"


@pytest.mark.parametrize("text", ["", "\n", "Thread 0x1 (most", "Thread 0x1 (most recent call first):", "noise\n"])
def test_what_is_not_there_yet_is_not_whole(text: str) -> None:
    """Nothing, a beginning, a head alone."""
    assert not is_whole(main_thread_first(text)) and frames_of(main_thread_first(text)) == []


def test_a_live_process_is_whole_with_other_threads_beside() -> None:
    """Also where the stack is longer than the fault handler shows."""
    over = threading.Event()
    beside = threading.Thread(target=over.wait)
    beside.start()
    try:
        assert is_whole(written()) and frames_of(written())[0].function == "written"
        assert in_one_line(written()).count(" | ") >= 1
        deep = written(150)
        assert is_whole(deep) and len(frames_of(deep)) == MOST_FRAMES
    finally:
        over.set()
        beside.join()
