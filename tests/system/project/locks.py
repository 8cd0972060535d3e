"""Locks as pip reads them, and what the packages in them ask for."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.kit.counterparts import cannot_run
from tests.kit.install import CACHE
from tests.kit.paths import ROOT

FOLDERS = (ROOT, ROOT / "benchmarks" / "peers" / "locks", ROOT / "tests" / "kit" / "locks")
LOCKS = [path for folder in FOLDERS for path in sorted(folder.glob("*.lock"))]


@dataclass(frozen=True)
class Locked:
    """
    A package as a lock names it.

    Attributes:
        line: Its requirement as it stands there, without hashes.
    """

    line: str

    @property
    def requirement(self) -> Requirement:
        return Requirement(self.line)

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        return str(self.requirement.specifier).removeprefix("==")

    @property
    def applies(self) -> bool:
        """Whether it is installed on this machine."""
        marker = self.requirement.marker
        return marker is None or marker.evaluate()

    def asked(self, requires: list[str]) -> Iterator[Requirement]:
        """Those of what its package *requires* that hold here, with the extras it is locked with."""
        for required in map(Requirement, requires):
            marker = required.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *self.requirement.extras)):
                yield required


def read(lock: Path) -> list[Locked]:
    """All that *lock* names, for whatever machine."""
    entries = re.split(r"\n(?=\S)", lock.read_text())
    lines = [entry.partition("\n")[0].removesuffix("\\").strip() for entry in entries if re.match(r"\w", entry)]
    return [Locked(line) for line in lines]


def requires(lock: Path) -> dict[str, list[str]]:
    """What the packages of *lock* ask for, by name, as they themselves say: those installed here, else the index."""
    found = {entry.name: _installed(entry) for entry in read(lock) if entry.applies}
    unknown = [entry for entry in read(lock) if entry.applies and found[entry.name] is None]
    return {name: listed for name, listed in found.items() if listed is not None} | _of_index(unknown)


def _installed(entry: Locked) -> list[str] | None:
    try:
        here = distribution(entry.name)
    except PackageNotFoundError:
        return None
    return list(here.requires or []) if here.version == entry.version else None


def _of_index(entries: list[Locked]) -> dict[str, list[str]]:
    """Ask the index, once for all times: what a version requires does not change."""
    if not entries:
        return {}
    lines = sorted(entry.line for entry in entries)
    kept = CACHE / "lock-metadata" / f"{hashlib.sha256(repr((lines, sys.version)).encode()).hexdigest()}.json"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(_fetch(lines)))
        part.rename(kept)
    known: dict[str, list[str]] = json.loads(kept.read_text())
    return known


def _fetch(lines: list[str]) -> dict[str, list[str]]:
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"]
    done = subprocess.run(
        [*pip, "--disable-pip-version-check", "--report", "-", *lines], capture_output=True, text=True, check=False
    )
    if done.returncode:
        cannot_run(f"what is locked can't be looked up: {done.stderr.strip().splitlines()[-1]}")
    packages = [package["metadata"] for package in json.loads(done.stdout)["install"]]
    return {canonicalize_name(package["name"]): package.get("requires_dist", []) for package in packages}
