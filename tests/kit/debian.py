"""
Debian's packages without installing them, as a program of its own.

    debian.py unpack FOLDER PACKAGE…    what this machine lacks of these and of what they need, into FOLDER/root
    debian.py python FOLDER             a small file system with Debian's Python and Redis, into FOLDER/root

Both ask the package sources that this machine is set up with, and change nothing outside FOLDER.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

PYTHON_SUITE = "trixie"  # has the Python that the Dockerfile names
# libstdc++6 is in every image of Debian: apt needs it.
PYTHON_PACKAGES = (
    *("base-files", "base-passwd", "coreutils", "dash", "libc-bin", "libstdc++6", "passwd", "python3-venv"),
    *("redis-server", "redis-tools"),  # for what stands in for Redis' image
)
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
NOT_NEEDED = ("./usr/share/doc", "./usr/share/man", "./usr/share/locale")
MERGED = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}


class Failed(Exception):
    """The sentence says why."""


def apt(folder: Path, *arguments: str) -> str:
    """Run apt-get with lists and downloads of its own in *folder*."""
    for part in ("lists/partial", "archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    own = [f"Dir::State::lists={folder}/lists", f"Dir::Cache={folder}", f"Dir::Cache::archives={folder}/archives"]
    own += ["Debug::NoLocking=1", "APT::Install-Recommends=0", "APT::Sandbox::User=root", "Acquire::Retries=3"]
    options = [word for option in own for word in ("-o", option)]
    command = ["apt-get", "-qq", *options, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = (done.stderr or done.stdout).strip().splitlines()
    if done.returncode or (arguments[0] == "update" and any(line.startswith("E:") for line in said)):
        raise Failed(f"apt-get {arguments[0]}: {' | '.join(said[-3:])}")
    return done.stdout


def download(folder: Path, packages: list[str], *options: str) -> list[Path]:
    """Fetch *packages* and all they need that is not installed."""
    apt(folder, "update", *options)
    if not any((folder / "lists").glob("*Packages*")):
        raise Failed("apt-get update brought no list of packages: this machine's package sources can't be reached")
    apt(folder, "install", *options, "--download-only", "--yes", *packages)
    return sorted((folder / "archives").glob("*.deb"))


def unpack(archives: list[Path], root: Path) -> None:
    """Put the files of packages under *root*; none of their scripts is run."""
    root.mkdir(parents=True, exist_ok=True)
    leave_out = [f"--exclude={name}" for name in NOT_NEEDED]
    for archive in archives:
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE) as packed:
            tar = ["tar", "-x", "-C", str(root), "--keep-directory-symlink", *leave_out]
            done = subprocess.run(tar, stdin=packed.stdout, capture_output=True, text=True, check=False)
        if done.returncode or packed.returncode:
            raise Failed(f"{archive.name} could not be unpacked: {done.stderr.strip()[-200:]}")


def this_system() -> dict[str, str]:
    """Read /etc/os-release."""
    lines = Path("/etc/os-release").read_text().splitlines()
    return {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}


def source_line(folder: Path) -> str:
    """Name the source of the suite: the one that this machine's own comes from."""
    system = this_system()
    own = system.get("VERSION_CODENAME", "")
    apt(folder, "update")  # before that, it names no targets
    targets = apt(folder, "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages")
    found = [
        uri for release, component, uri in map(str.split, targets.splitlines()) if (release, component) == (own, "main")
    ]
    if not found:
        raise Failed(f"none of this machine's package sources has {own} main")
    suite = PYTHON_SUITE if system.get("ID") == "debian" else own
    trusted = f"[signed-by={KEYRING}] " if suite == PYTHON_SUITE and KEYRING.exists() else ""
    return f"deb {trusted}{found[0]} {suite} main\n"


def make_python(folder: Path) -> None:
    """Make a file system that a Dockerfile for Python can start from."""
    root = folder / "root"
    root.mkdir(parents=True)
    (folder / "sources.list").write_text(source_line(folder))
    (folder / "status").touch()  # nothing is installed there yet
    places = (f"Dir::State::status={folder}/status", f"Dir::Etc::sourcelist={folder}/sources.list")
    options = [word for place in (*places, "Dir::Etc::sourceparts=/dev/null") for word in ("-o", place)]
    shutil.rmtree(folder / "lists")  # of this machine's own suite
    for link, target in MERGED.items():
        (root / target).mkdir(parents=True, exist_ok=True)
        (root / link).symlink_to(target)
    unpack(download(folder, list(PYTHON_PACKAGES), *options), root)
    for name in ("passwd", "group"):
        shutil.copy(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)
    (root / "usr/local/bin").mkdir(parents=True, exist_ok=True)
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    version = next((root / "usr/lib").glob("python3.*")).name
    for wheel in (root / "usr/share/python-wheels").glob("pip-*.whl"):  # Python's own image has pip too
        zipfile.ZipFile(wheel).extractall(root / "usr/local/lib" / version / "dist-packages")
    trusted = next(
        (Path(os.environ[name]) for name in ("PIP_CERT", "SSL_CERT_FILE") if os.environ.get(name)), CERTIFICATES
    )
    (root / "etc/ssl/certs").mkdir(parents=True, exist_ok=True)
    shutil.copy(trusted, root / "etc/ssl/certs/ca-certificates.crt")


def main(what: str, folder: Path, packages: list[str]) -> int:
    """Do one of the two; say in a line why it failed."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        sys.stderr.write("needs Debian or Ubuntu: there is no apt-get\n")
        return 1
    try:
        make_python(folder) if what == "python" else unpack(download(folder, packages), folder / "root")
    except (Failed, OSError) as reason:
        sys.stderr.write(f"{reason}\n")
        return 1
    for part in ("lists", "archives"):
        shutil.rmtree(folder / part, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
