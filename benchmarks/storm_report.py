"""Reads back what a storm has left, and judges it: was anything lost, settled twice, spoilt or run for no reason?"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from benchmarks.storm_record import Hit, Seen
from tests.faults.journal import Fact

WORK_STREAMS = ("executor.work", "dago:events:executor.work")
RESULT_STREAMS = ("dago:events:node.completed", "dago:events:node.failed")
GROUP = "executor-workers"
PAGE = 2000
SHOWN = 10  # of what went wrong
SLOW_S = 0.5
LOOK_BACK_S = 10.0
MOST_OF_A_LEASE = 0.8  # an item is taken some moments before its run begins
KILLS = {"kill_worker": "worker killed", "kill_supervisor": "supervisor killed"}


class Work(NamedTuple):
    """An item: what is put on which stream, and its node's graph."""

    graph: str
    node: str
    stream: str
    data: bytes

    @property
    def mark(self) -> str:
        return f"{self.graph}/{self.node}"


class Pairs(list[tuple[str, Any]]):
    """An object of JSON whose names may stand twice."""


@dataclass(slots=True)
class Recovery:
    """From a kill until the item runs again, in milliseconds."""

    runs: int
    median: float
    p99: float
    longest: float

    @classmethod
    def of(cls, waits_s: Sequence[float]) -> Recovery:
        ordered = sorted(1000 * wait for wait in waits_s) or [0.0]
        p99 = ordered[min(int(0.99 * len(ordered)), len(ordered) - 1)]
        return cls(len(waits_s), round(statistics.median(ordered), 1), round(p99, 1), round(ordered[-1], 1))


@dataclass(slots=True)
class Report:
    """
    Attributes:
        lost: Items without a result.
        twice: Items with more than one.
        unexplained: Extra runs of items none of whose workers met a fault, nor can have lost its lease or been
            forgotten by one.
        spoilt: States that are not as they must be.
        slow: Recoveries of more than half a second though nothing but the worker was at fault.
    """

    items: int
    results: int = 0
    failed: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    dead_letters: int = 0
    states: int = 0
    spoilt: list[str] = field(default_factory=list)
    runs: int = 0
    never_run: list[str] = field(default_factory=list)
    extra_runs: int = 0
    unexplained: list[str] = field(default_factory=list)
    pending: int = 0
    in_streams: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    recovery: dict[str, Recovery] = field(default_factory=dict)
    slow: list[str] = field(default_factory=list)
    logged: dict[str, int] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def fine(self) -> bool:
        """Tell whether every promise was kept."""
        wrong = self.lost, self.twice, self.spoilt, self.never_run, self.unexplained, self.troubles
        return not any(wrong) and not (self.failed or self.dead_letters or self.pending or self.in_streams)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "fine": self.fine}

    def lines(self) -> Iterator[str]:
        """A table for people."""
        for name, value in asdict(self).items():
            if isinstance(value, list):
                yield f"{name.replace('_', ' '):<16}{len(value)}"
                yield from (f"    {one}" for one in value[:SHOWN])
            elif not isinstance(value, dict):
                yield f"{name.replace('_', ' '):<16}{value}"
        yield f"faults          {sum(self.faults.values())}"
        yield from (f"    {name.replace('_', ' '):<18}{count:6}" for name, count in self.faults.items())
        yield f"{'ms until it runs again':<36}{'n':>5}{'median':>10}{'p99':>10}{'max':>10}"
        for name, found in self.recovery.items():
            yield f"    {name:<32}{found.runs:>5}{found.median:>10}{found.p99:>10}{found.longest:>10}"
        yield "logged          " + ", ".join(f"{name} {count}" for name, count in self.logged.items())
        yield "nothing lost, nothing twice" if self.fine else "NOT AS PROMISED"


def judge(db: Any, works: Sequence[Work], documents: Mapping[str, bytes], facts: Sequence[Fact], seen: Seen) -> Report:
    """Compare what was put in with what has come out, what was stored and what the tools say they did."""
    report = Report(len(works), faults=dict(seen.faults.most_common()), troubles=seen.troubles)
    report.logged = dict(seen.logged.most_common())
    results = read_results(db)
    marks = {work.mark for work in works}
    report.results = sum(map(len, results.values()))
    report.failed = sum(event["type"] == "node.failed" for events in results.values() for event in events)
    report.lost = sorted(marks - results.keys())
    report.twice = sorted(mark for mark, events in results.items() if len(events) > 1 or mark not in marks)
    report.dead_letters = sum(db.xlen(f"{stream}:dead") for stream in WORK_STREAMS)
    report.pending = sum(db.xpending(stream, GROUP)["pending"] for stream in WORK_STREAMS)
    report.in_streams = sum(db.xlen(stream) for stream in WORK_STREAMS)
    check_states(report, db, works, documents, results)
    check_runs(report, marks, facts, seen)
    check_recovery(report, facts, seen)
    return report


