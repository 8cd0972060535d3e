"""Environment variables of the providers' SDKs: kept from them, as they are not meant for LLM_BASE_URL's server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

THEIRS = ("OPENAI_", "ANTHROPIC_")


@contextmanager
def hidden_from_sdk() -> Iterator[None]:
    """
    Make a client without the keys, organisations, projects and headers of the environment.

    The SDKs read them while a client is made, even if they are told others.
    """
    taken = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(THEIRS)}
    try:
        yield
    finally:
        os.environ.update(taken)
