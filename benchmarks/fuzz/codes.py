"""The contract's error codes, written out: what an answer may say."""

from __future__ import annotations

from executor_worker.outcome import Completed, Outcome

CODES = frozenset(
    (
        *("invalid_item", "invalid_node", "template_error", "state_missing", "state_invalid", "cancelled"),
        *("unknown_tool", "tool_failed", "tool_timeout", "tool_unavailable", "tool_uncertain"),
        *("llm_refused", "llm_rate_limited", "llm_unavailable", "llm_timeout", "llm_rejected", "llm_bad_response"),
        *("max_iterations", "budget_exceeded", "node_timeout", "poisoned", "internal"),
    )
)


def ending(outcome: Outcome) -> str:
    """Check an outcome and say which it is: `internal` would be an exception that nobody has thought of."""
    if isinstance(outcome, Completed):
        return "completed"
    assert outcome.code in CODES, outcome
    assert outcome.code != "internal", outcome
    assert outcome.error, outcome
    return outcome.code
