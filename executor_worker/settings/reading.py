"""From raw texts to values: reads every setting and collects everything that is wrong with any of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executor_worker.errors import ConfigError, ExecutorError
from executor_worker.settings.kinds import Kind, without_password
from executor_worker.settings.sources import Found, Variable, gather
from executor_worker.settings.spelling import misspelt


class ConfigErrors(ExecutorError):
    """
    Settings can't be used; exit status 78.

    Attributes:
        problems: One for each variable that is wrong.
    """

    def __init__(self, problems: list[ConfigError]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class SettingField:
    """
    What is declared of one setting.

    Attributes:
        default: For people; empty where not set means nothing in particular.
        secret: Its value is never shown.
        as_file, empty_counts, aliases: As in `Variable`.
    """

    kind: Kind
    meaning: str
    default: str
    aliases: tuple[str, ...]
    secret: bool
    as_file: bool
    empty_counts: bool


def read_settings(
    fields: Mapping[str, SettingField], environ: Mapping[str, str], cwd: Path
) -> tuple[dict[str, Any], list[str]]:
    """
    Read the values that are set, and name what looks like a setting and is none.

    Raises:
        ConfigErrors: With everything that is wrong.
    """
    named = variables(fields)
    gathered = gather(named.values(), environ, cwd)
    problems = gathered.problems
    values: dict[str, Any] = {}
    for name, variable in named.items():
        if found := gathered.values.get(variable.name):
            _read(name, fields[name], found, values, problems)
    if problems:
        raise ConfigErrors(problems)
    return values, misspelt(names_of(named.values()), environ, gathered.file)


def variables(fields: Mapping[str, SettingField]) -> dict[str, Variable]:
    """Name the variable of each field."""
    return {
        name: Variable(name.upper(), setting.aliases, setting.as_file, setting.empty_counts)
        for name, setting in fields.items()
    }


def _read(name: str, setting: SettingField, found: Found, values: dict[str, Any], problems: list[ConfigError]) -> None:
    if not found.value:  # only where that counts
        values[name] = None
        return
    try:
        values[name] = setting.kind.read(found.value)
    except ValueError:
        shown = "its value" if setting.secret else repr(without_password(found.value))
        otherwise = f" for {setting.default}" if setting.default else ""
        fix = f"Set it to one, for instance {name.upper()}={setting.kind.example}, or leave it out{otherwise}."
        problems.append(ConfigError(found.name, f"{shown} is not {setting.kind.wanted}.", fix))


def names_of(named: Iterable[Variable]) -> set[str]:
    names = {"ENV_FILE"}
    for variable in named:
        names |= set(variable.names)
        names |= {f"{name}_FILE" for name in variable.names if variable.as_file}
    return names
