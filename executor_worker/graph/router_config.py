"""A router's config in any spelling, read into a `Routing`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from executor_worker.graph.problems import Location, Problems, cut, shown
from executor_worker.graph.router import ALWAYS, Mode, Model, Routing, Rule

MODES: tuple[Mode, ...] = ("deterministic", "llm", "hybrid")
MODEL_FIELDS = ("model", "system", "system_prompt", "temperature", "max_tokens", "fallbacks")
"""Of CONTRACT's `llm_config`, what a router may say beside its prompt and routes."""

FIELDS = (
    *("mode", "rules", "fast_rules", "llm_config", "llm_fallback", "fallback", "routes", "default_route"),
    *("prompt_template", "condition_type", *MODEL_FIELDS),
)
"""All that a router's config may hold, or that may stand on its node."""


def read(config: Mapping[str, Any], location: Location, problems: Problems) -> Routing:
    """Read a router's config; what is wrong with it is added, and left out of what is answered."""
    rules = tuple(sorted(_rules(config, location, problems), key=lambda rule: -rule.priority))
    model = _model(config, location, problems)
    fallback, fallback_location = _fallback_of(config, location, problems)
    mode = _mode(config, rules, model, location, problems)
    if mode == "llm":
        rules = ()
    if mode == "deterministic":
        model = None
    if not rules and model is None and fallback is None and mode != "llm":
        fix = 'Add "rules", "routes", or "llm_config" with a prompt and routes.'
        problems.add(location, "router_without_targets", "the router has nowhere to go", fix)
    return Routing(mode, rules, model, fallback, fallback_location)


def _mode(
    config: Mapping[str, Any], rules: tuple[Rule, ...], model: Model | None, location: Location, problems: Problems
) -> Mode:
    said = config.get("mode")
    natural: Mode = "hybrid" if rules and model else "llm" if model else "deterministic"
    if said is None or said == "":
        return natural
    if said not in MODES:
        found = cut(said) if isinstance(said, str) else shown(said)
        message = f"unknown routing mode: {found}; there are: {', '.join(MODES)}"
        problems.add((location, "mode"), "unknown_value", message, f"Write {problems.suggest(said, MODES) or natural}.")
        return natural
    if said in ("llm", "hybrid") and model is None and not _tries_model(config):
        needed = "llm_config" if said == "llm" else "llm_fallback"
        fix = 'Add it, or "prompt_template" and "routes", an object of answer and node, beside the mode.'
        problems.add((location, "mode"), "missing", f"{said} mode requires {needed}", fix)
    if said in ("deterministic", "hybrid") and not rules and not _list(config, "rules", "fast_rules", "routes"):
        needed = "rules" if said == "deterministic" else "fast_rules"
        fix = f'Add "{needed}" of condition and target.'
        problems.add((location, "mode"), "missing", f"{said} mode requires {needed}", fix)
    mode: Mode = said
    return mode


def _tries_model(config: Mapping[str, Any]) -> bool:
    return any(config.get(name) is not None for name in ("llm_config", "llm_fallback", "prompt_template"))


def _list(config: Mapping[str, Any], *names: str) -> bool:
    return any(isinstance(config.get(name), list) and config[name] for name in names)


def _rules(config: Mapping[str, Any], location: Location, problems: Problems) -> Iterator[Rule]:
    number = 0
    for name in ("rules", "fast_rules", "routes"):
        given = config.get(name)
        if given is None or (name == "routes" and isinstance(given, dict)):
            continue
        if not isinstance(given, list):
            kind = "a list of rules, or an object of answer and node" if name == "routes" else "a list of rules"
            problems.add((location, name), "wrong_type", f"must be {kind}, found {shown(given)}", f"Write {kind}.")
            continue
        for index, one in enumerate(given):
            rule = _rule(one, number, name == "routes", ((location, name), index), problems)
            if rule is not None:
                yield rule
            number += 1


def _rule(given: Any, number: int, may_lack: bool, location: Location, problems: Problems) -> Rule | None:
    if not isinstance(given, dict):
        problems.add(location, "wrong_type", f"a rule must be an object, found {shown(given)}", "Write it as { … }.")
        return None
    condition, target, priority = given.get("condition"), given.get("target"), given.get("priority")
    if not isinstance(target, str) or not target:
        problems.add((location, "target"), "missing", f"a rule needs a target, found {shown(target)}", "Name a node.")
    if condition in (None, "") and may_lack:
        condition = ALWAYS
    elif not isinstance(condition, str) or not condition.strip():
        message = f"a rule needs a condition, found {shown(condition)}"
        problems.add((location, "condition"), "missing", message, 'Write one in CEL; "true" is always true.')
    if priority is not None and (isinstance(priority, bool) or not isinstance(priority, (int, float))):
        problems.add(
            (location, "priority"), "wrong_type", f"must be a number, found {shown(priority)}", "Write a number."
        )
        priority = None
    if not (isinstance(target, str) and target and isinstance(condition, str) and condition.strip()):
        return None
    return Rule(condition, target, priority or 0, number, location)


def _model(config: Mapping[str, Any], location: Location, problems: Problems) -> Model | None:
    """Read `llm_config`, `llm_fallback`, or the same fields beside `mode`."""
    for name in ("llm_config", "llm_fallback"):
        within = config.get(name)
        if isinstance(within, dict):
            return _model_of({**_settings(config), **within}, (location, name), problems)
        if within is not None:
            problems.add(
                (location, name), "wrong_type", f"must be an object, found {shown(within)}", "Write it as { … }."
            )
    if config.get("prompt_template") is not None or isinstance(config.get("routes"), dict):
        return _model_of(config, location, problems)
    return None


def _model_of(given: Mapping[str, Any], location: Location, problems: Problems) -> Model | None:
    prompt, routes = given.get("prompt_template", given.get("prompt")), given.get("routes")
    if not isinstance(prompt, str) or not prompt.strip():
        message = f"a model needs a prompt_template, found {shown(prompt)}"
        problems.add((location, "prompt_template"), "missing", message, "Write what the model is asked.")
    labels = _labels(routes, (location, "routes"), problems)
    if not isinstance(prompt, str) or not prompt.strip() or not labels:
        return None
    return Model(prompt, labels, _settings(given), location)


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in MODEL_FIELDS if given.get(name) is not None}


def _labels(routes: Any, location: Location, problems: Problems) -> dict[str, str]:
    if not isinstance(routes, dict) or not routes:
        message = f"a model needs routes, an object of answer and node; found {shown(routes)}"
        problems.add(location, "missing", message, 'Write { "answer": "node" }.')
        return {}
    labels: dict[str, str] = {}
    seen: set[str] = set()
    for label, target in routes.items():
        said = label.strip().casefold()
        if not said or said in seen:
            message = "an answer may not be empty" if not said else f"{shown(label)} stands there twice but for case"
            problems.add((location, label), "bad_label", message, "Give each answer a text of its own.")
        elif not isinstance(target, str) or not target:
            problems.add((location, label), "wrong_type", f"must be a node's id, found {shown(target)}", "Name a node.")
        else:
            labels[label] = target
        seen.add(said)
    return labels


def _fallback_of(config: Mapping[str, Any], location: Location, problems: Problems) -> tuple[str | None, Location]:
    for name in ("fallback", "default_route"):
        given = config.get(name)
        if isinstance(given, str) and given:
            return given, (location, name)
        if given not in (None, ""):
            problems.add((location, name), "wrong_type", f"must be a node's id, found {shown(given)}", "Name a node.")
    return None, None
