"""A model's answer that has to follow a schema."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from executor_worker.errors import InvalidNode
from executor_worker.nodes.schema import Schema, SchemaUnusable, compiled
from executor_worker.nodes.templates import as_json

MAX_REPAIRS = 2

# What models say before their answer, in the forms that servers leave it in: marked on both sides, only at its end
# (the prompt's template has opened it), or as a channel of its own.
_THOUGHTS = re.compile(
    r"""\A\s*(?:
        <(?P<tag>[a-z_:]*(?:think|thinking|thought|thoughts|reasoning|reflection|scratchpad))>.*?</(?P=tag)>
        | \[THINK\].*?\[/THINK\] | ◁think▷.*?◁/think▷
        | (?:(?!<think).)*?(?:</(?:[a-z_:]*think|thinking|reasoning)>|\[/THINK\]|◁/think▷)
        | <\|channel\|>(?!final).*?<\|channel\|>final\b.*?<\|message\|>
    )""",
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)
_FENCED = re.compile(r"\A\s*```[a-zA-Z]*[ \t]*\r?\n(.*)\n?```\s*\Z", re.DOTALL)


class Unfit(ValueError):
    """The answer does not follow the schema; says why."""


class Wanted:
    """
    The form an answer must have.

    Raises:
        InvalidNode: The schema itself is wrong.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema
        try:
            self._compiled: Schema = compiled(schema)
        except SchemaUnusable as error:
            raise _invalid(error) from error

    def read(self, text: str) -> Any:
        """
        Parse *text*, also if the model put it into a code fence, or wrote down its thoughts before.

        Raises:
            Unfit: It is no JSON, or does not follow the schema.
            InvalidNode: The schema turns out to be wrong.
        """
        value = _parsed(text)
        try:
            problems = self._compiled.problems(value)
        except SchemaUnusable as error:
            raise _invalid(error) from error
        if problems:
            raise Unfit("; ".join(problems))
        return value

    def repair(self, problem: str) -> str:
        """Tell the model what was wrong with its answer."""
        return (
            f"Your answer can't be used: {problem}\n"
            "Answer again: one JSON value and nothing else, no other text, no code fence. "
            f"It must follow this JSON schema:\n{as_json(self.schema)}"
        )


def _parsed(text: str) -> Any:
    try:
        return _json(text)
    except Unfit:
        answer = _without_thoughts(text)
        if answer == text:
            raise
        return _json(answer)


def _without_thoughts(text: str) -> str:
    """Set a leading block of thoughts aside, or several."""
    while thoughts := _THOUGHTS.match(text):
        text = text[thoughts.end() :]
    return text


def _json(text: str) -> Any:
    fenced = _FENCED.match(text)
    try:
        return json.loads(fenced[1] if fenced else text, parse_constant=_refuse)
    except RecursionError:
        raise Unfit("it is nested too deeply") from None
    except ValueError as error:
        raise Unfit(f"it is not JSON: {error}" if text.strip() else "it is empty") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON value")


def _invalid(error: SchemaUnusable) -> InvalidNode:
    return InvalidNode(f"llm_config.output_schema can't be used: {error}")
