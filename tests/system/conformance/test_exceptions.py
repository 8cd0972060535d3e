"""The exceptions from the conformance suite are documented as they are; the suite itself runs by `make conformance`."""

from __future__ import annotations

import re

from tests.kit.paths import ROOT
from tests.system.conformance.scenarios import EXCEPTIONS, exception_of

DOCUMENT = ROOT / "docs" / "CONFORMANCE.md"


def test_every_exception_is_documented_with_its_reason() -> None:
    """In the words that a run shows, and no other is."""
    rows = re.findall(r"^\| `([^`]+)`[^|]*\| (.+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert dict(rows) == EXCEPTIONS


def test_what_must_pass_is_no_exception() -> None:
    """The document's list of the others holds none that is excused."""
    must = DOCUMENT.read_text().partition("What must pass:")[2].partition("What need not")[0]
    names = re.findall(r"`([^`]+)`", must)
    assert len(names) > 5
    assert not [name for name in names if exception_of(name)]
