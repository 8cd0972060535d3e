"""The unit's files: understood by systemd, as closed as the program can live with, and saying the same."""

from __future__ import annotations

import re
import sys

import pytest

from executor_worker.cli.main import main
from tests.system.systemd.machine import Machine
from tests.system.systemd.unit import FOLDER, UNITS

pytestmark = [pytest.mark.xdist_group("systemd"), pytest.mark.timeout(300)]

PLAIN, TEMPLATE, API = "executor-worker.service", "executor-worker@.service", "dago.service"
MOST_EXPOSED = 15  # tenths; systemd-analyze calls up to 1.5 well protected


@pytest.mark.parametrize("unit", [PLAIN, "executor-worker@a.service", API])
def test_systemd_understands_every_line(machine: Machine, unit: str) -> None:
    """It returns 0 for keys that it does not know, and only mentions them."""
    done = machine.run("systemd-analyze", "verify", f"{FOLDER}/{unit}")
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("unit", [PLAIN, TEMPLATE, API])
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


def test_api_unit_is_the_pools_with_names_of_its_own() -> None:
    """As closed, as patient, restarted alike: only what runs, where its things are and which secrets it takes."""
    plain, api = (settings_of((UNITS / name).read_text()) for name in (PLAIN, API))
    renamed = [line.replace("dago.env", "settings.env").replace("dago", "executor-worker") for line in api]
    assert [line for line in renamed if line not in plain] == [
        "Description=DA orchestrator: API of graphs and their runs",
        "ExecStart=/opt/executor-worker/bin/executor-worker serve",
    ]
    assert [line for line in plain if line not in renamed] == [
        "Description=DA node executor: runs the nodes of agent graphs",
        "ExecStart=/opt/executor-worker/bin/executor-worker run",
    ]


@pytest.mark.parametrize(
    ("options", "file", "changed"),
    [
        ((), PLAIN, {}),
        (("--api",), API, {}),
        (("--pool", "%i"), TEMPLATE, {}),
        (("--pool", "fast"), TEMPLATE, {"%i": "fast"}),
        (("--env",), "executor-worker.env", {}),
        (("--env", "--pool", "fast"), "executor-worker.env", {"settings.env": "fast.env"}),
        (("--drop-in",), "credentials.conf", {}),
    ],
)
def test_program_prints_what_comes_with_it(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], file: str, changed: dict[str, str]
) -> None:
    """The files as they are, with the name that is asked for, and the place of the program that prints them."""
    assert main(["unit", *options]) == 0
    expected = (UNITS / file).read_text().replace("/opt/executor-worker", sys.prefix)
    for old, new in changed.items():
        expected = expected.replace(old, new)
    assert capsys.readouterr().out == expected


def test_pool_with_the_api_and_the_apis_drop_in(capsys: pytest.CaptureFixture[str]) -> None:
    """One setting more in the unit; tokens are a credential, and the API alone needs no model's key."""
    main(["unit", "--pool", "a"])
    main(["unit", "--pool", "a", "--api"])
    *plain, with_api = capsys.readouterr().out.partition("# Several pools")[2].partition("# Several pools")
    assert set(settings_of(with_api)) - set(settings_of(plain[0])) == {"Environment=API=1"}
    main(["unit", "--api", "--drop-in"])
    credentials = re.findall("^LoadCredential=(.*):", capsys.readouterr().out, re.MULTILINE)
    assert credentials == ["API_TOKENS", "REDIS_PASS"]
    assert main(["unit", "--pool", "a/../b"]) == 2
