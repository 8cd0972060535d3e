"""One machine for all tests of this folder, with the unit installed as README says."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.journal import VARIABLE
from tests.faults.stage import COMPLETED, FAILED, Stage
from tests.kit import Pool, RedisServer, cannot_run, free_port, need
from tests.system.systemd.machine import CannotBoot, Machine
from tests.system.systemd.unit import FOLDER, Unit

PASSWORD = "from-a-credential"
SETTINGS_FILE = "/etc/executor-worker/settings.env"
STATE = "/var/lib/executor-worker"
# What differs from the unit as it is shipped: where the tests' tools are, and how soon it starts again.
DROP_IN = f"""
[Service]
Environment=PYTHONPATH=/opt/tests PYTHONDONTWRITEBYTECODE=1 LD_LIBRARY_PATH=/opt/python/lib {VARIABLE}={STATE}
LoadCredential=REDIS_PASS:/etc/executor-worker/redis_pass
RestartSec=100ms
"""


# What the program prints of them.
PRINTED = {
    "executor-worker.service": (),
    "executor-worker@.service": ("--pool", "%i"),
    "dago.service": ("--api",),
}


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """A systemd of our own; who is not root can't have one."""
    if os.geteuid() != 0:
        pytest.skip("systemd: needs root: one of its own is booted in namespaces")
    need("systemd", "redis")
    try:
        made = Machine()
    except CannotBoot as reason:
        cannot_run(f"systemd: {reason}")
        raise
    for name, options in PRINTED.items():
        unit = made.run("/opt/executor-worker/bin/executor-worker", "unit", *options)
        assert unit.stderr == "", "nothing that the unit hides is needed"
        made.write(f"{FOLDER}/{name}", unit.stdout)
    made.write("/etc/executor-worker/redis_pass", f"{PASSWORD}\n", mode=0o600)
    yield made
    made.close()


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    """A Redis whose password only the credential knows."""
    with tempfile.TemporaryDirectory(prefix="ex-") as folder:
        started = RedisServer(Path(folder), password=PASSWORD)
        yield started
        started.close()


@pytest.fixture(scope="session")
def installed(machine: Machine) -> Unit:
    return Unit(machine, "executor-worker", SETTINGS_FILE, free_port())


@pytest.fixture
def defaults(installed: Unit, server: RedisServer) -> dict[str, object]:
    """The settings file's content unless a test wants something else."""
    return {
        "WORKERS": 2,
        "REDIS_ADDR": server.addr,
        "LLM_PROVIDER": "scripted",
        "TOOL_MODULES": "tests.faults.tools",
        "LEASE": 2,
        "HEALTH_HOST": "127.0.0.1",
        "HEALTH_PORT": installed.port,
    }


@pytest.fixture
def unit(request: pytest.FixtureRequest, installed: Unit, defaults: dict[str, object]) -> Unit:
    """
    The unit, active and idle, with the settings of `defaults`.

    `@pytest.mark.unit("WatchdogSec=3", NODE_TIMEOUT=1)` changes the unit and the settings for one test. It is
    started anew only where the test before has left it otherwise.
    """
    marker = request.node.get_closest_marker("unit")
    drop_in, settings = ("\n".join(marker.args), marker.kwargs) if marker else ("", {})
    installed.be(f"{DROP_IN}{drop_in}\n", {**defaults, **settings})
    return installed


@pytest.fixture
def stage(unit: Unit, server: RedisServer) -> Iterator[Stage]:
    """What comes in and out at Redis; nothing is left of the tests before."""
    journal = unit.machine.root / f"var/lib/private/{Path(STATE).name}"
    made = Stage(server, _no_pool, journal)
    made.db.delete(COMPLETED, FAILED)
    for file in (*journal.glob("*.go"), *journal.glob("journal")):
        file.unlink()
    yield made
    made.db.close()


@pytest.fixture
def took(record_property: Callable[[str, object], None]) -> Callable[[str, float], None]:
    """Report how long something took: it is listed after the tests."""
    return lambda what, seconds: record_property("took", f"{what}: {seconds:.2f} s")


def _no_pool(*_: object, **__: object) -> Pool:
    raise AssertionError("the pool here is the unit")
