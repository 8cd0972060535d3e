"""All settings as they are documented, and what is said of a wrong one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from executor_worker.errors import ConfigError
from executor_worker.settings import addresses
from executor_worker.settings.kinds import Kind, Shown
from executor_worker.settings.parts.models import ModelFields
from executor_worker.settings.parts.observing import ObservingFields
from executor_worker.settings.parts.orchestrator import OrchestratorFields
from executor_worker.settings.parts.part import Part
from executor_worker.settings.parts.pool import PoolFields
from executor_worker.settings.parts.roles import RoleFields
from executor_worker.settings.parts.tools import ToolFields
from executor_worker.settings.parts.tracing import TraceFields
from executor_worker.settings.parts.work import WorkFields
from executor_worker.settings.sources import Given, comes_as_file, names_of

# In the order of the documentation.
PARTS: tuple[type[Part], ...] = (
    *(PoolFields, ModelFields, ToolFields, WorkFields, ObservingFields, TraceFields),
    *(RoleFields, OrchestratorFields),
)


@dataclass(frozen=True, slots=True)
class SettingField:
    """
    The declaration of one setting.

    Attributes:
        default: For people; empty if not set means nothing in particular.
        names: All that its variable may have, NAME_FILE included.
    """

    kind: Kind
    meaning: str
    default: str
    names: tuple[str, ...]

    @property
    def secret(self) -> bool:
        return self.kind.secret


def setting_fields() -> dict[str, SettingField]:
    """All settings by the names of their fields, in the order of the documentation."""
    return {name: _described(field) for part in PARTS for name, field in part.model_fields.items()}


def known_names() -> set[str]:
    """All names under which a setting may stand in the environment."""
    return {"ENV_FILE"}.union(*(setting.names for setting in setting_fields().values()))


def _described(field: FieldInfo) -> SettingField:
    names = names_of(field)
    if comes_as_file(field):
        names += tuple(f"{name}_FILE" for name in names)
    kind = next(item for item in field.metadata if isinstance(item, Kind))
    shown = next((item for item in field.metadata if isinstance(item, Shown)), None)
    return SettingField(kind, field.description or "", shown or kind.show(field.default), names)


def complaint(error: ErrorDetails) -> ConfigError:
    return wrong(str(error["loc"][0]).lower(), error["input"])


def wrong(name: str, given: Given) -> ConfigError:
    """Say what is wrong with the text of the field *name*."""
    setting, variable = setting_fields()[name], name.upper()
    otherwise = f" for {setting.default}" if setting.default else ""
    fix = f"Set it to one, for instance {variable}={setting.kind.example}, or leave it out{otherwise}."
    if setting.kind.address and "@" in given:
        fix = f"{fix} {addresses.ESCAPES}"
    problem = f"{shown_of(setting, given)} is not {setting.kind.wanted}{fault_of(setting, given)}."
    return ConfigError(given.variable, problem, fix, given.place)


def fault_of(setting: SettingField, given: str) -> str:
    fault = setting.kind.fault(given)
    return f": it has {fault}" if fault else ""


def shown_of(setting: SettingField, given: str) -> str:
    """Name a bad value; one that holds a secret, or may, is not shown, in whatever variable it stands."""
    if setting.secret:
        return addresses.ITS_VALUE
    return addresses.shown(given) if setting.kind.address or re.search("://|@", given) else repr(given)
