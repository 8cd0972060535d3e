"""What is made of pip-audit's reports: no answer is never taken for a good one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.system.audit.run import FOUND, SOUND, UNKNOWN, conclude, judge, main

FLAW = {"id": "PYSEC-2026-1", "fix_versions": ["2.9.1"], "aliases": ["CVE-2026-1"], "description": "long"}
GOOD: dict[str, Any] = {"name": "rich", "version": "15.0.0", "vulns": []}
BAD: dict[str, Any] = {"name": "urllib3", "version": "2.8.0", "vulns": [FLAW]}
UNSEEN: dict[str, Any] = {"name": "mcp", "skip_reason": "not found on PyPI"}


def report(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


@pytest.mark.parametrize(
    ("said", "status", "text"),
    [
        (report(GOOD, GOOD), SOUND, "1 packages looked up, no vulnerability is known"),
        (report(GOOD, BAD, BAD), FOUND, "urllib3 2.8.0: PYSEC-2026-1 CVE-2026-1, mended in 2.9.1"),
        (report(GOOD, UNSEEN), UNKNOWN, "1 of 2 packages could not be looked up (not found on PyPI)"),
        (report(BAD, UNSEEN), FOUND, "mended in 2.9.1\n1 of 2 packages could not be looked up (not found on PyPI)"),
        (report(), UNKNOWN, "there was nothing to look up"),
        ("", UNKNOWN, "requests.exceptions.ConnectionError: no route"),
        ("<html>", UNKNOWN, "requests.exceptions.ConnectionError: no route"),
    ],
)
def test_verdicts(said: str, status: int, text: str) -> None:
    """A finding goes first; what was not looked up is not called sound, whatever pip-audit says of the rest."""
    verdict = judge(said, "Traceback …\nrequests.exceptions.ConnectionError: no route\n")
    assert (verdict.status, verdict.text.endswith(text)) == (status, True), verdict


def test_audit_that_could_not_be_done_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """It fails who must have one; who can do without is told that there was none."""
    verdict = judge("", "no route")
    assert (conclude(verdict, must=True), conclude(verdict, must=False)) == (UNKNOWN, SOUND)
    assert conclude(judge(report(BAD), ""), must=False) == FOUND
    said = capsys.readouterr()
    assert said.err.count("audit: NOT DONE") == 2 and said.out.startswith("audit: urllib3")


def test_no_audit_is_a_failure_where_all_has_to_be_real(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make check` goes on without one, unless REQUIRE_REAL=1; `make audit` never does."""
    monkeypatch.setattr("tests.system.audit.run.install", lambda: "/nowhere")
    monkeypatch.setattr("tests.system.audit.run.ask", lambda *_: judge("", "no route"))
    monkeypatch.delenv("REQUIRE_REAL", raising=False)
    assert (main(["--where-possible"]), main([])) == (SOUND, UNKNOWN)
    monkeypatch.setenv("REQUIRE_REAL", "1")
    assert main(["--where-possible"]) == UNKNOWN
