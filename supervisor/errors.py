"""
The supervisor's errors, by who has to act.

    SupervisorError
    ├── ReloadRefused    the operator: new settings can't be used; the old ones stay
    └── UpgradeRefused   the operator: a successor can't be started from here
"""

from __future__ import annotations

WRONG_SETTINGS = 78  # exit status, sysexits' EX_CONFIG


class SupervisorError(Exception):
    """Anything this package raises on purpose."""


class ReloadRefused(SupervisorError):
    """The settings as they are now can't be used; the message says which and why."""


class UpgradeRefused(SupervisorError):
    """No successor was started; the message says why."""
