"""Where settings come from: the environment, then the settings file, then systemd's credentials."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream
from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SecretsSettingsSource

from executor_worker.errors import ConfigError
from executor_worker.settings.kinds import Kind


class Given(str):
    """A setting's text, and the variable it was found in: a complaint names that one."""

    __slots__ = ("variable",)

    variable: str

    def __new__(cls, text: str, variable: str) -> Given:
        given = super().__new__(cls, text.strip())
        given.variable = variable
        return given


def names_of(field: FieldInfo) -> tuple[str, ...]:
    """All names of its variable; its own, which wins, is the first."""
    alias = field.validation_alias
    return tuple(str(name) for name in (alias.choices if isinstance(alias, AliasChoices) else [alias]))


def comes_as_file(field: FieldInfo) -> bool:
    """Whether it is, or may hold, a secret: then it may also come as NAME_FILE and as a credential."""
    return not field.repr


def kind_of(field: FieldInfo) -> Kind | None:
    return next((item for item in field.metadata if isinstance(item, Kind)), None)


class Layer(EnvSettingsSource):
    """The settings in *variables*; an empty one is as good as none, but for the kind to which that means something."""

    def __init__(self, settings: type[BaseSettings], variables: Mapping[str, str]) -> None:
        super().__init__(settings)
        kinds = ((names_of(field), kind_of(field)) for field in settings.model_fields.values())
        empty_counts = {name for names, kind in kinds if kind and kind.empty_counts for name in names}
        given = {name: Given(value, name) for name, value in variables.items()}
        self.env_vars = {name: value for name, value in given.items() if value or name in empty_counts}


class NamedFiles(PydanticBaseSettingsSource):
    """The secrets in the files that the NAME_FILE of *variables* name; what can't be read goes to *problems*."""

    def __init__(
        self, settings: type[BaseSettings], variables: Mapping[str, str], folder: Path, problems: list[ConfigError]
    ) -> None:
        super().__init__(settings)
        self._variables, self._folder, self._problems = variables, folder, problems

    def __call__(self) -> dict[str, Any]:
        fields = self.settings_cls.model_fields.items()
        found = (self.get_field_value(field, name) for name, field in fields if comes_as_file(field))
        return {key: value for value, key, _ in found if value}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Given | None, str, bool]:
        names = names_of(field)
        named = [f"{name}_FILE" for name in names if self._variables.get(f"{name}_FILE", "").strip()]
        # What goes before is known already: then its file need not even be there.
        value = self._read(named[0]) if named and names[0] not in self.current_state else None
        return value, names[0], False

    def _read(self, variable: str) -> Given | None:
        path = self._variables[variable].strip()
        try:
            value = Given((self._folder / path).read_text("utf-8"), variable)
        except (OSError, UnicodeDecodeError) as error:
            problem = f"{path!r} can't be read ({_reason(error)})."
            self._problems.append(ConfigError(variable, problem, "Name a file this user can read."))
            return None
        if not value:
            self._problems.append(ConfigError(variable, f"{path!r} is empty.", "Put the secret into it, on one line."))
        return value


class Credentials(SecretsSettingsSource):
    """The secrets that systemd's LoadCredential put into a folder, named as the variables in any case."""

    def __init__(self, settings: type[BaseSettings], folder: str) -> None:
        super().__init__(settings, folder, case_sensitive=False)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Given | None, str, bool]:
        name = names_of(field)[0]
        try:
            value = super().get_field_value(field, field_name)[0] if comes_as_file(field) else None
        except (OSError, UnicodeDecodeError):
            # Not ours to require: where a secret is needed and missing, that is said by its own name.
            value = None
        return (Given(value, name) if value else None), name, False


def sources(
    settings: type[BaseSettings],
    environ: Mapping[str, str],
    file: Mapping[str, str],
    folder: Path,
    problems: list[ConfigError],
) -> Iterator[PydanticBaseSettingsSource]:
    """All of them; what an earlier one knows goes before what a later one knows."""
    for variables in (environ, file):
        yield Layer(settings, variables)
        yield NamedFiles(settings, variables, folder, problems)
    credentials = environ.get("CREDENTIALS_DIRECTORY", "")
    if credentials and os.access(f"{credentials}/.", os.R_OK | os.X_OK):
        yield Credentials(settings, credentials)


def settings_file(environ: Mapping[str, str], folder: Path, problems: list[ConfigError]) -> dict[str, str]:
    """Read the file that ENV_FILE names, or `.env` where there is one; what is wrong with it goes to *problems*."""
    named = environ.get("ENV_FILE", "").strip()
    path = folder / (named or ".env")
    try:
        return _parse(path.read_text("utf-8"), path, problems)
    except (OSError, UnicodeDecodeError) as error:
        if named or not isinstance(error, FileNotFoundError):
            fix = "Name a file of NAME=value lines that this user can read, or unset ENV_FILE."
            problems.append(ConfigError("ENV_FILE", f"{str(path)!r} can't be read ({_reason(error)}).", fix))
        return {}


def _parse(content: str, path: Path, problems: list[ConfigError]) -> dict[str, str]:
    """
    Read NAME=value lines.

    pydantic's own source would put the environment's values for `${NAME}`, which systemd does not do with the same
    file, and pass over lines that are no assignment.
    """
    values: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(content)):
        if binding.error:
            # Not the line itself: it may hold a secret.
            problem = f"line {binding.original.line} of {str(path)!r} is not NAME=value."
            problems.append(ConfigError("ENV_FILE", problem, "Correct it, or put # before it."))
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    return values


def _reason(error: Exception) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else "it is not UTF-8 text"
