"""What is newer on an index tomorrow changes nothing of what is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from importlib.metadata import distributions
from pathlib import Path

import pip
import pytest
from packaging.utils import canonicalize_name

from tests.kit.counterparts import PATHS
from tests.kit.paths import ROOT
from tests.system.project.locks import LOCKS, Locked, read, requires
from tests.system.project.made_up_index import MadeUpIndex

OLDEST, NEWEST = "the oldest pip", "the locked pip"


def install(folder: Path, pip_name: str, index: MadeUpIndex, lock: str) -> subprocess.CompletedProcess[str]:
    """Install *lock* into an empty environment in *folder*, with nothing set and nothing in reach but *index*."""
    venv.create(folder / "environment", with_pip=False, symlinks=True)
    here = folder / "pip"
    here.mkdir()
    (here / "pip").symlink_to(PATHS["oldest-pip"] if pip_name == OLDEST else Path(pip.__file__).parent)
    (folder / "lock").write_text(lock)
    command = ["-m", "pip", "install", "--no-compile", "--no-cache-dir", "--require-hashes", "--index-url", index.url]
    return subprocess.run(
        [folder / "environment" / "bin" / "python", *command, "--requirement", folder / "lock"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(here), "PIP_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
        check=False,
    )


def installed(folder: Path) -> dict[str, str]:
    """Each package in the environment with its version."""
    (packages,) = (folder / "environment" / "lib").glob("python*/site-packages")
    return {canonicalize_name(found.name): found.version for found in distributions(path=[str(packages)])}


@pytest.mark.needs("oldest-pip")
@pytest.mark.parametrize("pip_name", [OLDEST, NEWEST])
@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_newer_releases_change_nothing(lock: Path, pip_name: str, tmp_path: Path) -> None:
    """Beside everything locked the index has a newer release: exactly what is locked is installed."""
    entries = read(lock)
    index = MadeUpIndex(tmp_path / "index", entries, requires(lock))
    done = install(tmp_path, pip_name, index, index.lock(entries))
    assert done.returncode == 0, done.stderr
    assert installed(tmp_path) == {entry.name: entry.version for entry in entries if entry.applies}


@pytest.mark.needs("oldest-pip")
def test_a_lock_without_its_extras_is_noticed(tmp_path: Path) -> None:
    """The oldest pip refuses it once there is a newer release: so the test above does see it."""
    lock = ROOT / "requirements.lock"
    entries = [Locked(re.sub(r"\[.*?\]", "", entry.line)) for entry in read(lock)]
    index = MadeUpIndex(tmp_path / "index", entries, requires(lock))
    done = install(tmp_path, OLDEST, index, index.lock(entries))
    assert done.returncode != 0
    assert "In --require-hashes mode, all requirements must have their versions pinned" in done.stderr


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_extras_that_are_asked_for_are_locked(lock: Path) -> None:
    """Whatever a locked package requires with an extra stands in the lock with it, or pip may look for another."""
    entries = {entry.name: entry for entry in read(lock) if entry.applies}
    asked = requires(lock)
    wrong = [
        f"{entry.name} asks for {required}"
        for entry in entries.values()
        for required in entry.asked(asked[entry.name])
        if not required.extras <= entries[canonicalize_name(required.name)].requirement.extras
    ]
    assert not wrong


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_locks_are_hashed(lock: Path) -> None:
    """Each package with an exact version, and with the hashes of its files."""
    entries = [entry for entry in re.split(r"\n(?=\S)", lock.read_text()) if re.match(r"\w", entry)]
    assert entries
    assert all("==" in entry.partition("\n")[0] and "--hash=sha256:" in entry for entry in entries)


def test_this_runs_on_what_is_locked() -> None:
    """The environment of the tests has the pip and the packages that the locks name."""
    wanted = [*read(ROOT / "requirements-pip.lock"), *read(ROOT / "requirements-dev.lock")]
    here: dict[str, str] = {canonicalize_name(found.name): found.version for found in distributions(path=sys.path)}
    assert {entry.name: here.get(entry.name) for entry in wanted if entry.applies} == {
        entry.name: entry.version for entry in wanted if entry.applies
    }
