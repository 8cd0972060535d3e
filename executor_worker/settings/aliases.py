"""Settings under two names: which of two different values counts, and which of them is ignored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from executor_worker.errors import ConfigError
from executor_worker.settings import stackexchange
from executor_worker.settings.catalogue import SettingField, setting_fields, shown_of
from executor_worker.settings.sources import Given

if TYPE_CHECKING:
    from executor_worker.settings.settings import Settings

CONNECTION = "REDIS_CONNECTION"
_ADVICE = "take one of them out."


@dataclass(frozen=True, slots=True)
class Overridden:
    """
    A variable that is ignored, since another one of the same meaning is set to something else.

    Attributes:
        used: The variable that counts.
        problem: A sentence without its name.
    """

    used: str
    ignored: str
    problem: str


def overridden(environ: Mapping[str, str], file: Mapping[str, Given]) -> tuple[Overridden, ...]:
    """
    Find what is set under two names to different values.

    The environment goes before the file, and in each of them the name before its alias.
    """
    given = {name: Given(text, name) for name, text in environ.items() if text}
    found = (_overridden_of(setting, given, file) for setting in setting_fields().values())
    return tuple(chain.from_iterable(found))


def _overridden_of(setting: SettingField, *layers: Mapping[str, Given]) -> Iterator[Overridden]:
    names = [name for name in setting.names if not name.endswith("_FILE")]  # of those `given_twice` speaks
    texts = [layer[name] for layer in layers for name in names if layer.get(name)]
    first = {text.variable: text for text in reversed(texts)}
    for other in reversed(first.values()):
        used = texts[0]
        if other.variable != used.variable and not _same(setting, used, other):
            own, others = (f"{shown_of(setting, text)} in {text.where}" for text in (used, other))
            yield Overridden(
                used.variable, other.variable, f"{others} is ignored: {used.variable} goes before it, {own}; {_ADVICE}"
            )


def _same(setting: SettingField, one: str, other: str) -> bool:
    try:
        return bool(setting.kind.read(one) == setting.kind.read(other))
    except ValueError:
        return False


def redis_of_connection(
    settings: Settings, problems: list[ConfigError]
) -> tuple[dict[str, Any], tuple[str, ...], tuple[Overridden, ...]]:
    """
    Take REDIS_CONNECTION apart; REDIS_ADDR goes before all of it, the other variables before what they say.

    Returns:
        The values it brings, sentences about what of it has no effect, and what of it is ignored.
    """
    if not settings.redis_connection:
        return {}, (), ()
    whole = "redis_addr" in settings.model_fields_set
    try:
        found = stackexchange.parse(settings.redis_connection)
    except ValueError as error:
        if whole:
            return {}, (), (_ignored_connection("REDIS_ADDR"),)
        fix = "Write it as host:port,password=…,user=…,ssl=true,defaultDatabase=0, or set REDIS_ADDR."
        problems.append(ConfigError(CONNECTION, f"{error}.", fix))
        return {}, (), ()
    values: dict[str, str | int] = {
        "redis_addr": found.address,
        "redis_user": found.user,
        "redis_pass": found.password,
        "redis_db": found.database,
    }
    differs = [name for name, value in values.items() if value and not _is(name, value, getattr(settings, name))]
    if whole:
        return {}, (), (_ignored_connection("REDIS_ADDR"),) if differs else ()
    said = tuple(f"{name} in {CONNECTION} has no effect here." for name in found.ignored)
    given = settings.model_fields_set
    ignored = tuple(_ignored_connection(name.upper()) for name in differs if name in given)
    return {name: value for name, value in values.items() if name not in given}, said, ignored


def _is(name: str, value: str | int, other: str | int) -> bool:
    if name != "redis_addr":
        return value == other
    return value == str(other).removeprefix("redis://").rstrip("/")


def _ignored_connection(used: str) -> Overridden:
    what = "it is ignored" if used == "REDIS_ADDR" else f"its part for {used} is ignored"
    return Overridden(used, CONNECTION, f"{what}: {used} is set too, to something else, and goes before it; {_ADVICE}")
