"""The interpreter that is measured: one built with profile-guided optimisation takes less CPU for the same."""

from __future__ import annotations

import platform
import sysconfig

OPTIMISED = "--enable-optimizations"  # what configure is told for it
PLAIN = f"a plain build: with {OPTIMISED} it would take some tenth less CPU, so compare with figures of the same build"


def is_plain(arguments: str | None = None) -> bool:
    """
    Tell whether it was built without profile-guided optimisation.

    Args:
        arguments: Of its configure; None: those of this interpreter.
    """
    given = str(sysconfig.get_config_var("CONFIG_ARGS") or "") if arguments is None else arguments
    return OPTIMISED not in given


def described(*, plain: bool) -> str:
    """Say for people which interpreter is measured."""
    build = PLAIN if plain else "built with profile-guided optimisation"
    return f"{platform.python_implementation()} {platform.python_version()}, {build}"
