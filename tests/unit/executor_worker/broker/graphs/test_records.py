"""Records of a run as Redis stores them."""

from __future__ import annotations

from typing import Any

import pytest

from executor_worker.broker.graphs.records import completed_mirror, mirrored
from executor_worker.json_text import dumps


@pytest.mark.parametrize("told", [{}, {"mode": "tool", "usage": {"input_tokens": 1}}])
@pytest.mark.parametrize("output", [None, "ä\n", {"a": [1, "%b"]}])
def test_a_completion_is_written_around_its_output_as_any_other_event(output: Any, told: dict[str, Any]) -> None:
    before, after = completed_mirror("g", 'n"1', told)
    assert before + dumps(output) + after == mirrored("node.completed", "g", 'n"1', {"output": output, **told})
