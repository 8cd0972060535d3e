"""
The way of one item: files and functions of ours that a plain item of a tool enters, from one call of it to the next.

    python -m benchmarks.walk            # files, with how many of their functions are entered
    python -m benchmarks.walk --calls    # each function, in order

Counted by `sys.setprofile` in the one worker of a pool on a Redis of its own; the constructors that dataclasses write
are no file's.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter

from benchmarks.stage import item, put, stage, state
from benchmarks.walked import WARM

CONFIG = {"tool_name": "walked", "tool_params": {"text": "{{text}}"}}


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.walk")
    options.add_argument("--calls", action="store_true", help="each function that is entered, in order")
    given = options.parse_args()
    entered = walk()
    files = Counter(path for path, _ in entered)
    rows = [f"{path}  {name}" for path, name in entered] if given.calls else []
    rows += [f"{count:4}  {path}" for path, count in files.most_common()]
    sys.stdout.write("\n".join([*rows, f"{len(files)} files, {len(entered)} calls"]) + "\n")
    return 0


def walk() -> list[tuple[str, str]]:
    """File and function of each call, in order."""
    graphs = [f"g{number}" for number in range(WARM + 10)]
    with stage(1, TOOL_MODULES="benchmarks.walked") as on:
        with on.paused():
            put(on.db, (item(graph, CONFIG, size=1024) for graph in graphs), {graph: state(graph) for graph in graphs})
        on.work_off(len(graphs))
        entered: list[tuple[str, str]] = json.loads((on.folder / "pool" / "walk").read_text())
    return entered


if __name__ == "__main__":
    sys.exit(main())
