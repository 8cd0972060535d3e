"""The comparison with other queues counts and tells what it should; `make bench-peers` runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.peers import job, plot, report
from benchmarks.peers.measures import Found, Plan
from benchmarks.peers.program import cpu_seconds, in_flight, not_done_and_twice, pss_kib
from benchmarks.peers.systems import OURS, ROOT, SYSTEMS, System

BEGAN, ENDED, RAN = job.BEGAN, job.ENDED, job.RAN
PEERS = [system for system in SYSTEMS if system != OURS]


pytestmark = pytest.mark.needs("redis")  # whose version is told with the figures


@pytest.fixture
def data() -> report.Data:
    """A run in which ours is the slower one, and the other lost what was killed."""
    found = {
        "ours": Found([100.0, 90.0], [1.0], [2.0, 3.0, 2.5], 14.0, [0.05, 0.04], 32.0, 9, 0, 0),
        "huey": Found([200.0], [0.5], [1.0, 1.5, 1.2], 9.0, [], None, 8, 8, 0),
    }
    return report.as_data([OURS, next(s for s in SYSTEMS if s.name == "huey")], found, Plan(limit_s=75.0))


def test_jobs_note_what_they_do(tmp_path: Path) -> None:
    """A no-op leaves one record, a nap two, with the process that ran it; an open gate ends a nap at once."""
    (tmp_path / "gate").touch()
    names = {"PEERS_NOTES": "notes", "PEERS_GATE": "gate", "PEERS_REDIS": "redis"}
    env = {"PYTHONPATH": str(ROOT), **{name: str(tmp_path / file) for name, file in names.items()}}
    code = (
        "from benchmarks.peers import job; job.noop(1, job.PAYLOAD); job.nap(2, 3600.0); import os; print(os.getpid())"
    )
    pid = int(subprocess.run([sys.executable, "-c", code], env=env, check=True, stdout=subprocess.PIPE).stdout)
    records = list(job.read((tmp_path / "notes").read_bytes()))
    assert [record[:3] for record in records] == [(RAN, 1, pid), (BEGAN, 2, pid), (ENDED, 2, pid)]


def test_a_record_that_is_being_written_is_left_out() -> None:
    """Who reads meanwhile sees whole records only."""
    record = job.RECORD.pack(RAN, 7, 1, 2.0)
    assert list(job.read(record + record[:-1])) == [(RAN, 7, 1, 2.0)]


def test_a_job_is_in_flight_where_it_began_last() -> None:
    """A run that ended is over; one that began again in another process is there."""
    records = [(BEGAN, 1, 10, 0.0), (BEGAN, 2, 11, 0.1), (ENDED, 1, 10, 0.2), (BEGAN, 2, 12, 0.3)]
    assert in_flight(records) == {2: 12}


def test_not_done_is_what_never_ended_and_twice_what_ended_again() -> None:
    """A run that was cut off and made again is neither; other jobs don't count."""
    cut_off = [(BEGAN, 1, 10, 0.0), (BEGAN, 1, 11, 1.0), (ENDED, 1, 11, 2.0)]
    twice = [(ENDED, 2, 10, 0.0), (ENDED, 2, 11, 1.0)]
    others = [(ENDED, 9, 10, 0.0), (ENDED, 9, 10, 0.0)]
    assert not_done_and_twice([*cut_off, *twice, *others, (BEGAN, 3, 10, 0.0)], range(1, 5)) == (2, 1)


def test_figures_of_processes_are_those_of_the_kernel() -> None:
    """Our own CPU time and memory; a process that is gone has none."""
    times = os.times()
    assert cpu_seconds(os.getpid()) == pytest.approx(sum(times[:4]), abs=0.1)
    assert pss_kib(os.getpid()) > 1000
    assert (cpu_seconds(2**22), pss_kib(2**22)) == (0.0, 0)


def test_where_a_peer_is_better_it_is_said(data: report.Data) -> None:
    """Less CPU, more jobs, less memory; but who has lost the job is not quicker."""
    assert report.ahead(data) == ["Better than ours in *CPU a job*: huey; *jobs/s*: huey; *MiB a worker*: huey."]


def test_what_did_not_happen_is_told_with_the_limit(data: report.Data) -> None:
    """No dash, no zero: for how long it was waited."""
    row = next(line for line in report.markdown(data).splitlines() if line.startswith("| huey"))
    assert row.count("not within 75 s") == 2
    assert "| 1.2 (1.0–1.5) |" in row
    assert "| 8 (8) |" in row


def test_the_page_is_changed_between_the_marks_only() -> None:
    """What stands around them stays; without marks nothing is written."""
    assert report.between_marks(f"a\n{report.BEGIN}\nold\n{report.END}\nb", "new") == (
        f"a\n{report.BEGIN}\nnew\n{report.END}\nb"
    )
    with pytest.raises(ValueError, match="has no"):
        report.between_marks("a", "new")


def test_the_page_has_the_marks_and_the_drawing() -> None:
    """So that a run can be kept."""
    text = (ROOT / "docs" / "PEERS.md").read_text()
    assert report.between_marks(text, "new") != text
    assert "peers.svg" in text


def test_the_drawing_holds_every_figure(data: report.Data) -> None:
    """Well-formed; nothing stands outside; one circle a figure, hollow where it did not happen."""
    root = ET.fromstring(plot.svg(data))
    circles = [element for element in root.iter() if element.tag.endswith("circle")]
    assert len(circles) == 2 * 5
    assert sum(circle.get("class") == "never" for circle in circles) == 2
    width = float(root.get("width", "0"))
    assert all(0 < float(circle.get("cx", "0")) < width for circle in circles)


@pytest.mark.parametrize("system", PEERS, ids=lambda system: system.name)
def test_a_peer_is_pinned_and_its_settings_are_told(system: System) -> None:
    """Its version and its hashes stand in a lock, with the model's SDK of ours; its adapter says what it was set to."""
    lock = system.lock.read_text()
    assert system.version
    assert lock.count("--hash=sha256:") > lock.count("==")
    assert "\nanthropic==" in lock
    assert len(system.settings) > 20


def test_a_figure_is_kept_with_all_that_it_was_measured_with(data: report.Data) -> None:
    """Date, machine, plan, version and settings; the figures by their names."""
    assert {"date", "machine", "plan", "systems"} == data.keys()
    assert data["systems"]["huey"].keys() == {"title", "version", "settings", *asdict(Found())}
