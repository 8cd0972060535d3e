"""
Check values against JSON schemas: a tool's parameters, a model's answer.

References are resolved inside the schema only; nothing is fetched.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError, by_relevance
from jsonschema.validators import validator_for
from loguru import logger
from referencing import Registry
from referencing.exceptions import Unresolvable

from executor_worker.nodes.templates import short
from executor_worker.providers.base import ToolCall
from executor_worker.tools.base import Tool

_SHOWN_PROBLEMS = 3
_LOOKED_AT = 100
_PROBLEM_CHARS = 300
_LISTED_TOOLS = 50
_PRECOMPILE_S = 0.2  # what is left of thousands is compiled when it is needed


_SAYS_NOTHING = {"title", "description", "default", "examples"}
_FLAT_WORDS = {"type", "properties", "required", "additionalProperties"} | _SAYS_NOTHING
_FLAT_MEMBER = {"type"} | _SAYS_NOTHING
_KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


class SchemaUnusable(ValueError):
    """The schema itself is no valid JSON schema, or refers to something outside itself."""


@dataclass(frozen=True, slots=True)
class Flat:
    """
    The common kind of schema, an object of plain values by name, in a form that is quick to say yes.

    Most tools have such a one, and most calls fit it: jsonschema takes longer to see that than the rest of the
    call's preparation. If this does not say yes, jsonschema is asked, which knows why not.
    """

    kinds: Mapping[str, tuple[type, ...]]
    required: frozenset[str]

    @classmethod
    def of(cls, document: dict[str, Any]) -> Flat | None:
        """None if it says anything that is not understood here."""
        members = document.get("properties", {})
        if document.get("type") != "object" or document.keys() - _FLAT_WORDS or not isinstance(members, dict):
            return None
        kinds = {name: _KINDS.get(str(member.get("type"))) for name, member in members.items() if _is_flat(member)}
        known = {name: kind for name, kind in kinds.items() if kind is not None}
        return cls(known, frozenset(document.get("required", ()))) if len(known) == len(members) else None

    def fits(self, value: Any) -> bool:
        """Tell whether it surely fits; a parameter that is not named has to be looked at more closely."""
        if type(value) is not dict or not self.required <= value.keys():
            return False
        kinds = self.kinds
        for name, member in value.items():  # noqa: SIM110 - a generator takes twice as long
            if type(member) not in kinds.get(name, ()):
                return False
        return True


class Schema:
    """
    A compiled JSON schema, of the draft that its `$schema` names, else 2020-12.

    Raises:
        SchemaUnusable: With what is wrong with it.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        validator = validator_for(document, default=Draft202012Validator)
        try:
            validator.check_schema(document)
        except SchemaError as error:
            raise SchemaUnusable(_sentence(error)) from error
        except RecursionError as error:
            raise SchemaUnusable("nested too deeply") from error
        self._validator = validator(document, registry=Registry())
        self._flat = Flat.of(document)

    def problems(self, value: Any, *, missing: bool = True) -> list[str]:
        """
        Say what keeps *value* from fitting: the worst first, each with its path; empty if it fits.

        Args:
            missing: False: look only at what *value* holds, not at what it lacks as a whole.

        Raises:
            SchemaUnusable: Found out only now that the schema can't be used.
        """
        if self._flat is not None and self._flat.fits(value):
            return []
        errors = self._errors(value)
        if not missing:
            errors = [error for error in errors if error.absolute_path]
        errors.sort(key=by_relevance(), reverse=True)
        return [_sentence(error) for error in errors[:_SHOWN_PROBLEMS]]

    def _errors(self, value: Any) -> list[ValidationError]:
        try:
            return list(islice(self._validator.iter_errors(value), _LOOKED_AT))
        except (Unresolvable, re.error) as error:
            raise SchemaUnusable(short(str(error), _PROBLEM_CHARS)) from error
        except RecursionError:
            return [ValidationError("nested too deeply to be checked", path=["…"])]
        except ValueError:
            # Messages show the value, and Python refuses to write out integers of over 4300 digits.
            return [ValidationError("holds a number too long to be checked", path=["…"])]


def compiled(document: dict[str, Any]) -> Schema:
    """
    Compile *document*, or take what was compiled of an equal one.

    Raises:
        SchemaUnusable: See `Schema`.
    """
    try:
        return _compiled(orjson.dumps(document))
    except TypeError:  # what orjson can't write (integers over 64 bits) is rare enough to be compiled each time
        return Schema(document)


def precompile(documents: Iterable[dict[str, Any]]) -> None:
    """Compile *documents* before the workers are forked: each would write a megabyte of its own to compile one."""
    until = time.monotonic() + _PRECOMPILE_S
    for document in documents:
        if time.monotonic() > until:
            return
        with suppress(SchemaUnusable):  # told when it is used
            compiled(document)


def misfits(tool: Tool, arguments: dict[str, Any], *, missing: bool = True) -> list[str]:
    """
    Say what is wrong with *arguments*, each with its path; empty if they fit.

    A tool whose own schema can't be used is not withheld for it: it is left to check for itself.

    Args:
        missing: False: parameters that are missing may still come.
    """
    try:
        return compiled(tool.input_schema).problems(arguments, missing=missing)
    except SchemaUnusable as error:
        _tell_once(tool.name, tool.source, str(error))
        return []


def refusal(call: ToolCall, tool: Tool | None, names: Collection[str]) -> str:
    """Tell the model why *call* can't be made, of *tool* or of one that is none of *names*; empty if it can."""
    if tool is None:
        more = f" and {len(names) - _LISTED_TOOLS} more" if len(names) > _LISTED_TOOLS else ""
        known = ", ".join(islice(names, _LISTED_TOOLS))
        return f"There is no tool {short(call.name)!r}. You may call: {known}{more}."
    if call.arguments is None:
        return f"The arguments were not a JSON object: {call.problem or 'they could not be read'}."
    found = misfits(tool, call.arguments)
    return f"The arguments do not fit the tool's schema: {'; '.join(found)}." if found else ""


@lru_cache(maxsize=256)
def _tell_once(tool: str, source: str, problem: str) -> None:
    logger.bind(tool=tool, source=source, problem=problem).warning("tool.schema_unusable")


@lru_cache(maxsize=512)
def _compiled(text: bytes) -> Schema:
    return Schema(json.loads(text))


def _is_flat(member: Any) -> bool:
    return isinstance(member, dict) and isinstance(member.get("type"), str) and not member.keys() - _FLAT_MEMBER


def _sentence(error: ValidationError | SchemaError) -> str:
    path = _path(error)
    message = short(error.message, _PROBLEM_CHARS)
    return f"{path}: {message}" if path else message


def _path(error: ValidationError | SchemaError) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{short(str(part))}" for part in error.absolute_path)
    return short("".join(parts).removeprefix("."), _PROBLEM_CHARS)
