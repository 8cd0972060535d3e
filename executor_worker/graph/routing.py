"""
Routing: a router's config in any spelling, the rules that need no model, and what a model's answer means.

First true rule wins, those of higher `priority` first; one that raises is skipped and told. Then the model is asked,
if there is one; then `fallback` is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from executor_worker.graph.conditions import Condition, ConditionError
from executor_worker.graph.problems import Place, Problems, cut, shown

Mode = Literal["deterministic", "llm", "hybrid"]
Way = Literal["fast", "slow", "fallback"]

MODES: tuple[Mode, ...] = ("deterministic", "llm", "hybrid")
MODEL_FIELDS = ("model", "system", "system_prompt", "temperature", "max_tokens", "fallbacks")
"""Of CONTRACT's `llm_config`, what a router may say beside its prompt and routes."""

FIELDS = (
    *("mode", "rules", "fast_rules", "llm_config", "llm_fallback", "fallback", "routes", "default_route"),
    *("prompt_template", "condition_type", *MODEL_FIELDS),
)
"""All that a router's config may hold, or that may stand on its node."""

ALWAYS = "true"


@dataclass(frozen=True, slots=True)
class Rule:
    """
    Attributes:
        number: Its place in the document, from 0; what messages call it.
        place: Where it stands in the config.
    """

    condition: str
    target: str
    priority: float = 0
    number: int = 0
    place: Place = field(default=None, compare=False)

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
    place: Place = field(default=None, compare=False)

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
    fallback_place: Place = field(default=None, compare=False)

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


def read(config: Mapping[str, Any], place: Place, problems: Problems) -> Routing:
    """Read a router's config; what is wrong with it is added, and left out of what is answered."""
    rules = tuple(sorted(_rules(config, place, problems), key=lambda rule: -rule.priority))
    model = _model(config, place, problems)
    fallback, fallback_place = _fallback_of(config, place, problems)
    mode = _mode(config, rules, model, place, problems)
    if mode == "llm":
        rules = ()
    if mode == "deterministic":
        model = None
    if not rules and model is None and fallback is None and mode != "llm":
        fix = 'Add "rules", "routes", or "llm_config" with a prompt and routes.'
        problems.add(place, "router_without_targets", "the router has nowhere to go", fix)
    return Routing(mode, rules, model, fallback, fallback_place)


def _mode(
    config: Mapping[str, Any], rules: tuple[Rule, ...], model: Model | None, place: Place, problems: Problems
) -> Mode:
    said = config.get("mode")
    natural: Mode = "hybrid" if rules and model else "llm" if model else "deterministic"
    if said is None or said == "":
        return natural
    if said not in MODES:
        message = f"the mode must be one of {', '.join(MODES)}; found {shown(said)}"
        problems.add((place, "mode"), "unknown_value", message, f"Write {problems.suggest(said, MODES) or natural}.")
        return natural
    if said in ("llm", "hybrid") and model is None and not _tries_model(config):
        fix = 'Add "prompt_template" and "routes", an object of answer and node.'
        problems.add((place, "mode"), "missing", f"mode {said} needs a prompt and routes", fix)
    if said in ("deterministic", "hybrid") and not rules and not _list(config, "rules", "fast_rules", "routes"):
        problems.add((place, "mode"), "missing", f"mode {said} needs rules", 'Add "rules" of condition and target.')
    mode: Mode = said
    return mode


def _tries_model(config: Mapping[str, Any]) -> bool:
    return any(config.get(name) is not None for name in ("llm_config", "llm_fallback", "prompt_template"))


def _list(config: Mapping[str, Any], *names: str) -> bool:
    return any(isinstance(config.get(name), list) and config[name] for name in names)


def _rules(config: Mapping[str, Any], place: Place, problems: Problems) -> Iterator[Rule]:
    number = 0
    for name in ("rules", "fast_rules", "routes"):
        given = config.get(name)
        if given is None or (name == "routes" and isinstance(given, dict)):
            continue
        if not isinstance(given, list):
            kind = "a list of rules, or an object of answer and node" if name == "routes" else "a list of rules"
            problems.add((place, name), "wrong_type", f"must be {kind}, found {shown(given)}", f"Write {kind}.")
            continue
        for index, one in enumerate(given):
            rule = _rule(one, number, name == "routes", ((place, name), index), problems)
            if rule is not None:
                yield rule
            number += 1


