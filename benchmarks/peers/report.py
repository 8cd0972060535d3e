"""Report of what was found: as data, as a table for a terminal, and as that of docs/PEERS.md."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.peers.measures import STORM_JOBS, Found, Plan
from benchmarks.peers.systems import OURS, System
from tests.kit.counterparts import PATHS

Data = dict[str, Any]
Row = Mapping[str, Any]
BEGIN, END = "<!-- peers: written by `make bench-peers` -->", "<!-- /peers -->"


def as_data(systems: Sequence[System], found: Mapping[str, Found], plan: Plan) -> Data:
    """All figures and what they were measured with."""
    named = {system.name: system for system in systems}
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "plan": asdict(plan) | {"storm_jobs": STORM_JOBS},
        "systems": {
            name: {"title": named[name].title, "version": named[name].version, "settings": named[name].settings}
            | asdict(found[name])
            for name in named
        },
    }


def machine() -> dict[str, str | float]:
    """The machine this ran on."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": os.cpu_count() or 0,
        "load": round(os.getloadavg()[2], 1),
        "python": platform.python_version(),
        "redis": redis_version(),
    }


def redis_version() -> str:
    """Of the server that everything ran on."""
    said = subprocess.run([PATHS["redis"], "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return said.partition(" v=")[2].partition(" ")[0]


def median(figures: Sequence[float]) -> float | None:
    return statistics.median(figures) if figures else None


# A figure and how it is told

COLUMNS: dict[str, Callable[[Row], float | None]] = {
    "CPU a job": lambda row: median(row["ratio"]),
    "jobs/s": lambda row: median(row["jobs_per_s"]),
    "MiB a worker": lambda row: row["pss_mib"] or None,
    "worker killed": lambda row: median(row["worker_s"]),
    "all killed": lambda row: row["tree_s"],
    "not done": lambda row: row["not_done"],
    "twice": lambda row: row["twice"],
}
MORE_IS_BETTER = {"jobs/s"}


def spread(figures: Sequence[float], form: str) -> str:
    """The median, and the range in brackets."""
    if not figures:
        return "–"
    return f"{statistics.median(figures):{form}} ({min(figures):{form}}–{max(figures):{form}})"


def seconds(value: float | None, limit_s: float) -> str:
    """A time in the unit that suits it."""
    if value is None:
        return f"not within {limit_s:g} s"
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.0f} s"


def waits(figures: Sequence[float], limit_s: float) -> str:
    """The median time, and the range where there were several."""
    if len(figures) < 2:
        return seconds(median(figures), limit_s)
    return f"{seconds(median(figures), limit_s)} ({seconds(min(figures), limit_s)}–{seconds(max(figures), limit_s)})"


def cells(row: Row, limit_s: float) -> list[str]:
    """A system's row, but for its name."""
    return [
        spread(row["ratio"], ".1f"),
        spread(row["jobs_per_s"], ".0f"),
        f"{row['pss_mib']:.0f}",
        waits(row["worker_s"], limit_s),
        seconds(row["tree_s"], limit_s),
        f"{row['not_done']} ({row['kills']})",
        str(row["twice"]),
    ]


def text(data: Data) -> str:
    """For a terminal."""
    limit_s = data["plan"]["limit_s"]
    lines = [["", "version", *COLUMNS]]
    lines += [[row["title"], row["version"], *cells(row, limit_s)] for row in data["systems"].values()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*rows, *ahead(data), ""])


def ahead(data: Data) -> list[str]:
    """Name the systems with a better figure than ours, in a line; None if there is none."""
    rows = data["systems"]
    if OURS.name not in rows:
        return []
    found = []
    for name, figure in COLUMNS.items():
        ours = figure(rows[OURS.name])
        better = [row["title"] for row in rows.values() if is_better(figure(row), ours, more=name in MORE_IS_BETTER)]
        if better:
            found.append(f"*{name}*: {', '.join(better)}")
    return [f"Better than ours in {'; '.join(found)}."] if found else []


def is_better(theirs: float | None, ours: float | None, *, more: bool) -> bool:
    """Tell whether a figure beats ours; one that there is beats none."""
    if theirs is None or ours is None:
        return theirs is not None and ours is None
    return theirs > ours if more else theirs < ours


def markdown(data: Data) -> str:
    """The page's table with all that is needed to read it."""
    plan, place, limit_s = data["plan"], data["machine"], data["plan"]["limit_s"]
    head = ["", *COLUMNS]
    rows = [[f"{row['title']} {row['version']}", *cells(row, limit_s)] for row in data["systems"].values()]
    table = ["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows)]
    about = (
        f"{data['date']}, {place['cores']} cores ({place['cpu']}), load average {place['load']} (its own included), "
        f"Python {place['python']}, Redis {place['redis']}; {plan['workers']} workers of one job at a time; "
        "medians, ranges in brackets."
    )
    settings = [f"- {row['title']}: {row['settings']}" for row in data["systems"].values()]
    return "\n".join([about, "", *table, "", *ahead(data), "", "Set to:", "", *settings])


def between_marks(document: str, new: str) -> str:
    """
    Put *new* between the two marks of a document.

    Raises:
        ValueError: The marks are not there.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{begin}\n{new}\n{end}{after}"
