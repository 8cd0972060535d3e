"""Where settings come from: the environment, then the settings file, then systemd's credentials."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv.parser import parse_stream

from executor_worker.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Variable:
    """
    One setting as it is named outside.

    Attributes:
        aliases: Other names it may have; its own name wins.
        as_file: May also come as NAME_FILE and as a credential: it is, or may hold, a secret.
        empty_counts: Set but empty means something else than not set.
    """

    name: str
    aliases: tuple[str, ...] = ()
    as_file: bool = False
    empty_counts: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)


@dataclass(frozen=True, slots=True)
class Found:
    """A raw value and the name it was written under."""

    value: str
    name: str


@dataclass(slots=True)
class Gathered:
    """
    All raw values.

    Attributes:
        values: By the variables' own names.
        problems: What could not be read.
        file: What the settings file holds, for the spelling check.
    """

    values: dict[str, Found] = field(default_factory=dict)
    problems: list[ConfigError] = field(default_factory=list)
    file: dict[str, str] = field(default_factory=dict)


def gather(variables: Iterable[Variable], environ: Mapping[str, str], cwd: Path) -> Gathered:
    gathered = Gathered()
    gathered.file = _settings_file(environ, cwd, gathered.problems)
    for variable in variables:
        found = _find(variable, environ, cwd, gathered)
        if found is not None:
            gathered.values[variable.name] = found
    return gathered


def _find(variable: Variable, environ: Mapping[str, str], cwd: Path, gathered: Gathered) -> Found | None:
    for layer in (environ, gathered.file):
        found = _in_layer(variable, layer) or _in_named_file(variable, layer, cwd, gathered.problems)
        if found is not None:
            return found
    return _in_credentials(variable, environ)


def _in_layer(variable: Variable, layer: Mapping[str, str]) -> Found | None:
    for name in variable.names:
        value = layer.get(name)
        if value is not None and (value.strip() or variable.empty_counts):
            return Found(value.strip(), name)
    return None


def _in_named_file(
    variable: Variable, layer: Mapping[str, str], cwd: Path, problems: list[ConfigError]
) -> Found | None:
    """Read a secret from the file that NAME_FILE names."""
    for name in variable.names if variable.as_file else ():
        path = layer.get(f"{name}_FILE", "").strip()
        if not path:
            continue
        try:
            value = _secret((cwd / path).read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            problem = f"{path!r} can't be read ({_reason(error)})."
            problems.append(ConfigError(f"{name}_FILE", problem, "Name a file this user can read."))
            return None
        if not value:
            problems.append(ConfigError(f"{name}_FILE", f"{path!r} is empty.", "Put the secret into it, on one line."))
            return None
        return Found(value, f"{name}_FILE")
    return None


def _in_credentials(variable: Variable, environ: Mapping[str, str]) -> Found | None:
    """Read a secret that systemd's LoadCredential put beside us, named as the variable in any case."""
    folder = environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder or not variable.as_file:
        return None
    wanted = {name.lower() for name in variable.names}
    try:
        for path in sorted(Path(folder).iterdir()):
            if path.name.lower() in wanted and (value := _secret(path.read_text("utf-8"))):
                return Found(value, variable.name)
    except (OSError, UnicodeDecodeError):
        # Not ours to require: where a secret is needed and missing, that is said by its own name.
        return None
    return None


def _settings_file(environ: Mapping[str, str], cwd: Path, problems: list[ConfigError]) -> dict[str, str]:
    named = environ.get("ENV_FILE", "").strip()
    path = cwd / (named or ".env")
    try:
        content = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        if named or not isinstance(error, FileNotFoundError):
            fix = "Name a file of NAME=value lines that this user can read, or unset ENV_FILE."
            problems.append(ConfigError("ENV_FILE", f"{str(path)!r} can't be read ({_reason(error)}).", fix))
        return {}
    return _parse(content, path, problems)


def _parse(content: str, path: Path, problems: list[ConfigError]) -> dict[str, str]:
    """Read NAME=value lines; nothing in them is interpolated, as systemd does with the same file."""
    values: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(content)):
        if binding.error:
            # Not the line itself: it may hold a secret.
            problem = f"line {binding.original.line} of {str(path)!r} is not NAME=value."
            problems.append(ConfigError("ENV_FILE", problem, "Correct it, or put # before it."))
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    return values


def _secret(content: str) -> str:
    return content.strip()


def _reason(error: Exception) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else "it is not UTF-8 text"
