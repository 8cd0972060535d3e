"""Everything an operator can set (CONTRACT: settings)."""

from executor_worker.settings.fields import MAX_SLOTS, Settings, known_names, setting_fields
from executor_worker.settings.reading import ConfigErrors, SettingField

__all__ = ["MAX_SLOTS", "ConfigErrors", "SettingField", "Settings", "known_names", "setting_fields"]
