"""What is no Python goes into the wheel too."""

from __future__ import annotations

import subprocess
from configparser import ConfigParser

from tests.kit.paths import ROOT


def test_each_file_of_a_package_is_named_for_the_wheel() -> None:
    """A script, schema or page in a folder that nobody named would be missing only where we are installed."""
    named = ConfigParser()
    named.read(ROOT / "setup.cfg")
    packaged = {
        path.relative_to(ROOT).as_posix()
        for package, patterns in named["options.package_data"].items()
        for pattern in patterns.split()
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    listed = subprocess.run(
        ["git", "ls-files", "--", "executor_worker", "orchestrator", "supervisor"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert [name for name in listed if not name.endswith(".py") and name not in packaged] == []
