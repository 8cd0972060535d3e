"""Roles as data: the three built in, and those of a file."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from executor_worker.errors import ConfigError
from executor_worker.settings.role_templates import wrong_names
from executor_worker.text_files import read_text

ROLE_NAME = re.compile(r"[a-z][a-z0-9_]*")
CHAT = "chat"
VARIABLE = "ROLES_CONFIG"
_OF_PAYLOAD = re.compile(r"\{\{\s*(inputs\.)?(fields\.)?payload\s*[.}]")
_STREAM = re.compile(
    r"(?!executor\.|router\.(?:work|decided)|dago:|signalr:updates$|chat\.jobs)[!-~]{1,200}"
)  # those have another use


@dataclass(frozen=True, slots=True)
class Role:
    """
    One role.

    Attributes:
        model: As ROLES_CONFIG says; "" if it says none.
        own_model: Asked where neither that nor LLM_MODEL names one.
        message: A template, or an object of templates, which becomes JSON text.
        tools: Where there are any it is an agent.
        limit: Jobs at once on all hosts; 0: no limit.
        model_from_job: A job's field `model` goes before all others.
    """

    name: str
    stream: str
    model: str = ""
    own_model: str = ""
    max_tokens: int | None = None
    system: str = ""
    message: str | dict[str, Any] = "{{task}}"
    tools: tuple[str, ...] = ()
    limit: int = 0
    temperature: float | None = None
    output_schema: dict[str, Any] | None = field(default=None, hash=False)
    model_from_job: bool = False

    def model_beside(self, llm_model: str) -> str:
        """Name the model of its jobs: the table's, else LLM_MODEL if that is set, else the role's own."""
        return self.model or llm_model or self.own_model

    @property
    def needs_payload(self) -> bool:
        """Tell whether its message is made of the payload, so that a job without a task may run."""
        return _OF_PAYLOAD.search(json.dumps(self.message)) is not None


_CODE = {"code": "{{payload}}", "task": "{{task}}"}
BUILT_IN = {
    "manager": Role("manager", "jobs:manager", own_model="trt-llm-manager", max_tokens=256),
    "inspector": Role("inspector", "jobs:inspector", own_model="trt-llm-inspector", max_tokens=512, message=_CODE),
    "agent": Role("agent", "jobs:agent", own_model="trt-llm-agent", max_tokens=128),
}


def read_roles(config: str, folder: Path, taken: frozenset[str], problems: list[ConfigError]) -> dict[str, Role]:
    """
    Read all roles there are: the built-in ones, and over them those of a file.

    Args:
        config: The file's path, or its text.
        taken: Names no role may have.
        problems: Takes up what is wrong.
    """
    roles = dict(BUILT_IN)
    if not config:
        return roles
    try:
        tables = _tables(config, folder)
    except (OSError, ValueError) as error:
        reason = (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
        problem = f"{_shown(config)} can't be read as TOML or JSON ({reason})."
        problems.append(ConfigError(VARIABLE, problem, "Name a file with tables [roles.<name>], or leave it out."))
        return roles
    for name, table in tables.items():
        try:
            roles[name] = role = _role(name, table, taken)
        except ValueError as error:
            problems.append(ConfigError(VARIABLE, f"{error}.", "Correct it; docs/ROLES.md has an example."))
            continue
        for field_name in ("system", "message"):
            problems += wrong_names(f"roles.{name}.{field_name}", getattr(role, field_name), VARIABLE)
    return roles


def _tables(config: str, folder: Path) -> dict[str, Any]:
    inline = "\n" in config or config.lstrip().startswith(("{", "["))
    text = config if inline else read_text(folder / config)
    document = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    tables = document.get("roles")
    others = sorted(set(document) - {"roles"})
    if not isinstance(tables, dict) or others:
        raise ValueError(
            f"it must hold tables roles.<name> and nothing else{f'; found {others[0]!r}' if others else ''}"
        )
    return tables


def _shown(config: str) -> str:
    return "its text" if "\n" in config else repr(config)


def _role(name: str, table: Any, taken: frozenset[str]) -> Role:
    """
    Raises:
        ValueError: With a sentence about what is wrong.
    """
    where = f"roles.{name}"
    if not ROLE_NAME.fullmatch(name):
        raise ValueError(f"{where}: a role's name must be of small letters, digits and _, and begin with a letter")
    if name in taken:
        raise ValueError(f"{where}: no role can have that name, since MAX_{name.upper()} is another setting")
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table, found {json.dumps(table, default=str)}")
    if unknown := sorted(set(table) - set(_FIELDS)):
        near = difflib.get_close_matches(unknown[0], _FIELDS, n=1)
        raise ValueError(f"{where}.{unknown[0]} is not known{f'; did you mean {near[0]}?' if near else ''}")
    known = {key: _read(f"{where}.{key}", *_FIELDS[key], value) for key, value in table.items()}
    role = BUILT_IN.get(name) or Role(name, f"jobs:{name}")
    return replace(role, **{key: value for key, value in known.items() if value is not None})


def _read(where: str, fits: Callable[[Any], object], wanted: str, value: Any) -> Any:
    if value is not None and not fits(value):
        raise ValueError(f"{where} must be {wanted}, found {json.dumps(value, default=str)[:100]}")
    return tuple(value) if isinstance(value, list) else value


def _is_whole(least: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= 10**9


def _is_message(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(name, str) for name in value)
    return isinstance(value, str)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and one for one in value)


_TEXT = (lambda value: isinstance(value, str), "text")
_FIELDS: dict[str, tuple[Callable[[Any], object], str]] = {
    "stream": (
        lambda value: isinstance(value, str) and _STREAM.fullmatch(value),
        "the name of a stream with no other use, without spaces",
    ),
    "model": _TEXT,
    "max_tokens": (_is_whole(1), "a whole number of at least 1"),
    "system": _TEXT,
    "message": (_is_message, "a template, or an object of templates"),
    "tools": (_is_names, "a list of tools' names"),
    "limit": (_is_whole(0), "a whole number of at least 0"),
    "temperature": (lambda value: isinstance(value, int | float) and not isinstance(value, bool), "a number"),
    "output_schema": (lambda value: isinstance(value, dict), "a JSON schema"),
    "model_from_job": (lambda value: isinstance(value, bool), "true or false"),
}
