"""Sources of settings: the environment, then the settings file, then systemd's credentials."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv.parser import Binding, parse_stream
from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SecretsSettingsSource

from executor_worker.errors import ConfigError
from executor_worker.settings.kinds import Kind
from executor_worker.text_files import read_text

EMPTY_COUNTS = frozenset(
    {"HEALTH_PORT", "DAGO_HTTP_PORT", "DAGO_GRPC_PORT"}
)  # set but empty means something else than not set

_LINE_END = re.compile(r"\r\n|\n|\r")


class Given(str):
    """
    A setting's text, and where it was found: a complaint names that.

    Attributes:
        variable: Its own name, an alias, or NAME_FILE.
        place: The file, and the line if there are others; empty: the environment.
    """

    __slots__ = ("place", "variable")

    variable: str
    place: str

    def __new__(cls, text: str, variable: str, place: str = "") -> Given:
        given = super().__new__(cls, text.lstrip("\ufeff").strip())
        given.variable, given.place = variable, place
        return given

    @property
    def where(self) -> str:
        return f"the settings file ({self.place})" if self.place else "the environment"


def names_of(field: FieldInfo) -> tuple[str, ...]:
    """All names of its variable; its own, which wins, is the first."""
    alias = field.validation_alias
    return tuple(str(name) for name in (alias.choices if isinstance(alias, AliasChoices) else [alias]))


def comes_as_file(field: FieldInfo) -> bool:
    """Tell whether it is, or may hold, a secret: then it may also come as NAME_FILE and as a credential."""
    return not field.repr


def given_twice(settings: type[BaseSettings], variables: Mapping[str, str]) -> list[str]:
    """Say which secrets stand in one place both themselves and as a file, so that the file is not read."""
    names = [name for field in settings.model_fields.values() if comes_as_file(field) for name in names_of(field)]
    return [
        f"{name}_FILE in {place_in(variables, f'{name}_FILE')} is ignored: {name} is set there too, and goes before it;"
        " take one of them out."
        for name in names
        if variables.get(name, "").strip() and variables.get(f"{name}_FILE", "").strip()
    ]


def place_in(variables: Mapping[str, str], name: str) -> str:
    """Say in which file and line the variable *name* stands, or that it is the environment's."""
    text = variables.get(name)
    return text.where if isinstance(text, Given) else "the environment"


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A variable that others read too, with a text that we can't use."""

    field: str
    given: Given


def _is_for_others(field: FieldInfo, text: str) -> bool:
    kind = next((item for item in field.metadata if isinstance(item, Kind)), None)
    if kind is None or not kind.shared:
        return False
    try:
        kind.read(text)
    except ValueError:
        return True
    return False


class Layer(EnvSettingsSource):
    """
    The settings in *variables*, secrets also from the files that their NAME_FILE name.

    Args:
        folder: Where relative ones are looked for.
        problems: Takes up what can't be read.
        passed_over: Takes up what others who read the same variables may take.
    """

    def __init__(
        self,
        settings: type[BaseSettings],
        variables: Mapping[str, str],
        folder: Path,
        problems: list[ConfigError],
        passed_over: list[PassedOver],
    ) -> None:
        super().__init__(settings)
        given = {name: value if isinstance(value, Given) else Given(value, name) for name, value in variables.items()}
        self.env_vars = {name: value for name, value in given.items() if value or name in EMPTY_COUNTS}
        self._folder, self._problems, self._passed_over = folder, problems, passed_over

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str | None, str, bool]:
        value, key, _ = super().get_field_value(field, field_name)
        # What an earlier layer knows is not looked for: its file need not even be there.
        if value is None and comes_as_file(field) and key not in self.current_state:
            named = (f"{name}_FILE" for name in names_of(field))
            value = next((self._read(name, path) for name in named if (path := self.env_vars.get(name))), None)
        if isinstance(value, Given) and _is_for_others(field, value):
            self._passed_over.append(PassedOver(field_name, value))
            value = None
        return value, key, False

    def _read(self, variable: str, path: str) -> Given | None:
        try:
            value = Given(read_text(self._folder / path), variable, str(self._folder / path))
        except (OSError, ValueError) as error:
            problem = f"{path!r} can't be read ({_reason(error)})."
            self._problems.append(ConfigError(variable, problem, "Name a file this user can read."))
            return None
        if not value:
            self._problems.append(ConfigError(variable, f"{path!r} is empty.", "Put the secret into it, on one line."))
        return value or None


class Credentials(SecretsSettingsSource):
    """The secrets that systemd's LoadCredential put into a folder, named as the variables in any case."""

    def __init__(self, settings: type[BaseSettings], environ: Mapping[str, str]) -> None:
        folder = environ.get("CREDENTIALS_DIRECTORY", "")
        readable = folder and os.access(f"{folder}/.", os.R_OK | os.X_OK)  # it warns of one that is not there
        super().__init__(settings, folder if readable else None, case_sensitive=False)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Given | None, str, bool]:
        name = names_of(field)[0]
        try:
            value = super().get_field_value(field, field_name)[0] if comes_as_file(field) else None
        except (OSError, UnicodeDecodeError):
            # Not ours to require: where a secret is needed and missing, that is said by its own name.
            value = None
        return (Given(value, name, f"a credential in {self.secrets_dir}") if value else None), name, False


def settings_path(environ: Mapping[str, str], folder: Path) -> Path:
    """Return the path of the settings file, whether it exists or not."""
    return folder / (environ.get("ENV_FILE", "").strip() or ".env")


def settings_file(environ: Mapping[str, str], folder: Path, problems: list[ConfigError]) -> dict[str, Given]:
    """Read the file that ENV_FILE names, or `.env` if there is one; what is wrong with it goes to *problems*."""
    named = environ.get("ENV_FILE", "").strip()
    path = settings_path(environ, folder)
    try:
        return _parse(read_text(path), path, environ, problems)
    except (OSError, ValueError) as error:
        if named or not isinstance(error, FileNotFoundError):
            fix = "Name a file of NAME=value lines that this user can read, or unset ENV_FILE."
            problems.append(ConfigError("ENV_FILE", f"{str(path)!r} can't be read ({_reason(error)}).", fix))
        return {}


def _parse(content: str, path: Path, environ: Mapping[str, str], problems: list[ConfigError]) -> dict[str, Given]:
    """
    Read NAME=value lines.

    pydantic's own source would put the environment's values for `${NAME}`, which systemd does not do with the same
    file, and pass over lines that are no assignment. A name alone, which in Docker's files stands for the environment's
    value, is fine if there is one.
    """
    values: dict[str, Given] = {}
    for binding in parse_stream(io.StringIO(content)):
        line = _line_of(binding)
        if binding.error or (binding.key is not None and binding.value is None and binding.key not in environ):
            # Not the line itself: it may hold a secret.
            problem = f"line {line} of {str(path)!r} is not NAME=value."
            problems.append(ConfigError("ENV_FILE", problem, "Correct it, or put # before it."))
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = Given(binding.value, binding.key, f"{path}, line {line}")
    return values


def _line_of(binding: Binding) -> int:
    """Count from where the assignment begins: the parser counts the empty lines before it to it."""
    text = binding.original.string
    return binding.original.line + len(_LINE_END.findall(text[: len(text) - len(text.lstrip())]))


def _reason(error: Exception) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
