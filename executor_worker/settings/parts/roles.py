"""Settings of role queues: which roles, how many of their jobs at once, where a new group begins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from executor_worker.errors import ConfigError
from executor_worker.settings import kinds
from executor_worker.settings.kinds import Kind
from executor_worker.settings.parts.part import Part
from executor_worker.settings.role_table import BUILT_IN, CHAT, ROLE_NAME, Role, read_roles

_LIMIT = re.compile(r"([A-Za-z0-9_.-]{1,100})\s*=\s*([1-9][0-9]{0,8})")
MOST = 10**9
TOTAL = "roles"  # all roles together; none of LIMITS may be called so


def _limits() -> Kind:
    """Read `name=n` pairs; each name once, each at least 1."""

    def read(value: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for word in (word.strip() for word in value.split(",") if word.strip()):
            pair = _LIMIT.fullmatch(word)
            if pair is None or pair[1] in found or pair[1] == TOTAL:
                raise ValueError
            found[pair[1]] = int(pair[2])
        return found

    def show(value: dict[str, int]) -> str:
        return ",".join(f"{name}={most}" for name, most in value.items())

    return Kind("a list of name=n, each name once and n at least 1", "search-api=4,gpu=2", read, show)


class RoleFields(Part):
    """The role queues' part of `Settings`."""

    roles: Annotated[
        tuple[str, ...], kinds.words("a list of roles' names", "manager,inspector,agent", ROLE_NAME.fullmatch)
    ] = Field(
        (),
        description="Comma-separated roles whose queues are served: `manager`, `inspector`, `agent`, roles of"
        " `ROLES_CONFIG`, `chat` (docs/ROLES.md)",
    )
    roles_config: Annotated[str, kinds.text()] = Field(
        "", description="Path of a TOML or JSON file with `[roles.<name>]` tables: more roles, other prompts and models"
    )
    max_manager: Annotated[int, kinds.whole(0, MOST, 4)] = Field(
        0, description="Jobs of the role `manager` at once, on all hosts; 0 = no limit; `MAX_<ROLE>` for any other role"
    )
    max_inspector: Annotated[int, kinds.whole(0, MOST, 4)] = Field(0, description="The same for `inspector`")
    max_agent: Annotated[int, kinds.whole(0, MOST, 4)] = Field(0, description="The same for `agent`")
    max_total: Annotated[int, kinds.whole(0, MOST, 8)] = Field(
        0, description="Jobs of all roles together at once, on all hosts; 0 = no limit"
    )
    limits: Annotated[dict[str, int], _limits()] = Field(
        {},
        description='Nodes at once, on all hosts, that say `"limit":"<name>"` in their config: comma-separated'
        " `name=n`",
    )
    redis_connection: Annotated[str, replace(kinds.text(), secret=True)] = Field(
        "",
        description="`REDIS_ADDR`, `REDIS_USER`, `REDIS_PASS` and `REDIS_DB` in StackExchange's form:"
        " `host:port,password=…,user=…,ssl=true,defaultDatabase=0`",
        repr=False,
    )
    roles_start: Annotated[str, kinds.choice("group", "0", "$")] = Field(
        "group",
        description="Where a role's queue begins: where its group stood, and where there is none with its first entry;"
        " `$`: with what comes from now on",
    )


def settings_of_limits(names: frozenset[str]) -> frozenset[str]:
    """Names of roles whose `MAX_<ROLE>` would be another setting."""
    own = {f"MAX_{name.upper()}" for name in BUILT_IN}
    return frozenset(name[4:].lower() for name in names if name.startswith("MAX_") and name not in own)


def served_roles(
    wanted: tuple[str, ...], config: str, folder: Path, taken: frozenset[str], problems: list[ConfigError]
) -> tuple[Role, ...]:
    """
    Find the roles that are *wanted*.

    Args:
        config: ROLES_CONFIG.
        folder: Where a relative path begins.
        taken: Names no role may have.
        problems: Takes up what can't be used.
    """
    known = read_roles(config, folder, taken, problems)
    found = []
    for name in dict.fromkeys(wanted):
        if name == CHAT and CHAT not in known:
            continue
        if name in known:
            found.append(known[name])
        elif not config or not problems:
            fix = f"Name one of {', '.join((*known, CHAT))}, or describe it in ROLES_CONFIG."
            problems.append(ConfigError("ROLES", f"{name!r} is no role that is known here.", fix))
    streams = [role.stream for role in found]
    for role in found:
        if streams.count(role.stream) > 1:
            text = f"two of the roles named in ROLES read the stream {role.stream!r}."
            problems.append(ConfigError("ROLES_CONFIG", text, "Give each role a stream of its own."))
            break
    return tuple(found)


def with_limits(
    roles: tuple[Role, ...], given: Mapping[str, Any], variables: Mapping[str, str], problems: list[ConfigError]
) -> tuple[Role, ...]:
    """
    Lay `MAX_<ROLE>` over what ROLES_CONFIG says.

    Args:
        given: Values of the settings that are fields, where they were set.
        variables: All there are: those of added roles are no fields.
    """
    whole = kinds.whole(0, MOST, 4)
    found = []
    for role in roles:
        variable = f"MAX_{role.name.upper()}"
        if f"max_{role.name}" in given:
            role = replace(role, limit=given[f"max_{role.name}"])
        elif role.name not in BUILT_IN and (text := variables.get(variable, "").strip()):
            try:
                role = replace(role, limit=whole.read(text))
            except ValueError:
                fix = f"Set it to one, for instance {variable}=4, or leave it out."
                problems.append(ConfigError(variable, f"{text!r} is not {whole.wanted}.", fix))
        found.append(role)
    return tuple(found)
