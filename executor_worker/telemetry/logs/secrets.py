"""Keeps secrets out of every line, whatever brings them there."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

HIDDEN = "***"
# Shorter ones are replaced only where they are a whole value: they are part of too many words.
_SHORTEST = 4


class Secrets:
    def __init__(self) -> None:
        self._known: set[str] = set()
        self._forms: tuple[str, ...] = ()

    def add(self, *secrets: str) -> None:
        self._known |= {secret for secret in secrets if secret}
        forms = {form for secret in self._known if len(secret) >= _SHORTEST for form in _forms(secret)}
        # Longest first: one secret may begin with another.
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def out_of(self, value: Any) -> Any:
        """Copy *value* with every secret in its texts replaced; what is no JSON becomes text."""
        if isinstance(value, str):
            return self._out_of_text(value)
        if isinstance(value, dict):
            return {self._out_of_text(str(key)): self.out_of(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.out_of(item) for item in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        return self._out_of_text(str(value))

    def _out_of_text(self, text: str) -> str:
        if text in self._known:
            return HIDDEN
        for form in self._forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        return text


def _forms(secret: str) -> set[str]:
    """List how a secret is written: plain, in JSON, in a URL, in a repr."""
    return {secret, json.dumps(secret)[1:-1], quote(secret, safe=""), quote(secret), repr(secret)[1:-1]}
