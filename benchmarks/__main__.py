"""
Measure what memory, overhead, waiting and recovery cost here, and print a table, ratios first.

Each row is a program of its own that starts its servers and pools, and compares side by side in one run where there
is something to compare with. `kept ×` is how many times the figure of the last release it is, both as ratios to the
bare loop where the machine's speed matters (benchmarks/figures.json; --keep writes it anew).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from benchmarks import api, cpu, graphs, idle, limits, memory, model_wait, recovery, scale, startup, wakeup
from benchmarks.figures import Figure, as_json, kept_form, table
from benchmarks.interpreter import described, is_plain
from benchmarks.plan import Plan, chosen
from benchmarks.yardstick import cpu_per_1000
from tests.kit import RedisServer

KEPT = Path(__file__).with_name("figures.json")
YARDSTICK_ITEMS = 3000
ROWS: Mapping[str, Callable[[Plan], list[Figure]]] = {
    "cpu": cpu.measure,
    "graphs": graphs.measure,
    "limits": limits.measure,
    "api": api.measure,
    "memory": memory.measure,
    "idle": idle.measure,
    "wakeup": wakeup.measure,
    "recovery": recovery.measure,
    "start": startup.measure,
    "scale": scale.measure,
    "model-wait": model_wait.measure,
}


def main() -> int:
    options = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; none: all of them")
    options.add_argument("--json", action="store_true", help="print data, not a table")
    options.add_argument("--full", action="store_true", help="more rounds, and a backlog of 1 000 000")
    options.add_argument("--keep", action="store_true", help="write the figures down as those of this release")
    options.add_argument("--items", type=int, help="of a throughput run")
    options.add_argument("--rounds", type=int, help="of what is repeated side by side")
    given = options.parse_args()
    unknown = set(given.rows) - ROWS.keys()
    if unknown:
        options.error(f"no row {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    plan = chosen(full=given.full, items=given.items, rounds=given.rounds)
    loop_s = yardstick()
    figures: list[Figure] = []
    for name in given.rows or ROWS:
        show(f"{name} …")
        figures += ROWS[name](plan)
    kept: dict[str, float] = json.loads(KEPT.read_text())["figures"] if KEPT.exists() else {}
    if given.json:
        shown = as_json(figures, kept, loop_s, machine())
    else:
        shown = f"{table(figures, kept, loop_s)}\n\n{described(plain=is_plain())}"
    sys.stdout.write(shown + "\n")
    if given.keep:
        keep(kept | kept_form(figures, loop_s))
    return 0


def yardstick() -> float:
    """Measure how fast this machine is now: the bare loop's CPU seconds for 1000 items."""
    with tempfile.TemporaryDirectory(prefix="ex-") as folder, closing(RedisServer(Path(folder))) as server:
        return cpu_per_1000(server, YARDSTICK_ITEMS)


def machine() -> dict[str, object]:
    return {
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "plain_build": is_plain(),
        "kernel": platform.release(),
    }


def keep(figures: Mapping[str, float]) -> None:
    KEPT.write_text(json.dumps({"machine": machine(), "figures": figures}, indent=1) + "\n")


def show(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
