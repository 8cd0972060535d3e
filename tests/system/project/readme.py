"""README as a person reads it who types off what stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.kit.paths import ROOT

README = ROOT / "README.md"
PROMISES = ROOT / "docs" / "PROMISES.md"


def sections(page: Path = README) -> dict[str, str]:
    """The text below each heading."""
    parts = re.split(r"^## (.*)\n", page.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def blocks(section: str, language: str = "console") -> list[str]:
    """The fenced blocks of a section in that language; "" for those that name none."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", sections()[section], re.MULTILINE | re.DOTALL)
    return [text for named, text in fenced if named == language]


def commands(section: str) -> list[str]:
    """What is to be typed there, line by line."""
    lines = (line for block in blocks(section) for line in block.splitlines())
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def proofs() -> Iterator[str]:
    """The commands in the last column of the table of promises."""
    for row in re.findall(r"^\|.*\|$", sections(PROMISES)["What it promises, and how you can check"], re.MULTILINE):
        cell = re.split(r" \| ", row)[-1]
        yield from (text for text in re.findall(r"`([^`]+)`", cell) if re.match(r"\w+=\S+ |\w+ ", text))
