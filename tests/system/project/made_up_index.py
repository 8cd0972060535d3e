"""A package index on this machine's disk: what a lock names, and a newer release of all of it."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from tests.system.project.locks import Locked

NEWER = "99999"


class MadeUpIndex:
    """
    Wheels that hold nothing but their metadata, in folders as an index has them.

    Args:
        folder: Where it is to lie.
        requires: What each package asks for, by its name.
    """

    def __init__(self, folder: Path, entries: list[Locked], requires: dict[str, list[str]]) -> None:
        self._files = folder / "files"
        self._pages = folder / "simple"
        self._files.mkdir(parents=True)
        self.hashes = {entry.line: self._offer(entry, requires[entry.name]) for entry in entries if entry.applies}

    @property
    def url(self) -> str:
        return self._pages.as_uri()

    def lock(self, entries: list[Locked]) -> str:
        """The lock again, with the hashes of these wheels: all that is left as it is decides what pip takes."""
        unknown = "0" * 64  # of what no machine like this one installs
        return "".join(f"{entry.line} --hash=sha256:{self.hashes.get(entry.line, unknown)}\n" for entry in entries)

    def _offer(self, entry: Locked, requires: list[str]) -> str:
        """Lay the locked version and a newer one on the package's page; return the hash of the former."""
        wheels = [self._wheel(entry.name, version, requires) for version in (entry.version, NEWER)]
        page = self._pages / entry.name / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text("".join(f'<a href="{wheel.as_uri()}">{wheel.name}</a>\n' for wheel in wheels))
        return hashlib.sha256(wheels[0].read_bytes()).hexdigest()

    def _wheel(self, name: str, version: str, requires: list[str]) -> Path:
        stem = f"{name.replace('-', '_')}-{version}"
        extras = sorted({extra for line in requires for extra in _extras_in(line)})
        metadata = [
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
            *(f"Provides-Extra: {extra}" for extra in extras),
            *(f"Requires-Dist: {line}" for line in requires),
        ]
        path = self._files / f"{stem}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(f"{stem}.dist-info/METADATA", "\n".join(metadata) + "\n")
            wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{stem}.dist-info/RECORD", "")
        return path


def _extras_in(line: str) -> list[str]:
    """The extras that a requirement's marker asks for: `… ; extra == "crypto"`."""
    words = line.replace("(", " ").replace(")", " ").split()
    return [words[at + 2].strip("\"'") for at, word in enumerate(words[:-2]) if word == "extra"]
