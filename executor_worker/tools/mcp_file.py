"""
The file that MCP_CONFIG names, as the programs that MCP servers are written for write theirs.

    {"mcpServers": {"<name>": {"url": …, "headers": {…}} or {"command": …, "args": […], "env": {…}}}}

Also understood: `servers` (VS Code), `context_servers` (Zed), either inside `mcp`, a list of servers with names;
`serverUrl`, `httpUrl`, `transport`, a `command` that is a list, `environment`; `enabled`, `isActive`; lists of tools to
offer or not to offer; null for what is not there, numbers and booleans for texts; comments. What else other programs
keep there is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from executor_worker.errors import ConfigError
from executor_worker.text_files import read_text, settings_json
from executor_worker.tools.base import Effects, OnOpen

_TABLES = ("mcpServers", "servers", "context_servers", "mcp_servers")
_VARIABLE = re.compile(r"\$\{(?:env:)?(\w+)(?::-([^}]*))?\}")
_ASKED = re.compile(r"\$\{(\w+):([^}]*)\}")


def _written(value: Any) -> Any:
    """Write a number or a boolean as the text that is meant."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


Text = Annotated[str, BeforeValidator(_written)]


def _without_nulls(value: Any) -> Any:
    """Leave out what is null: for those who write every field."""
    if isinstance(value, dict):
        return {name: item for name, item in value.items() if item is not None}
    return value


class ToolRule(BaseModel):
    """The rule that MCP_CONFIG sets for one tool, or for all tools of a server, whatever the server says."""

    model_config = ConfigDict(frozen=True)

    effects: Effects | None = None
    timeout: Annotated[float, Field(gt=0)] | None = None
    on_open: OnOpen | None = None


class Entry(BaseModel):
    """
    One server, as the file has it.

    Attributes:
        tools: Rules for single tools; a list names those that are offered, `*` all.
        timeout_s: Other programs' `timeout` is in milliseconds, or in seconds: it is left alone.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: str | None = Field(None, validation_alias=AliasChoices("type", "transport", "transportType"))
    url: str | None = Field(None, validation_alias=AliasChoices("url", "serverUrl", "httpUrl"))
    headers: Annotated[dict[str, Text], BeforeValidator(_without_nulls)] = {}
    command: str | None = None
    args: list[Text] = []
    env: Annotated[dict[str, Text], BeforeValidator(_without_nulls)] = Field(
        {}, validation_alias=AliasChoices("env", "environment")
    )
    cwd: str | None = None
    shared: bool = False
    disabled: bool = False
    enabled: bool = Field(True, validation_alias=AliasChoices("enabled", "isActive"))
    effects: Effects | None = None
    on_open: OnOpen | None = None
    timeout_s: Annotated[float, Field(gt=0)] | None = None
    tools: Annotated[dict[str, ToolRule], BeforeValidator(_without_nulls)] = {}
    offered: list[str] | None = Field(None, validation_alias=AliasChoices("includeTools", "enabled_tools"))
    not_offered: list[str] = Field([], validation_alias=AliasChoices("excludeTools", "disabledTools", "disabled_tools"))

    @model_validator(mode="before")
    @classmethod
    def _as_ours(cls, entry: Any) -> Any:
        """Write the forms of other programs in the usual one."""
        if not isinstance(entry, dict):
            return entry
        entry = _without_nulls(entry)
        command = entry.get("command")
        if isinstance(command, list) and command and all(isinstance(word, str) for word in command):
            entry["command"], entry["args"] = command[0], [*command[1:], *entry.get("args", [])]
        tools = entry.get("tools")
        if isinstance(tools, list) and all(isinstance(name, str) for name in tools):
            del entry["tools"]
            entry.setdefault("includeTools", None if "*" in tools else tools)
        return entry

    @property
    def is_off(self) -> bool:
        return self.disabled or not self.enabled


def read_entries(path: str) -> dict[str, Entry]:
    """
    Read the servers of a file that are not switched off, by name.

    Raises:
        ConfigError: It can't be used; names the server and the field, never a value.
    """
    entries = {name: _entry(name, entry, path) for name, entry in _servers(path)}
    return {name: entry for name, entry in entries.items() if not entry.is_off}


def filled(text: str, environ: Mapping[str, str]) -> str:
    """
    Put the environment's values for `${NAME}`, `${env:NAME}` and `${NAME:-default}`.

    Raises:
        ValueError: One is not set, or is of another program's own.
    """

    def value(match: re.Match[str]) -> str:
        found = environ.get(match[1], match[2])
        if found is None:
            raise ValueError(f"it uses ${{{match[1]}}}, which is not set")
        return found

    asked = next((found for found in _ASKED.finditer(text) if found[1] != "env" and not found[2].startswith("-")), None)
    if asked is not None:
        hint = "put a variable of the environment there, as ${NAME}"
        raise ValueError(f"it uses {asked[0]}, which only the program knows that the file was written for: {hint}")
    return _VARIABLE.sub(value, text)


def bad_file(path: str, problem: str, fix: str = "Correct it") -> ConfigError:
    return ConfigError("MCP_CONFIG", f"{path}: {problem}.", f"{fix}.")


def _servers(path: str) -> Iterator[tuple[str, Any]]:
    try:
        document = settings_json(read_text(path))
    except OSError as error:
        raise bad_file(path, f"can't be read ({error.strerror or error})", "Name a readable file") from error
    except ValueError as error:
        raise bad_file(path, f"is not JSON ({error})") from error
    servers = _table(document)
    if isinstance(servers, dict):
        yield from servers.items()
        return
    if servers is None:
        raise bad_file(path, "has no object `mcpServers`", 'Write {"mcpServers": {"name": {"url": …}}}')
    for number, entry in enumerate(servers, 1):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"].strip():
            raise bad_file(path, f"server {number} of the list has no `name`")
        yield entry["name"].strip(), entry


def _table(document: Any) -> Any:
    """Find the servers, wherever that program puts them."""
    for place in (document, document.get("mcp") if isinstance(document, dict) else None):
        if isinstance(place, dict):
            found = next((place[name] for name in _TABLES if isinstance(place.get(name), dict | list)), None)
            if found is not None:
                return found
    return None


def _entry(name: str, entry: Any, path: str) -> Entry:
    try:
        return Entry.model_validate(entry)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise bad_file(path, f"server {name!r}: {where}: {first['msg']}") from error
