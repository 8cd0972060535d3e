"""
Look up what the locks name in PyPI's database of known vulnerabilities: `make audit`.

pip-audit, in an environment of its own, does the asking. By itself it finds nothing wrong with packages that it could
not look up; here that is no audit. Options go on to it: `--ignore-vuln ID` for one that does not concern us,
`--vulnerability-service osv` for another database.

Exit status: 0 all were looked up and nothing is known of them, 1 there is a finding, 3 nobody can say. With
`--where-possible` 3 becomes 0, unless REQUIRE_REAL=1: who checks code on a train need not be stopped, but is told.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))

from tests.kit.install import CACHE, CannotInstall, make_environment  # noqa: E402 - run as a file

FOLDER = CACHE / "audit"
TOOL_LOCK = ROOT / "requirements-audit.lock"
LOCKS = (
    *("requirements.lock", "requirements-dev.lock", "requirements-build.lock", "requirements-pip.lock"),
    TOOL_LOCK.name,
)
SOUND, FOUND, UNKNOWN = 0, 1, 3
WHERE_POSSIBLE = "--where-possible"
ANSWER_S = "10"  # for one answer of the database


@dataclass(frozen=True)
class Verdict:
    status: int
    text: str


def install() -> Path:
    """
    Install pip-audit into the cache, unless it is there as the lock names it.

    Raises:
        CannotInstall: It can't be fetched.
    """
    stamp, wanted = FOLDER / "installed", hashlib.sha256(TOOL_LOCK.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != wanted:
        make_environment(FOLDER, TOOL_LOCK)
        stamp.write_text(wanted)
    return FOLDER / "bin" / "pip-audit"


def ask(tool: Path, options: list[str]) -> Verdict:
    """Look up all that is locked, as it stands there: nothing is resolved or installed for it."""
    files = [part for lock in LOCKS for part in ("--requirement", str(ROOT / lock))]
    quiet = ["--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json"]
    command = [str(tool), *files, *quiet, "--timeout", ANSWER_S, "--cache-dir", str(FOLDER / "answers"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return judge(done.stdout, done.stderr)


def judge(said: str, complained: str) -> Verdict:
    """
    Args:
        said: pip-audit's report as JSON; empty if it broke off.
        complained: What it wrote to stderr.
    """
    try:
        packages: list[dict[str, Any]] = json.loads(said)["dependencies"]
    except (ValueError, KeyError):
        return Verdict(UNKNOWN, (complained.strip().splitlines() or ["pip-audit said nothing"])[-1])
    found = [line for package in packages for line in _findings(package)]
    skipped = [package["skip_reason"] for package in packages if "skip_reason" in package]
    missing = f"{len(skipped)} of {len(packages)} packages could not be looked up ({skipped[0]})" if skipped else ""
    if found:
        return Verdict(FOUND, "\n".join([*dict.fromkeys(found), *([missing] if missing else [])]))
    if missing or not packages:
        return Verdict(UNKNOWN, missing or "there was nothing to look up")
    names = {package["name"] for package in packages}
    return Verdict(SOUND, f"{len(names)} packages looked up, no vulnerability is known")


def _findings(package: dict[str, Any]) -> list[str]:
    return [
        f"{package['name']} {package['version']}: {' '.join([flaw['id'], *flaw['aliases']])},"
        f" mended in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for flaw in package.get("vulns", [])
    ]


def conclude(verdict: Verdict, *, must: bool) -> int:
    """Say what came of it; return the exit status. Args: must: No answer is a failure."""
    if verdict.status != UNKNOWN:
        print(f"audit: {verdict.text}")
        return verdict.status
    print(f"audit: NOT DONE, so nothing is said of known vulnerabilities: {verdict.text}", file=sys.stderr)
    return UNKNOWN if must else SOUND


def main(arguments: list[str]) -> int:
    must = WHERE_POSSIBLE not in arguments or os.environ.get("REQUIRE_REAL") == "1"
    options = [argument for argument in arguments if argument != WHERE_POSSIBLE]
    try:
        verdict = ask(install(), options)
    except CannotInstall as error:
        verdict = Verdict(UNKNOWN, f"pip-audit can't be installed: {error}")
    return conclude(verdict, must=must)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
