"""What is shipped beside the program, read as the programs it is meant for read it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from executor_worker.settings.catalogue import setting_fields
from tests.kit import need
from tests.kit.counterparts import PATHS
from tests.kit.install import CACHE
from tests.kit.paths import ROOT as ROOT

DEPLOY = ROOT / "deploy"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
KEDA = sorted((DEPLOY / "kubernetes").glob("keda-*.yaml"))
CHECK = Path(__file__).with_name("check.cjs")
Document = dict[str, Any]


def known_not(names: Iterable[str]) -> set[str]:
    """Those of *names* that are no settings of the program."""
    settings = {name.upper() for name in setting_fields()}
    return set(names) - settings - {f"{name}_FILE" for name in settings}


def assert_keda_takes(objects: list[Document]) -> None:
    """Check KEDA's objects by its resource definitions."""
    assert said_by(PATHS["node"], CHECK, "keda", stdin=json.dumps(objects)) == ""


def read_yaml(path: Path) -> list[Document]:
    """All documents of a file, by the YAML reader of the schemas' checker."""
    need("check-jsonschema")
    code = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1]))), default=str))"
    python = PATHS["check-jsonschema"].with_name("python")
    documents: list[Document] = json.loads(said_by(python, "-c", code, path))
    return documents


def said_by(*command: str | Path, stdin: str = "") -> str:
    """
    Run a checker; return what it says.

    Raises:
        AssertionError: It found something; shows what.
    """
    done = subprocess.run(
        [str(part) for part in command],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={"NODE_PATH": str(CACHE / "npm" / "node_modules"), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
