"""Everything an operator can set (CONTRACT: settings)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from executor_worker.settings.problems import ConfigErrors

if TYPE_CHECKING:
    from executor_worker.settings.catalogue import SettingField, known_names, setting_fields
    from executor_worker.settings.parts.pool import MAX_SLOTS
    from executor_worker.settings.settings import Settings

__all__ = ["MAX_SLOTS", "ConfigErrors", "SettingField", "Settings", "known_names", "setting_fields"]

_MODULES = {
    "MAX_SLOTS": "parts.pool",
    "SettingField": "catalogue",
    "Settings": "settings",
    "known_names": "catalogue",
    "setting_fields": "catalogue",
}


def __getattr__(name: str) -> Any:
    """Import pydantic only where settings are read: it takes a tenth of a second, and `--help` does without."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
