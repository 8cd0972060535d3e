"""The program's version, as it was installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    try:
        return version("da-node-executor")
    except PackageNotFoundError:  # run from a copied tree
        return "0"
