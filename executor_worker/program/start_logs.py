"""Logs at the start of every command: they go to where they belong."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from executor_worker.settings import Settings


def start_logs(settings: Settings, file: str = "", *, quiet: bool = False) -> None:
    """
    Configure logs, and say what looks wrong in the settings without being an error.

    Args:
        quiet: Log only what LOG_LEVEL=debug asks for: all else is said on stdout anyway.
    """
    from executor_worker.telemetry import logs  # loguru: a tenth of a second that `--help` can do without

    level = "error" if quiet and settings.log_level != "debug" else settings.log_level
    logs.configure(level, settings.log_format, file, secrets=settings.secrets)
    if quiet and settings.log_level != "debug":
        logging.disable()  # libraries' errors, which say nothing that is not said on stdout
    for warning in settings.warnings:
        logs.log("warn", "setting.doubtful", problem=warning)
    for one in settings.overridden:
        logs.log("warn", "setting.overridden", used=one.used, ignored=one.ignored, problem=one.problem)
