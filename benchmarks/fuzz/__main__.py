"""
Make up input of all kinds and see to it that each gets an answer, in time, and the right one where it is good.

A failure names its case: `--only TARGET --case N` with the same seed runs it again.
"""

from __future__ import annotations

import argparse
import sys
import time

from loguru import logger

from benchmarks.fuzz.run import TARGETS, Tally, counterparts, run_case, run_target

SHOWN = 5  # failures of a target
PROGRESS_S = 5.0


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def fuzz(name: str, seed: int, cases: int) -> Tally:
    """Run a target's cases, with progress on a terminal."""
    tally = Tally(name)
    shown_at = time.monotonic()
    for tally in run_target(name, seed, cases):
        if sys.stderr.isatty() and time.monotonic() > shown_at + PROGRESS_S:
            shown_at = time.monotonic()
            sys.stderr.write(f"{name}: {tally.cases} of {cases}\r")
    return tally


def report(tally: Tally, took_s: float) -> None:
    endings = ", ".join(f"{name} {count}" for name, count in tally.endings.most_common())
    figures = f"{tally.cases:>8} {len(tally.failures):>8} {tally.slowest_s * 1000:>11.0f} {took_s:>7.0f}"
    say(f"{tally.name:<10} {figures}  {endings}")
    for number, trace in tally.failures[:SHOWN]:
        say(f"\n--only {tally.name} --case {number}\n{trace}")


def main() -> int:
    """Run what is asked for; 1 if something did what it must not."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    options.add_argument("--cases", type=int, default=100_000, help="of all targets together (%(default)s)")
    options.add_argument("--seed", type=int, default=1, help="the same seed makes the same cases (%(default)s)")
    options.add_argument("--only", choices=TARGETS, help="one target gets all cases")
    options.add_argument("--case", type=int, help="run this one alone")
    given = options.parse_args()
    logger.remove()
    with counterparts():
        if given.case is not None:
            if given.only is None:
                options.error("--case needs --only")
            say(run_case(given.only, given.seed, given.case)[0])
            return 0
        say(f"seed {given.seed}\n{'target':<10} {'cases':>8} {'failures':>8} {'slowest/ms':>11} {'s':>7}  endings")
        failures = 0
        for name in [given.only] if given.only else TARGETS:
            began = time.monotonic()
            tally = fuzz(name, given.seed, given.cases if given.only else round(given.cases * TARGETS[name][0]))
            report(tally, time.monotonic() - began)
            failures += len(tally.failures)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
