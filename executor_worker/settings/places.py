"""Places of settings: the file and the line that a value which can't be used was read from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from executor_worker.errors import ConfigError
from executor_worker.settings.catalogue import setting_fields
from executor_worker.settings.sources import Given, settings_file


def placed(error: ConfigError, environ: Mapping[str, str]) -> ConfigError:
    """Complete what is said of a setting that was found wrong after all had been read."""
    return error if error.place else placed_in(error, environ, settings_file(environ, Path.cwd(), []))


def placed_in(error: ConfigError, environ: Mapping[str, str], file: Mapping[str, Given]) -> ConfigError:
    """Say where in *file* the value stands, unless *environ* has one, which goes before it."""
    names = _names_of(error.variable)
    if not error.place and not any(environ.get(name, "").strip() for name in names):
        error.place = next((_said(file[name], error.variable) for name in names if file.get(name)), "")
    return error


def _said(given: Given, variable: str) -> str:
    return given.place if given.variable == variable else f"{given.place}, as {given.variable}"


def _names_of(variable: str) -> tuple[str, ...]:
    """Begin with *variable* itself; of a setting the names follow that it may also stand under."""
    own = next((field.names for field in setting_fields().values() if field.names[0] == variable), ())
    return tuple(dict.fromkeys((variable, *own)))