def _rule(given: Any, number: int, may_lack: bool, place: Place, problems: Problems) -> Rule | None:
    if not isinstance(given, dict):
        problems.add(place, "wrong_type", f"a rule must be an object, found {shown(given)}", "Write it as { … }.")
        return None
    condition, target, priority = given.get("condition"), given.get("target"), given.get("priority")
    if not isinstance(target, str) or not target:
        problems.add((place, "target"), "missing", f"a rule needs a target, found {shown(target)}", "Name a node.")
    if condition in (None, "") and may_lack:
        condition = ALWAYS
    elif not isinstance(condition, str) or not condition.strip():
        message = f"a rule needs a condition, found {shown(condition)}"
        problems.add((place, "condition"), "missing", message, 'Write one in CEL; "true" is always true.')
    if priority is not None and (isinstance(priority, bool) or not isinstance(priority, (int, float))):
        problems.add((place, "priority"), "wrong_type", f"must be a number, found {shown(priority)}", "Write a number.")
        priority = None
    if not (isinstance(target, str) and target and isinstance(condition, str) and condition.strip()):
        return None
    return Rule(condition, target, priority or 0, number, place)


def _model(config: Mapping[str, Any], place: Place, problems: Problems) -> Model | None:
    """Read `llm_config`, `llm_fallback`, or the same fields beside `mode`."""
    for name in ("llm_config", "llm_fallback"):
        within = config.get(name)
        if isinstance(within, dict):
            return _model_of({**_settings(config), **within}, (place, name), problems)
        if within is not None:
            problems.add((place, name), "wrong_type", f"must be an object, found {shown(within)}", "Write it as { … }.")
    if config.get("prompt_template") is not None or isinstance(config.get("routes"), dict):
        return _model_of(config, place, problems)
    return None


def _model_of(given: Mapping[str, Any], place: Place, problems: Problems) -> Model | None:
    prompt, routes = given.get("prompt_template", given.get("prompt")), given.get("routes")
    if not isinstance(prompt, str) or not prompt.strip():
        message = f"a model needs a prompt_template, found {shown(prompt)}"
        problems.add((place, "prompt_template"), "missing", message, "Write what the model is asked.")
    labels = _labels(routes, (place, "routes"), problems)
    if not isinstance(prompt, str) or not prompt.strip() or not labels:
        return None
    return Model(prompt, labels, _settings(given), place)


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in MODEL_FIELDS if given.get(name) is not None}


def _labels(routes: Any, place: Place, problems: Problems) -> dict[str, str]:
    if not isinstance(routes, dict) or not routes:
        message = f"a model needs routes, an object of answer and node; found {shown(routes)}"
        problems.add(place, "missing", message, 'Write { "answer": "node" }.')
        return {}
    labels: dict[str, str] = {}
    seen: set[str] = set()
    for label, target in routes.items():
        said = label.strip().casefold()
        if not said or said in seen:
            message = "an answer may not be empty" if not said else f"{shown(label)} stands there twice but for case"
            problems.add((place, label), "bad_label", message, "Give each answer a text of its own.")
        elif not isinstance(target, str) or not target:
            problems.add((place, label), "wrong_type", f"must be a node's id, found {shown(target)}", "Name a node.")
        else:
            labels[label] = target
        seen.add(said)
    return labels


def _fallback_of(config: Mapping[str, Any], place: Place, problems: Problems) -> tuple[str | None, Place]:
    for name in ("fallback", "default_route"):
        given = config.get(name)
        if isinstance(given, str) and given:
            return given, (place, name)
        if given not in (None, ""):
            problems.add((place, name), "wrong_type", f"must be a node's id, found {shown(given)}", "Name a node.")
    return None, None
