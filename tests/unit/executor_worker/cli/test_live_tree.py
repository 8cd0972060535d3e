"""The tree that a terminal shows of a run while it goes on."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from executor_worker.cli.graph.live_tree import LiveTree


def event(kind: str, node: str = "", second: float = 0.0, **data: Any) -> dict[str, Any]:
    names = {"node_id": node} if node else {}
    return {"type": kind, "timestamp": f"2026-01-01T00:00:{second:06.3f}Z", "data": data, **names}


def screen(height: int = 30) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100, height=height, color_system=None)


def drawn(tree: LiveTree) -> str:
    console = screen()
    console.print(tree.drawn())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_tree_shows_times_tokens_and_costs() -> None:
    """A node's of all its attempts, the run's of all nodes; what has ended takes no more time."""
    console = screen()
    tree = LiveTree(console)
    used = {"input_tokens": 10, "output_tokens": 5, "cost_usd": 0.002}
    tree.show(event("graph.submitted", name="quote"), "")
    tree.show(event("graph.started"), "")
    tree.show(event("node.queued", "ask"), "")
    tree.show(event("node.started", "ask", attempt=1), "attempt 1")
    tree.show(event("node.retrying", "ask", 1, usage=used), "llm_timeout: slow")
    assert "waiting" in drawn(tree) and "llm_timeout: slow" in drawn(tree)
    tree.show(event("node.started", "ask", 2), "attempt 2")
    assert "running" in drawn(tree)
    tree.show(event("node.completed", "ask", 5.5, usage=used), "")
    tree.show(event("node.completed", "way", 5.5), "→ left")
    tree.show(event("node.skipped", "right", 5.5), "no edge to it was taken")
    tree.show(event("graph.completed", second=6), "")
    lines = drawn(tree).splitlines()
    assert lines[0].split() == ["✔", "completed", "quote", "6.0", "s", "30", "tokens", "$0.0040"]
    assert lines[1].split()[1:] == ["✔", "completed", "ask", "3.5", "s", "30", "tokens", "$0.0040"]
    assert lines[2].endswith("way  → left") and "right  no edge to it was taken" in lines[3]
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().endswith("\x1b[?25h"), "the cursor is shown again"


def test_tree_higher_than_the_screen_leaves_out_what_has_ended() -> None:
    """Until the run is over: then all of it is shown."""
    tree = LiveTree(screen(height=10))
    tree.show(event("graph.started"), "")
    for at in range(20):
        tree.show(event("node.started", f"n{at}"), "")
    for at in range(18):
        tree.show(event("node.completed", f"n{at}", 1), "")
    assert [line.split()[-3] for line in drawn(tree).splitlines()[2:]] == ["n18", "n19"]
    assert "18 have ended" in drawn(tree)
    tree.show(event("graph.completed", second=2), "")
    assert len(drawn(tree).splitlines()) == 21
