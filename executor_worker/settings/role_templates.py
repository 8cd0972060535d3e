"""Templates of roles: that they name only what a job can have."""

from __future__ import annotations

import difflib

from executor_worker.errors import ConfigError
from executor_worker.graph.problems import Location
from executor_worker.graph.template_names import template_names

TEXTS = ("task", "jobId", "workflowId", "userId", "projectId", "connectionId")
"""Names of a job's texts: there is nothing inside them."""
PARTS = ("payload", "fields")
"""Names of what holds whatever the job brings."""


def wrong_names(where: str, template: object, variable: str) -> list[ConfigError]:
    """
    Say which names in *template* no job can have.

    Args:
        where: The field it stands in, for the message.
        variable: The setting it comes from.
    """
    named = {(_place(where, location), name): None for location, name in template_names(template)}
    return [_wrong(place, name, variable) for place, name in named if not _can_be(name)]


def _can_be(name: str) -> bool:
    parts = name.split(".")
    if parts in (["inputs"], ["nodes"]):
        return True
    first, *inside = parts[1:] if parts[0] == "inputs" else parts
    return first in PARTS or (first in TEXTS and not inside)


def _wrong(place: str, name: str, variable: str) -> ConfigError:
    known = f"there are: {', '.join((*TEXTS, *PARTS))} (all fields as they came) and what is inside the last two"
    return ConfigError(variable, f"{place} names {{{{{name[:80]}}}}}, which no job has; {known}.", _fix(name))


def _fix(name: str) -> str:
    first, _, inside = name.removeprefix("inputs.").partition(".")
    if first in TEXTS:
        return f"Write {{{{{first}}}}}: it is a text, with nothing inside."
    for near in difflib.get_close_matches(first, (*TEXTS, *PARTS), n=1):
        meant = f"{near}.{inside[:80]}" if inside and near in PARTS else near
        return f"Write {{{{{meant}}}}}."
    return f"Write {{{{fields.{first[:80]}}}}} if jobs bring a field of that name." if first else "Name one of them."


def _place(where: str, location: Location) -> str:
    parts: list[str] = []
    while location is not None:
        location, part = location
        parts.append(f"[{part}]" if isinstance(part, int) else f".{part}")
    return where + "".join(reversed(parts))
