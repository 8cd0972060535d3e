"""
A router's decision: the rules that need no model, and what a model's answer means.

First true rule wins, those of higher `priority` first; one that raises is skipped and told. Then the model is asked,
if there is one; then `fallback` is taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from executor_worker.graph.conditions import Condition, ConditionError
from executor_worker.graph.problems import Location, cut

Mode = Literal["deterministic", "llm", "hybrid"]
Way = Literal["fast", "slow", "fallback"]

ALWAYS = "true"


@dataclass(frozen=True, slots=True)
class Rule:
    """
    Attributes:
        number: Counted from 0 in the document; what messages call it.
        location: Where it stands in the config.
    """

    condition: str
    target: str
    priority: float = 0
    number: int = 0
    location: Location = field(default=None, compare=False)

    @property
    def always(self) -> bool:
        """Tell whether nothing behind it is ever asked."""
        return self.condition.strip() == ALWAYS


@dataclass(frozen=True, slots=True)
class Model:
    """
    The question to a router's model, and what its answers mean.

    Attributes:
        routes: Label → node.
        settings: The rest of what CONTRACT's `llm_config` may hold.
    """

    prompt: str
    routes: dict[str, str]
    settings: dict[str, Any] = field(default_factory=dict)
    location: Location = field(default=None, compare=False)

    def label_of(self, answer: str) -> str | None:
        """Answer the label that *answer* means, None if it means none or several."""
        said = answer.strip().casefold()
        for label in self.routes:
            if label.strip().casefold() == said:
                return label
        found = _standing_in(said, self.routes)
        return found[0] if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class Routing:
    """
    A router's config.

    Attributes:
        rules: In the order they are asked.
        targets: All nodes it may choose, in the document's order.
    """

    mode: Mode
    rules: tuple[Rule, ...] = ()
    model: Model | None = None
    fallback: str | None = None
    fallback_location: Location = field(default=None, compare=False)

    @property
    def targets(self) -> tuple[str, ...]:
        """Answer all nodes it may choose."""
        by_model = self.model.routes.values() if self.model else ()
        last = () if self.fallback is None else (self.fallback,)
        return tuple(dict.fromkeys([*(rule.target for rule in self.rules), *by_model, *last]))

    @property
    def needs_worker(self) -> bool:
        """Tell whether a model may have to be asked."""
        return self.model is not None


@dataclass(frozen=True, slots=True)
class RuleError:
    """A rule that raised when it was asked: told as the event `edge.error`."""

    rule: Rule
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision of a router: the node it goes to, and why."""

    target: str
    mode: Mode
    path: Way
    reasoning: str
    errors: tuple[RuleError, ...] = ()

    def output(self, usage: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Answer the router's output."""
        said = {"target": self.target, "mode": self.mode, "path": self.path, "reasoning": self.reasoning}
        return said if usage is None else {**said, "usage": usage}


@dataclass(frozen=True, slots=True)
class NeedsModel:
    """No rule was true: its model has to be asked."""

    model: Model
    errors: tuple[RuleError, ...] = ()


@dataclass(frozen=True, slots=True)
class NoRoute:
    """Nothing matched and there is no fallback: the node fails with `no_route`."""

    reason: str
    errors: tuple[RuleError, ...] = ()


def decide(routing: Routing, scope: Mapping[str, Any]) -> Decision | NeedsModel | NoRoute:
    """Ask the rules, over the scope that a condition sees; a model is for a worker to ask."""
    errors = []
    for rule in routing.rules:
        try:
            holds = Condition.compile(rule.condition).holds(scope)
        except ConditionError as error:
            errors.append(RuleError(rule, str(error)))
            continue
        if holds:
            kind = "fast rule" if routing.mode == "hybrid" else "rule"
            reasoning = f"matched {kind} {rule.number}: {rule.condition}"
            return Decision(rule.target, routing.mode, "fast", reasoning, tuple(errors))
    if routing.model is not None:
        return NeedsModel(routing.model, tuple(errors))
    return _fallback(routing, "no rules matched", tuple(errors))


def answered(routing: Routing, answer: str, errors: tuple[RuleError, ...] = ()) -> Decision | NoRoute:
    """Say where a model's *answer* leads."""
    label = routing.model.label_of(answer) if routing.model else None
    if routing.model is None or label is None:
        return _fallback(routing, f"llm response '{cut(answer, 200)}' did not match any route", errors)
    after = " (after fast rules failed)" if routing.mode == "hybrid" else ""
    reasoning = f"llm classified as: {cut(answer, 200)}{after}"
    return Decision(routing.model.routes[label], routing.mode, "slow", reasoning, errors)


def unanswered(routing: Routing, cause: str, errors: tuple[RuleError, ...] = ()) -> Decision | NoRoute:
    """Say where to go without an answer: no model is there, its prompt can't be made, its call failed."""
    return _fallback(routing, cause, errors)


def _fallback(routing: Routing, reason: str, errors: tuple[RuleError, ...]) -> Decision | NoRoute:
    if routing.fallback is None:
        return NoRoute(reason, errors)
    return Decision(routing.fallback, routing.mode, "fallback", reason, errors)


def _standing_in(said: str, labels: Mapping[str, str]) -> list[str]:
    """Find the labels that stand in *said* as whole words, without those inside a longer one that does."""
    spans: list[tuple[int, int, str]] = []
    for label in labels:
        words = label.strip().casefold()
        if words:
            pattern = rf"(?<!\w){re.escape(words)}(?!\w)"
            spans += [(match.start(), match.end(), label) for match in re.finditer(pattern, said)]
    whole = [
        one
        for one in spans
        if not any(two[0] <= one[0] and one[1] <= two[1] and two[1] - two[0] > one[1] - one[0] for two in spans)
    ]
    return list(dict.fromkeys(label for _, _, label in whole))