def read_results(db: Any) -> dict[str, list[dict[str, Any]]]:
    """All result events, by the item's mark."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for stream in RESULT_STREAMS:
        after = "-"
        while page := db.xrange(stream, after, count=PAGE):
            for _, fields in page:
                event = json.loads(fields[b"data"])
                found[f"{event['graph_id']}/{event['node_id']}"].append(event)
            after = f"({page[-1][0].decode()}"
    return found


def check_states(
    report: Report, db: Any, works: Sequence[Work], documents: Mapping[str, bytes], results: Mapping[str, Any]
) -> None:
    """Every node has its entry, of the very run that its result tells of; all else is there byte for byte."""
    nodes: dict[str, set[str]] = defaultdict(set)
    for work in works:
        nodes[work.graph].add(work.node)
    for graph, names in nodes.items():
        report.states += 1
        raw = db.get(f"dago:state:{graph}") or b""
        before, after = cut_at_nodes(documents[graph]) if graph in documents else (b"", b"")
        if not (raw.startswith(before) and raw.endswith(after)):
            report.spoilt.append(f"{graph}: what is not ours has changed")
            continue
        entries = own_entries(raw[len(before) : len(raw) - len(after)], shared=graph in documents)
        if sorted(name for name, _ in entries) != sorted(names):
            report.spoilt.append(f"{graph}: has {len(entries)} nodes of {len(names)}")
        for name, entry in entries:
            told = [event["data"] for event in results.get(f"{graph}/{name}", ())]
            ran = (entry["status"], entry["output"], entry["metadata"]["worker_id"], entry["metadata"]["attempt"])
            if ran not in [("completed", "slept", data["worker_id"], data["attempt"]) for data in told]:
                report.spoilt.append(f"{graph}/{name}: its state tells of another run than its result: {ran}")


def cut_at_nodes(document: bytes) -> tuple[bytes, bytes]:
    """Find what must stand before and after the entries that are laid into *document*."""
    before, last, after = document.partition(b'"more": 99999999999999999999}')
    return before + last, after


def own_entries(text: bytes, *, shared: bool) -> list[tuple[str, dict[str, Any]]]:
    """The nodes' entries as they stand, one that stands twice included."""
    if not shared:
        return list(json.loads(text)["node_states"].items()) if text else []
    pairs: list[tuple[str, dict[str, Any]]] = json.loads(b"{" + text.lstrip(b", \n") + b"}", object_pairs_hook=Pairs)
    return [(name, dict(entry) | {"metadata": dict(dict(entry)["metadata"])}) for name, entry in pairs]


def check_runs(report: Report, marks: set[str], facts: Sequence[Fact], seen: Seen) -> None:
    """
    Each item was run, and run again only with a reason.

    Its worker was killed or stopped, may have lost its lease, or had it when a Redis was lost with what it knew.
    """
    met: dict[int, list[Hit]] = defaultdict(list)
    for hit in seen.hits:
        met[hit.pid].append(hit)
    starts: dict[str, list[Fact]] = defaultdict(list)
    spared: dict[str, list[Fact]] = defaultdict(list)
    until: dict[int, float] = {}  # when the process went on to its next item
    for fact in reversed(facts):
        if fact.what == "start":
            end = until.get(fact.pid, float("inf"))
            hurt = any(hit.at <= end and hit.until >= fact.at for hit in met[fact.pid])
            forgotten = any(began <= end and ended >= fact.at for began, ended in seen.forgotten)
            if not hurt and not forgotten and not lapsed(fact, starts[fact.mark], seen):
                spared[fact.mark].append(fact)
            starts[fact.mark].append(fact)
            until[fact.pid] = fact.at
    report.runs = sum(map(len, starts.values()))
    report.never_run = sorted(marks - starts.keys())
    report.extra_runs = report.runs - len(starts)
    report.unexplained = [told(starts[mark], seen) for mark, runs in spared.items() if len(runs) > 1]


def lapsed(run: Fact, later: Sequence[Fact], seen: Seen) -> bool:
    """Tell whether a run was followed by another because whoever renews its lease was held up for that long."""
    again = min((start.at for start in later), default=None)
    if again is None or again - run.at < MOST_OF_A_LEASE * seen.lease_s:
        return False
    places = ("", seen.places.get(run.pid, ""))
    return any(one.where in places and one.at <= again and one.until >= run.at for one in seen.disturbances)


def told(starts: Sequence[Fact], seen: Seen) -> str:
    """When and where an item ran, and what else happened then."""
    runs = [(start.pid, round(start.at, 2)) for start in reversed(starts)]
    first, last = runs[0][1] - LOOK_BACK_S, runs[-1][1]
    near = [(one.where, round(one.at, 2)) for one in seen.disturbances if first <= one.at <= last]
    return f"{starts[0].mark} ran as {runs}; meanwhile {near}"


def check_recovery(report: Report, facts: Sequence[Fact], seen: Seen) -> None:
    """Measure how long it took until what a killed worker was at ran again."""
    of_pid: dict[int, list[Fact]] = defaultdict(list)
    starts: dict[str, list[float]] = defaultdict(list)
    for fact in facts:
        of_pid[fact.pid].append(fact)
        if fact.what == "start":
            starts[fact.mark].append(fact.at)
    waits: dict[str, list[float]] = {"worker killed": [], "worker killed, nothing else": [], "supervisor killed": []}
    for hit in seen.hits:
        last = of_pid[hit.pid][-1] if of_pid[hit.pid] else None
        if hit.kind not in KILLS or last is None or last.what != "start":
            continue
        again = min((at for at in starts[last.mark] if at > max(hit.at, last.at)), default=None)
        if again is None:
            continue
        waits[KILLS[hit.kind]].append(again - hit.at)
        if hit.kind == "kill_worker" and not disturbed(hit, again, seen):
            waits["worker killed, nothing else"].append(again - hit.at)
            if again - hit.at > SLOW_S:
                report.slow.append(f"{last.mark} of {hit.where} after {again - hit.at:.3f} s, killed at {hit.at:.3f}")
    report.recovery = {name: Recovery.of(found) for name, found in waits.items()}


def disturbed(hit: Hit, again: float, seen: Seen) -> bool:
    """Tell whether something else happened to the same supervisor, or to all, at about that time."""
    return any(one.where in ("", hit.where) and one.at <= again and one.until >= hit.at for one in seen.disturbances)
