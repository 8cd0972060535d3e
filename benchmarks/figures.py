"""Figures that were measured: how they are printed, and how they compare with those that are kept."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

WORSE = 1.25  # times what is kept: less is within the noise of a shared machine

Scale = Literal["ratio", "speed", "plain"]


@dataclass(frozen=True, slots=True)
class Figure:
    """
    One thing that was measured.

    Attributes:
        name: `<row>: <what>`; figures of several runs are compared by it.
        value: The median where there are several samples.
        low, high: The range.
        at_most: What we want; None: nothing is promised.
        scale: ratio: to something measured in the same run; speed: grows with the machine's slowness, so it is kept
            as a ratio to the bare loop; plain: neither (MiB, commands).
    """

    name: str
    value: float
    low: float
    high: float
    unit: str = ""
    at_most: float | None = None
    scale: Scale = "plain"

    @classmethod
    def of(
        cls,
        name: str,
        samples: Sequence[float],
        unit: str = "",
        *,
        at_most: float | None = None,
        scale: Scale = "plain",
    ) -> Figure:
        """Take the median and the range of *samples*."""
        return cls(name, statistics.median(samples), min(samples), max(samples), unit, at_most, scale)

    @property
    def met(self) -> bool | None:
        """Tell whether it is what we want; None if nothing is promised."""
        return None if self.at_most is None else self.value <= self.at_most


def percentile(samples: Iterable[float], share: float) -> float:
    """The smallest sample that at least *share* (0 to 1) of all samples do not exceed."""
    ordered = sorted(samples)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def tails(name: str, samples: Sequence[float], unit: str, p50: float | None, p99: float | None) -> list[Figure]:
    """Figures of the median and the 99th percentile, of something that takes time."""
    low, high = min(samples), max(samples)
    return [
        Figure(f"{name}, p50", percentile(samples, 0.5), low, high, unit, p50, "speed"),
        Figure(f"{name}, p99", percentile(samples, 0.99), low, high, unit, p99, "speed"),
    ]


def kept_form(figures: Iterable[Figure], loop_s: float) -> dict[str, float]:
    """
    By name, what the next release is compared with: nothing in it depends on how fast this machine is.

    Args:
        loop_s: CPU seconds of the bare loop for 1000 items, in the same run.
    """
    return {one.name: round(one.value / (loop_s if one.scale == "speed" else 1.0), 4) for one in figures}


def change(figure: Figure, kept: Mapping[str, float], loop_s: float) -> float | None:
    """Answer how many times the kept figure it is; None if none is kept."""
    before = kept.get(figure.name)
    return kept_form([figure], loop_s)[figure.name] / before if before else None


def table(figures: Sequence[Figure], kept: Mapping[str, float], loop_s: float) -> str:
    """Ratios first; what is more than wanted, or much more than kept, is marked."""
    lines = [("", "median", "range", "at most", "kept ×")]
    for one in sorted(figures, key=lambda figure: figure.scale != "ratio"):
        wanted = "" if one.at_most is None else f"{number(one.at_most)}{'' if one.met else ' !'}"
        times = change(one, kept, loop_s)
        compared = "" if times is None else f"{times:.2f}{' !' if times > WORSE else ''}"
        shown = f"{number(one.value)} {'×' if one.scale == 'ratio' else one.unit}".rstrip()
        lines.append((one.name, shown, f"{number(one.low)} … {number(one.high)}", wanted, compared))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return "\n".join(
        f"{line[0]:<{widths[0]}}  " + "  ".join(f"{line[at]:>{widths[at]}}" for at in range(1, 5)) for line in lines
    )


def number(value: float) -> str:
    """Three digits that count."""
    if value == 0:
        return "0"
    places = max(2 - math.floor(math.log10(abs(value))), 0)
    return f"{value:,.{min(places, 4)}f}"


def as_json(figures: Sequence[Figure], kept: Mapping[str, float], loop_s: float, machine: Mapping[str, Any]) -> str:
    """The same as data."""
    rows = [{**asdict(one), "met": one.met, "times_kept": change(one, kept, loop_s)} for one in figures]
    return json.dumps({"machine": machine, "bare_loop_cpu_s_per_1000": loop_s, "figures": rows}, indent=1)
