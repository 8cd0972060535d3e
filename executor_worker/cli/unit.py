"""`unit`: the files for systemd that belong to this version, as they come with it."""

from __future__ import annotations

import argparse
import re
import sys
from importlib.resources import files
from pathlib import Path

from executor_worker.cli.exits import DONE, USAGE, Quit

_INSTALLED = "/opt/executor-worker"
_HIDDEN = ("/home/", "/root/", "/tmp/")  # from the unit
_NAME = re.compile(r"%i|[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_KEY = "LoadCredential=LLM_API_KEY:/etc/executor-worker/llm_api_key\n"
_TOKENS = "LoadCredential=API_TOKENS:/etc/executor-worker/api_tokens\n"
_WITH_API = """\
# The orchestrator's API too, as `executor-worker run --api`.
Environment=API=1
"""


def unit(args: argparse.Namespace) -> int:
    """Print the unit that is meant, its settings file or its drop-in."""
    if args.pool is not None and not _NAME.fullmatch(args.pool):
        raise Quit(USAGE, f"--pool: {args.pool!r} is no name for a unit: letters, digits, _ . and -, at most 64.")
    if args.env:
        sys.stdout.write(_settings(args.pool, api=args.api))
    elif args.drop_in:
        sys.stdout.write(_drop_in(args.pool, api=args.api))
    else:
        sys.stdout.write(_unit(args.pool, api=args.api))
        _warn_if_hidden()
    return DONE


def _unit(pool: str | None, *, api: bool) -> str:
    if pool is None:
        return _of_this_place(_shipped("dago.service" if api else "executor-worker.service"))
    text = _shipped("executor-worker@.service").replace("%i", pool)
    if api:
        text = text.replace("# Where tools look", f"{_WITH_API}# Where tools look")
        text = text.replace(f"#{_KEY}", f"#{_TOKENS}#{_KEY}")
    return _of_this_place(text)


def _settings(pool: str | None, *, api: bool) -> str:
    return _shipped("executor-worker.env").replace("settings.env", _settings_name(pool, api=api))


def _drop_in(pool: str | None, *, api: bool) -> str:
    text = _shipped("credentials.conf").replace("executor-worker.service", f"{_unit_name(pool, api=api)}.service")
    if api:  # which alone calls no model
        text = text.replace(_KEY, _TOKENS if pool is None else f"{_TOKENS}{_KEY}")
    return text


def _unit_name(pool: str | None, *, api: bool) -> str:
    if pool is None:
        return "dago" if api else "executor-worker"
    return f"executor-worker@{pool}"


def _settings_name(pool: str | None, *, api: bool) -> str:
    return f"{pool}.env" if pool is not None else "dago.env" if api else "settings.env"


def _shipped(name: str) -> str:
    return files("executor_worker").joinpath("units", name).read_text()


def _of_this_place(text: str) -> str:
    """Name the environment that this program runs in."""
    return text.replace(f"{_INSTALLED}/bin", f"{sys.prefix}/bin").replace(f"{_INSTALLED} (", f"{sys.prefix} (")


def _warn_if_hidden() -> None:
    real = str(Path(sys.executable).resolve())
    for path in (sys.prefix, real):
        if path.startswith(_HIDDEN):
            advice = "the unit hides it (ProtectHome=, PrivateTmp=): install below /opt or /usr/local"
            print(f"executor-worker: {path} can't be started by this unit: {advice}.", file=sys.stderr)
            return
