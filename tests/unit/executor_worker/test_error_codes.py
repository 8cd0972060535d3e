"""Error codes: the page that explains them has each, and says of each what the program does."""

from __future__ import annotations

import re

import pytest

from executor_worker import errors
from executor_worker.envelopes.events import failed_event
from executor_worker.graph.parts import Retry
from executor_worker.json_text import loads
from tests.kit.paths import ROOT

CODES = sorted(
    {kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.NodeError)}
)


def documented() -> dict[str, bool]:
    """Code → whether it is retriable, as docs/MODES.md has it."""
    rows = re.findall(
        r"^\| ((?:`\w+`(?:, )?)+) \| (yes|no) \|", (ROOT / "docs/MODES.md").read_text("utf-8"), re.MULTILINE
    )
    return {code: word == "yes" for codes, word in rows for code in re.findall(r"\w+", codes)}


def test_each_code_is_documented_once() -> None:
    """None is missing, none is there that nothing fails with; a `retry` may name each."""
    assert sorted(documented()) == CODES == sorted(errors.ERROR_CODES)


@pytest.mark.parametrize("code", CODES)
def test_retriable_is_what_a_retry_without_on_repeats(code: str) -> None:
    """The page, the event, and the policy of runs."""
    told = loads(failed_event("g", "e", "n", "it failed", code, {}, 0.0))["data"]["retriable"]
    assert told is documented()[code] is Retry(max_attempts=2).repeats(code, 1) is (code not in errors.NOT_RETRIABLE)
