"""A file of tokens that the API makes for itself, so that it is closed from its first start on."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from executor_worker.errors import ConfigError
from executor_worker.settings.parts.orchestrator import TOKENS
from executor_worker.telemetry import logs
from executor_worker.text_files import read_text

VARIABLE = "API_TOKENS_CREATE"
_BYTES = 32


def read_or_make(path: str) -> tuple[str, ...]:
    """
    Read the tokens in the file *path*; make it first, with one token that may do all, unless it is there.

    Of several API hosts that share its folder one makes it, and all read the same.

    Raises:
        ConfigError: It can't be made, or what it holds is no list of tokens.
    """
    file = Path(path).expanduser()
    try:
        if not file.exists() and _make(file):
            logs.warning("api.token_made", file=path, advice="whoever may read the file may use the API")
        tokens: tuple[str, ...] = TOKENS.read(read_text(file).strip())
    except OSError as error:
        problem = f"{path!r} can't be made or read ({error.strerror or error})."
        fix = "Mount a folder there that this user may write to, or set API_TOKENS or API_TOKENS_FILE."
        raise ConfigError(VARIABLE, problem, fix) from None
    except ValueError:
        fix = "Correct it, or remove it: then it is made anew."
        raise ConfigError(VARIABLE, f"{path!r} does not hold {TOKENS.wanted}.", fix) from None
    logs.hide(*(entry.split(":", 2)[2] for entry in tokens))
    return tokens


def _make(file: Path) -> bool:
    """Write it whole and give it its name then; returns False if another host was first."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"dago:operate:{secrets.token_urlsafe(_BYTES)}\n")
        with suppress(FileExistsError):
            file.hardlink_to(draft)
            return True
        return False
    finally:
        draft.unlink()
