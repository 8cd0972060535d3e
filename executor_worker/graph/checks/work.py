"""Check of nodes' work: types that can run, and configs by the rules of the workers that run them."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

from executor_worker.envelopes.queue_name import WANTED, is_queue_name
from executor_worker.errors import ERROR_CODES, NodeError
from executor_worker.graph import parts
from executor_worker.graph.checks.subject import ConfigRules, Subject
from executor_worker.graph.problems import Location, shown
from executor_worker.graph.reading import LocatedNode

_EXECUTOR_TYPES = ("llm", "tool", "http", "custom", "agent", "executor")
_REFUSED = ("python", "bash")
_MOST_OF_ONE_NODE = 12

_FIELD = re.compile(r"\A((?:[A-Za-z_]\w*|\[\d+\])(?:\.[A-Za-z_]\w*|\[\d+\])*)[ :]")
_PART = re.compile(r"[A-Za-z_]\w*|\d+")


def check_types(subject: Subject) -> None:
    """Check that each type can be run here."""
    for located in subject.nodes.values():
        kind, executor = located.node.type, located.node.executor_type
        if kind in parts.LATER_TYPES:
            message = f"nodes of type {kind} can't be run yet"
            subject.errors.add((located.location, "type"), "not_yet_supported", message, "Build it of other nodes.")
        if executor in _REFUSED:
            message = f"executor_type {executor} is not run: a graph brings no code"
            fix = "Register a tool (TOOL_MODULES) that does it, and name it by tool_name."
            subject.errors.add((located.location, "executor_type"), "executor_type_refused", message, fix)
        elif executor is not None and executor not in _EXECUTOR_TYPES:
            message = f"{shown(executor)} is no executor_type; it is not looked at"
            fix = f"Write one of {', '.join(_EXECUTOR_TYPES)}, or leave it out."
            subject.warnings.add((located.location, "executor_type"), "unknown_value", message, fix)


def check_retries(subject: Subject) -> None:
    """Check that a `retry` names errors that there are: of others it would never be one."""
    for located in subject.nodes.values():
        codes = located.node.retry.on if located.node.retry is not None else None
        for code in sorted(codes - ERROR_CODES) if codes else ():
            near = subject.errors.suggest(code, sorted(ERROR_CODES))
            fix = f'Write "{near}".' if near else f"Write one of {', '.join(sorted(ERROR_CODES))}."
            message = f"no node fails with {shown(code)}"
            subject.errors.add(_code_location(located, code), "unknown_error_code", message, fix)


def _code_location(located: LocatedNode, code: str) -> Location:
    own = located.given.get("retry")
    if isinstance(own, dict) and own:
        return (((located.location, "retry"), "on"), own["on"].index(code))
    on: Location = (((located.location, "config"), "retry"), "on")
    return (on, located.given["config"]["retry"]["on"].index(code))


def check_queues(subject: Subject) -> None:
    """Check that each node that works names a queue that there can be."""
    for located in subject.nodes.values():
        queue = located.node.config.get("queue")
        if located.node.works and queue is not None and not is_queue_name(queue):
            message = f"queue {shown(queue)} can't be one"
            subject.errors.add(located.location_of("queue"), "invalid_queue", message, f"Write {WANTED}.")


def check_configs(subject: Subject, rules: ConfigRules | None) -> None:
    """Check each worker's config by *rules*."""
    if rules is None:
        return
    for located in subject.nodes.values():
        if located.node.works and located.node.executor_type not in _REFUSED:
            whole = (located.location, located.location_of())  # where errors of quite another kind are told too
            for message, location in _problems(located, rules):
                if location in whole or not subject.errors.has_at(location):
                    subject.errors.add(location, "invalid_node", message, _fix(message))
        if subject.errors.full:
            return


def _problems(located: LocatedNode, rules: ConfigRules) -> Iterator[tuple[str, Location]]:
    """Ask the rules again without the field they refuse, until they are content or can't say which field it is."""
    config, copied = located.node.config, False  # what is missing without a refused field was not missing before
    for _ in range(_MOST_OF_ONE_NODE):
        try:
            rules(config)
        except NodeError as error:
            path = _path(str(error))
            if copied and "required" in str(error):
                return
            yield str(error), _location(located, path)
            if not copied:
                config, copied = copy.deepcopy(config), True
            if not _without(config, path):
                return
        else:
            return


def _path(message: str) -> tuple[str | int, ...]:
    """Take the field out of a message like `llm_config.prompt must be a text`."""
    named = _FIELD.match(message)
    return tuple(int(part) if part.isdigit() else part for part in _PART.findall(named[1])) if named else ()


def _location(located: LocatedNode, path: tuple[str | int, ...]) -> Location:
    """Answer the deepest location of *path* that there is in the document."""
    if not path or path[0] not in located.node.config:
        return located.location_of()
    location = located.location_of(str(path[0]))
    value: Any = located.node.config[str(path[0])]
    for part in path[1:]:
        within = (isinstance(value, dict) and part in value) or (
            isinstance(value, list) and isinstance(part, int) and part < len(value)
        )
        if not within:
            break
        location, value = (location, part), value[part]
    return location


def _without(config: dict[str, Any], path: tuple[str | int, ...]) -> bool:
    """Take the field away; False if it is not there."""
    value: Any = config
    for part in path[:-1]:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return False
    if path and isinstance(value, dict) and path[-1] in value:
        del value[str(path[-1])]
        return True
    if path and isinstance(value, list) and isinstance(path[-1], int) and path[-1] < len(value):
        del value[path[-1]]
        return True
    return False


def _fix(message: str) -> str:
    if message.startswith("tool_name required"):
        return "Name a tool by tool_name, or say what a model does: prompt or llm_config."
    if "required" in message:
        return "Add it."
    return "Correct it (docs/NODES.md)." if "must" not in message else "Write it so."
