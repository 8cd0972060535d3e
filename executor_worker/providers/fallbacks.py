"""
Fallback models: those that are tried for a call, in which order, and when the next one is.

A conversation consists of its provider's own blocks: once a model has answered in it, only models of that provider
can go on with it, first of all the one that answered last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from executor_worker.errors import ModelError, ModelNotFound, ModelRateLimited, ModelTimeout, ModelUnavailable
from executor_worker.providers.base import Choice, Fallback, ModelRequest, ModelTurn

ELSEWHERE = (ModelRateLimited, ModelUnavailable, ModelTimeout, ModelNotFound)
"""What another model may do better at; a refusal or a bad request it would only repeat."""


@dataclass(frozen=True, slots=True)
class Miss:
    """A model that did not answer, why, and how long that took."""

    choice: Choice
    error: ModelError
    seconds: float = 0.0


def choices(request: ModelRequest, configured: str) -> list[Choice]:
    """
    List what can be asked, the first to be asked first.

    Args:
        configured: The provider of models that name none.
    """
    named = [Choice(request.model), *request.fallbacks]
    listed = list(dict.fromkeys(Choice(one.model, one.provider or configured) for one in named))
    if configured == "replay":  # a recording has the answers of them all
        return listed[:1]
    last = next((turn for turn in reversed(request.turns) if isinstance(turn, ModelTurn)), None)
    if last is None:
        return listed
    by = _answered(last, listed[0])
    same = [one for one in listed if one.provider == by.provider] or [by]
    at = same.index(by) if by in same else 0
    return same[at:] + same[:at]


def spoken(choice: Choice, turn: ModelTurn, first: Choice) -> ModelTurn:
    """Mark *turn* with who spoke, unless it was the first choice."""
    return turn if choice == first else ModelTurn(turn.raw, str(choice))


def fallback(choice: Choice, first: Choice, missed: Sequence[Miss]) -> Fallback | None:
    """Say that another than the first choice answered; without a reason where that one was not asked any more."""
    if choice == first:
        return None
    cause = next((miss.error for miss in missed if miss.choice == first), None)
    code, said = (cause.code, str(cause)) if cause is not None else ("", "")
    return Fallback(choice.model, choice.provider, str(first), code, said)


def unanswered(missed: Sequence[Miss]) -> ModelError:
    """Make one error of all: the first one's, with what came of the others."""
    first, *others = missed
    if not others:
        return first.error
    more = "; ".join(f"fallback {miss.choice}: {miss.error}" for miss in others)
    error = type(first.error)(f"{first.error}; {more}", retry_after=first.error.retry_after)
    error.retryable = first.error.retryable
    return error


def _answered(turn: ModelTurn, first: Choice) -> Choice:
    provider, _, model = turn.by.partition("/")
    return Choice(model, provider) if model else first
