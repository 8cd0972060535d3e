"""The same figures as a drawing: a column for each, a row for each system, its median and its range."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from benchmarks.peers.report import Data, Row
from benchmarks.peers.systems import OURS

NAMES, PANEL, GAP, TOP, LINE, FOOT = 120, 132, 22, 50, 26, 22
STYLE = """
text { font-family: system-ui, "Segoe UI", Helvetica, Arial, "DejaVu Sans", sans-serif; font-size: 12px; fill: #3d444d }
.head, .ours { font-weight: 600 }
.unit, .value { font-size: 11px }
.unit, .foot { fill: #6e7781 }
.axis { stroke: #d1d9e0 }
.range { stroke: #8c959f; stroke-width: 3; stroke-linecap: round }
.dot { fill: #8c959f }
.range.ours { stroke: #0969da }
.dot.ours { fill: #0969da }
.band { fill: #0969da; opacity: .07 }
.never { fill: none; stroke: #cf222e; stroke-width: 1.5 }
.late { fill: #cf222e }
@media (prefers-color-scheme: dark) {
text { fill: #d1d7e0 }
.unit, .foot { fill: #9198a1 }
.axis { stroke: #3d444d }
.range.ours { stroke: #4493f8 }
.dot.ours { fill: #4493f8 }
.never { stroke: #f85149 }
.late { fill: #f85149 }
}
""".strip()


@dataclass(frozen=True)
class Panel:
    """One column: what it shows, the ends of its scale, and how a value is written."""

    title: str
    unit: str
    figures: Callable[[Row], Sequence[float]]
    write: Callable[[float], str]
    low: float
    high: float
    log: bool = False

    def x(self, value: float) -> float:
        """Place a value, from the panel's left edge."""
        low, high, value = (math.log(max(v, 1e-9)) if self.log else v for v in (self.low, self.high, value))
        return PANEL * min(1.0, max(0.0, (value - low) / (high - low)))


def panels(data: Data) -> list[Panel]:
    """Scales that hold whatever was found."""
    rows, limit_s = list(data["systems"].values()), data["plan"]["limit_s"]
    ratios = [value for row in rows for value in row["ratio"]]
    heaviest = max(row["pss_mib"] for row in rows)
    most = max(row["not_done"] for row in rows)
    jobs = data["plan"]["storm_jobs"]
    floor, ceiling = 0.9 * min(ratios), 2.5 * max(ratios)
    return [
        Panel("CPU a no-op job", "× bare Redis loop", lambda row: row["ratio"], times, floor, ceiling, log=True),
        Panel("Memory a worker", "MiB, PSS of all", lambda row: [row["pss_mib"]], whole, 0, 1.3 * heaviest),
        Panel(
            "Worker killed", "until its job runs", lambda row: row["worker_s"], duration, 0.01, 2 * limit_s, log=True
        ),
        Panel("All killed", "until the job runs", tree, duration, 1, 2 * limit_s, log=True),
        Panel(
            "Storm of kills", f"not done, of {jobs} jobs", lambda row: [row["not_done"]], whole, 0, 1.3 * max(1, most)
        ),
    ]


def times(value: float) -> str:
    return f"{value:.1f}×"


def whole(value: float) -> str:
    return f"{value:.0f}"


def tree(row: Row) -> list[float]:
    return [] if row["tree_s"] is None else [row["tree_s"]]


def duration(value: float) -> str:
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.0f} s"


def svg(data: Data) -> str:
    """The whole drawing, with colours for light and dark pages."""
    rows, limit_s = data["systems"], data["plan"]["limit_s"]
    columns = panels(data)
    width = NAMES + len(columns) * (PANEL + GAP)
    height = TOP + LINE * len(rows) + FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    ]
    parts += [f"<title>{escape(data['date'])}: our pool and six queues</title>", f"<style>{STYLE}</style>"]
    for place, panel in enumerate(columns):
        left = NAMES + place * (PANEL + GAP)
        parts.append(f'<text class="head" x="{left}" y="18">{escape(panel.title)}</text>')
        parts.append(f'<text class="unit" x="{left}" y="34">{escape(panel.unit)}{" (log)" if panel.log else ""}</text>')
        parts.append(f'<line class="axis" x1="{left}" x2="{left}" y1="{TOP - 6}" y2="{height - FOOT}"/>')
    for number, (name, row) in enumerate(rows.items()):
        y = TOP + LINE * number + LINE / 2
        if name == OURS.name:
            parts.append(f'<rect class="band" x="0" y="{y - LINE / 2}" width="{width}" height="{LINE}" rx="4"/>')
        kind = " ours" if name == OURS.name else ""
        parts.append(f'<text class="name{kind}" x="8" y="{y + 4}">{escape(short(row["title"]))}</text>')
        for place, panel in enumerate(columns):
            parts += marks(panel, row, NAMES + place * (PANEL + GAP), y, kind, limit_s)
    parts.append(f'<text class="foot unit" x="8" y="{height - 6}">{escape(foot(data))}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def marks(panel: Panel, row: Any, left: float, y: float, kind: str, limit_s: float) -> Iterator[str]:
    """The range, the median and its value; a hollow circle for what did not happen within the limit."""
    figures = sorted(panel.figures(row))
    if not figures:
        yield f'<circle class="never" cx="{left + PANEL}" cy="{y}" r="4"/>'
        end = f'text-anchor="end" x="{left + PANEL - 9}" y="{y + 4}"'
        yield f'<text class="value late" {end}>not within {limit_s:g} s</text>'
        return
    median = statistics.median(figures)
    low, middle, high = (left + panel.x(value) for value in (figures[0], median, figures[-1]))
    yield f'<line class="range{kind}" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>'
    yield f'<circle class="dot{kind}" cx="{middle:.1f}" cy="{y}" r="4.5"/>'
    value = escape(panel.write(median))
    late = f' class="value{kind}"'
    if high + 45 > left + PANEL + GAP:
        yield f'<text{late} text-anchor="end" x="{low - 8:.1f}" y="{y + 4}">{value}</text>'
    else:
        yield f'<text{late} x="{high + 8:.1f}" y="{y + 4}">{value}</text>'


def short(title: str) -> str:
    return "Node Executor" if title.endswith("Node Executor") else title


def foot(data: Data) -> str:
    plan, place = data["plan"], data["machine"]
    return f"{data['date']}, {place['cores']} cores, {plan['workers']} workers; dots: medians, lines: ranges"
