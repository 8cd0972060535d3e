"""Keeps secrets out of every line, whatever brings them there."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

HIDDEN = "***"
# Shorter ones are parts of too many words: they are replaced where they stand alone, the shortest as whole values only.
_LONG, _SHORTEST = 8, 4


class Secrets:
    def __init__(self) -> None:
        self._known: set[str] = set()
        self._forms: tuple[str, ...] = ()
        self._short: re.Pattern[str] | None = None

    def add(self, *secrets: str) -> None:
        self._known |= {secret for secret in secrets if secret}
        # Longest first: one secret may begin with another.
        self._forms = tuple(sorted(self._written(_LONG), key=len, reverse=True))
        short = sorted(self._written(_SHORTEST) - {*self._forms}, key=len, reverse=True)
        self._short = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, short))})(?!\w)") if short else None

    def _written(self, shortest: int) -> set[str]:
        return {form for secret in self._known if len(secret) >= shortest for form in _forms(secret)}

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
        return self._short.sub(HIDDEN, text) if self._short is not None else text


def _forms(secret: str) -> set[str]:
    """List how a secret is written: plain, in JSON, in a URL, in a repr."""
    return {secret, json.dumps(secret)[1:-1], quote(secret, safe=""), quote(secret), repr(secret)[1:-1]}
