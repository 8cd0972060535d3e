"""The budget of an agent's context: how much of a conversation a model is shown."""

from __future__ import annotations

from dataclasses import dataclass, replace

_WINDOW_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class ContextBudget:
    """
    The budget of what a model is shown.

    Attributes:
        result_chars: Of one tool result.
        context_tokens: Of a prompt; beyond it old results are cleared.
    """

    result_chars: int = 40_000
    context_tokens: int = 150_000

    def within(self, window_tokens: int | None) -> ContextBudget:
        """Leave some of a model's window free, if it is known."""
        if window_tokens is None:
            return self
        return replace(self, context_tokens=min(self.context_tokens, int(window_tokens * _WINDOW_SHARE)))
