"""Which servers were reached, as all processes of a pool see it."""

from __future__ import annotations

import os

from executor_worker.tools.server_states import ServerStates


def test_the_last_to_have_tried_has_the_say() -> None:
    """Of a server that nobody has tried nothing is said, nor of more than there is room for."""
    states = ServerStates()
    names = ["a", "b", "c"]
    assert states.read(names) == {}
    states.note(0, up=True)
    states.note(2, up=False)
    states.note(10**6, up=True)
    assert states.read(names) == {"a": True, "c": False}
    states.note(0, up=False)
    states.note(2, up=True)
    assert states.read(names) == {"a": False, "c": True}


def test_what_a_child_notes_is_seen_by_all() -> None:
    """It is made before forking."""
    states = ServerStates()
    if (child := os.fork()) == 0:
        states.note(1, up=True)
        os._exit(0)
    os.waitpid(child, 0)
    assert states.read(["a", "b"]) == {"b": True}
