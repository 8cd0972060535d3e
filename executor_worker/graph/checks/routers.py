"""Routers: targets that exist, and parts of them that can never be chosen."""

from __future__ import annotations

from executor_worker.errors import TemplateError
from executor_worker.graph import prompts
from executor_worker.graph.checks.structure import unknown_node
from executor_worker.graph.checks.subject import Subject
from executor_worker.graph.problems import Location, named
from executor_worker.graph.reading import LocatedNode, targets_of
from executor_worker.graph.router import Routing


def check(subject: Subject) -> None:
    """Check all routers."""
    for node, located in subject.nodes.items():
        if located.routing is not None:
            _check_targets(subject, node, located)
            _check_prompt(subject, located.routing)
            _warn_of_unreachable(subject, located.routing)
            _warn_of_strangers(subject, node, located.routing)
            _warn_of_dead_ends(subject, node, located)


def _check_targets(subject: Subject, node: str, located: LocatedNode) -> None:
    for target, location in targets_of(located):
        if target == node:
            subject.errors.add(location, "self_loop", f"{named(node)} routes to itself", "Name another node.")
        elif target not in subject.nodes:
            unknown_node(subject, target, location)


def _check_prompt(subject: Subject, routing: Routing) -> None:
    if routing.model is None:
        return
    try:
        prompts.parsed(routing.model.prompt)
    except TemplateError as error:
        location: Location = (routing.model.location, "prompt_template")
        message = str(error).removeprefix("prompt_template: ")
        subject.errors.add(location, "invalid_template", message, "Correct the template (docs/GRAPHS.md, Prompts).")


def _warn_of_unreachable(subject: Subject, routing: Routing) -> None:
    """Warn of what stands behind a rule that is always true."""
    always = next((index for index, rule in enumerate(routing.rules) if rule.always), None)
    if always is None:
        return
    cause = f"rule {routing.rules[always].number} is always true"
    for rule in routing.rules[always + 1 :]:
        message = f"is never asked: {cause}"
        subject.warnings.add(rule.location, "unreachable_rule", message, "Put it before, or give it a higher priority.")
    if routing.model is not None:
        message = f"the model is never asked: {cause}"
        subject.warnings.add(routing.model.location, "unreachable_model", message, "Leave the model or the rule out.")
    if routing.fallback is not None:
        message = f"is never taken: {cause}"
        subject.warnings.add(routing.fallback_location, "unreachable_default", message, "Leave it or the rule out.")


def _warn_of_strangers(subject: Subject, node: str, routing: Routing) -> None:
    targets = set(routing.targets)
    for one in subject.outgoing.get(node, ()):
        if one.edge.target not in targets and one.edge.on != "failure":
            message = f"is never taken when {named(node)} completes: its router does not choose it"
            fix = "Make it a target of the router, or let another node lead there."
            subject.warnings.add(one.location, "never_chosen", message, fix)


def _warn_of_dead_ends(subject: Subject, node: str, located: LocatedNode) -> None:
    """Warn of a target that is chosen in vain: only a failure of the router leads there."""
    follows: dict[str, bool] = {}
    for one in subject.outgoing.get(node, ()):
        follows[one.edge.target] = follows.get(one.edge.target, False) or one.edge.on != "failure"
    for target, location in targets_of(located):
        if not follows.get(target, True):
            message = f"{named(target)} does not run when it is chosen: the edge to it is for failure only"
            fix = 'Add an edge to it without "on", or let the one there is follow with "on": "always".'
            subject.warnings.add(location, "chosen_in_vain", message, fix)
