"""Findings of a check: that something is right, or what to do about it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from executor_worker.cli.exits import FAILED
from executor_worker.errors import ConfigError
from executor_worker.settings.places import placed


@dataclass(frozen=True, slots=True)
class Finding:
    """
    Attributes:
        subject: What was looked at: a variable's name if there is one.
        text: What was seen; if it is not right, what to do as well.
        status: The exit status that it means; as of `run` if that does not even start.
    """

    right: bool
    subject: str
    text: str
    status: int = FAILED


def ok(subject: str, text: str) -> Finding:
    return Finding(True, subject, text)


def fix(subject: str, text: str) -> Finding:
    return Finding(False, subject, text)


def from_error(error: ConfigError, status: int = FAILED) -> Finding:
    return Finding(False, error.variable, placed(error, os.environ).advice, status)
