"""The unit's files: understood by systemd, as closed as the program can live with, and saying the same."""

from __future__ import annotations

import re

import pytest

from tests.system.systemd.machine import Machine
from tests.system.systemd.unit import FOLDER, UNITS

pytestmark = [pytest.mark.xdist_group("systemd"), pytest.mark.timeout(180)]

PLAIN, TEMPLATE = "executor-worker.service", "executor-worker@.service"
MOST_EXPOSED = 15  # tenths; systemd-analyze calls up to 1.5 well protected


@pytest.mark.parametrize("unit", [PLAIN, "executor-worker@a.service"])
def test_systemd_understands_every_line(machine: Machine, unit: str) -> None:
    """It returns 0 for keys that it does not know, and only mentions them."""
    done = machine.run("systemd-analyze", "verify", f"{FOLDER}/{unit}")
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("unit", [PLAIN, TEMPLATE])
def test_exposure_is_low(machine: Machine, unit: str) -> None:
    """Also without a running systemd to ask: this is what the file says."""
    command = ("security", "--offline=yes", f"--threshold={MOST_EXPOSED}", f"{FOLDER}/{unit}")
    done = machine.run("systemd-analyze", "--no-pager", *command, check=False)
    assert done.returncode == 0, done.stdout
    assert float(re.findall(r"exposure level for .*: ([\d.]+)", done.stdout)[0]) <= MOST_EXPOSED / 10


def test_notify_reload_is_for_systemds_that_know_it(machine: Machine) -> None:
    """From 253 on it verifies without a word; before that, the type is one that systemd does not know."""
    version = int(machine.run("systemctl", "--version").stdout.split()[1])
    folder = f"{FOLDER}/{PLAIN}.d"
    machine.write(f"{folder}/notify-reload.conf", (UNITS / "notify-reload.conf").read_text())
    try:
        done = machine.run("systemd-analyze", "verify", f"{FOLDER}/{PLAIN}", check=False)
    finally:
        machine.run("rm", f"{folder}/notify-reload.conf")
    if version >= 253:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert "Failed to parse service type" in done.stderr


def settings_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_template_is_the_unit_with_names_of_its_own() -> None:
    """What differs is where its settings, its folders and its name come from, and nothing else."""
    plain, template = (settings_of((UNITS / name).read_text()) for name in (PLAIN, TEMPLATE))
    named = [line.replace("executor-worker/%i.env", "executor-worker/settings.env") for line in template]
    same = [line.replace("executor-worker-%i", "executor-worker").replace(" (%i)", "") for line in named]
    assert [line for line in same if line not in plain] == ["Environment=WORKER_ID=executor-%H-%i"]
    assert [line for line in plain if line not in same] == []
