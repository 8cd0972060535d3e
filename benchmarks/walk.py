"""
The way of one item: files and functions of ours that a plain item of a tool enters, from one call of it to the next.

    python -m benchmarks.walk            # files, with how many of their functions are entered
    python -m benchmarks.walk --calls    # each function, in order

Counted by `sys.setprofile` in the one worker of a pool on a Redis of its own; the constructors that dataclasses write
are no file's. Of several items the way that most of them went is told: what is done once a second is not an item's.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from typing import NamedTuple

from benchmarks.stage import item, put, stage, state
from benchmarks.walked import NOTED, WARM

CONFIG = {"tool_name": "walked", "tool_params": {"text": "{{text}}"}}
WORKER, NODES = "executor_worker/worker/", "executor_worker/nodes/"


class Step(NamedTuple):
    """
    A function that is entered or left.

    Attributes:
        event: `call` or `return`.
        other: The file of ours that it is called from, or returns to.
    """

    event: str
    path: str
    name: str
    other: str

    @property
    def re_enters(self) -> bool:
        """Tell whether it leads back into the worker: a node's run has ended, or something else calls the worker."""
        if self.event == "return":
            return self.path.startswith(NODES) and self.other.startswith(WORKER)
        return self.path.startswith(WORKER) and not self.other.startswith(WORKER)

    def __str__(self) -> str:
        return f"{self.path}  {self.name}" if self.event == "call" else f"{self.path}  {self.name} returns"


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.walk")
    options.add_argument("--calls", action="store_true", help="each function that is entered, in order")
    given = options.parse_args()
    way = walk()
    calls = [step for step in way if step.event == "call"]
    files = Counter(step.path for step in calls)
    rows = [str(step) for step in calls] if given.calls else []
    rows += [f"{count:4}  {path}" for path, count in files.most_common()]
    rows += [f"the worker is re-entered: {step}" for step in way if step.re_enters]
    sys.stdout.write("\n".join([*rows, f"{len(files)} files, {len(calls)} calls"]) + "\n")
    return 0


def walk() -> list[Step]:
    """Go the way once: all that is entered and left, in order."""
    graphs = [f"g{number}" for number in range(WARM + NOTED + 1)]
    with stage(1, TOOL_MODULES="benchmarks.walked") as on:
        with on.paused():
            put(on.db, (item(graph, CONFIG, size=1024) for graph in graphs), {graph: state(graph) for graph in graphs})
        on.work_off(len(graphs))
        ways = json.loads((on.folder / "pool" / "walk").read_text())
    ((way, _),) = Counter(tuple(Step(*step) for step in way) for way in ways).most_common(1)
    return list(way)


if __name__ == "__main__":
    sys.exit(main())
