"""A run on a terminal while it goes on: its nodes as a tree, with their times, tokens and costs."""

from __future__ import annotations

import atexit
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from executor_worker.cli.display import COLOURS, one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.tree import Tree

MARKS = {"completed": "✔", "failed": "✘", "skipped": "·", "cancelled": "∅", "running": "▶", "waiting": "…"}
STATUSES = {
    "node.queued": "queued",
    "node.started": "running",
    "node.retrying": "waiting",
    "node.completed": "completed",
    "node.failed": "failed",
    "node.skipped": "skipped",
    "node.cancelled": "cancelled",
    "graph.started": "running",
    "graph.retried": "running",
    "graph.completed": "completed",
    "graph.failed": "failed",
    "graph.cancelled": "cancelled",
}
ENDED = frozenset({"completed", "failed", "skipped", "cancelled"})
STILL_HERE = 4  # lines of the terminal that the tree leaves free
REFRESHES_A_SECOND = 4


@dataclass(slots=True)
class Line:
    """
    A node's line, or the run's.

    Attributes:
        since: When its last attempt began: by the event's time, and by this process' clock.
        took_s: None: it has not ended, or never began.
    """

    status: str = ""
    since: tuple[float, float] | None = None
    took_s: float | None = None
    tokens: int = 0
    cost_usd: float = 0.0
    note: str = ""

    def heard(self, event: dict[str, Any], note: str) -> None:
        """Take over what an event tells."""
        kind, data = event["type"], event["data"]
        self.status = STATUSES.get(kind, self.status)
        self.note = note if kind not in ("node.started", "node.completed") or "→" in note else ""
        if kind in STATUSES:
            self._timed(datetime.fromisoformat(event["timestamp"]).timestamp())
        usage = data.get("usage") if kind in ("node.completed", "node.failed", "node.retrying") else None
        self.spent(usage or {})

    def _timed(self, at: float) -> None:
        if self.status == "running":
            self.since, self.took_s = (at, time.monotonic()), None
        elif self.status in ENDED and self.since is not None:
            self.took_s, self.since = max(at - self.since[0], 0.0), None

    def spent(self, usage: dict[str, Any]) -> None:
        self.tokens += usage.get("input_tokens", 0) + usage.get("output_tokens", 0)
        self.cost_usd += usage.get("cost_usd") or 0.0

    def words(self) -> str:
        """Its time, its tokens, its cost, and what is to be said."""
        seconds = time.monotonic() - self.since[1] if self.since is not None else self.took_s
        words = [_duration(seconds)] if seconds is not None else []
        words += [f"{self.tokens} tokens"] if self.tokens else []
        words += [f"${self.cost_usd:.4f}"] if self.cost_usd else []
        return "  ".join([*words, self.note] if self.note else words)


def _duration(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


class LiveTree:
    """Shows events as a tree that changes in place, until the run's last one; then it stays on the screen."""

    def __init__(self, screen: Console) -> None:
        from rich.live import Live

        self._screen = screen
        self._run, self._name = Line("submitted"), ""
        self._nodes: dict[str, Line] = {}
        self._live = Live(
            console=screen, get_renderable=self.drawn, refresh_per_second=REFRESHES_A_SECOND, redirect_stdout=False
        )
        atexit.register(self._live.stop)  # whatever ends the program: the cursor is shown again

    def show(self, event: dict[str, Any], note: str) -> None:
        """Take over an event; *note*: what there is to say of it."""
        if not self._live.is_started:
            self._live.start()
        node = event.get("node_id")
        if event["type"] == "graph.submitted":
            self._name = one_line(str(event["data"].get("name") or ""), 60)
        if node:
            line = self._nodes.setdefault(node, Line())
            before = (line.tokens, line.cost_usd)
            line.heard(event, one_line(note, 100))
            self._run.tokens += line.tokens - before[0]
            self._run.cost_usd += line.cost_usd - before[1]
        else:
            self._run.heard(event, one_line(note, 100))
            if event["type"] in ("graph.completed", "graph.failed", "graph.cancelled"):
                self._live.stop()

    def drawn(self) -> Tree:
        """Draw it; where it is higher than the screen, without what has ended."""
        from rich.text import Text
        from rich.tree import Tree

        def text(name: str, line: Line) -> Text:
            style = COLOURS.get(line.status, "cyan" if line.status == "running" else "dim")
            mark = f"{MARKS.get(line.status, '○')} {line.status:<9}  "
            return Text.assemble((mark, style), (name, "bold"), f"  {line.words()}", no_wrap=True, overflow="ellipsis")

        tree = Tree(text(self._name or "run", self._run), guide_style="dim")
        nodes = dict(self._nodes)
        left_out = 0
        if self._run.status not in ENDED and len(nodes) > self._screen.height - STILL_HERE:
            left_out = sum(line.status in ENDED for line in nodes.values())
            nodes = {name: line for name, line in nodes.items() if line.status not in ENDED}
        if left_out:
            tree.add(Text(f"{left_out} have ended", style="dim"))
        for name, line in nodes.items():
            tree.add(text(one_line(name, 40), line))
        return tree
