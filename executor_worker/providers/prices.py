"""
Prices of models: the operator's table, and the cost of a call.

The table is a JSON file, in US dollars per million tokens:

    {"claude-sonnet-5-5": {"input": 3, "output": 15, "cache_read": 0.3, "cache_write": 3.75, "context_window": 200000}}

`cache_read` and `cache_write` may be left out: such tokens then cost what others do. So may `context_window`, the
tokens the model takes at most. A model that calls itself by a
date as well (`claude-sonnet-5-5-20261001`) is found by its name without it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from executor_worker.errors import ConfigError
from executor_worker.outcome import Usage
from executor_worker.providers.base import Answering, ModelReply, ModelRequest
from executor_worker.run_context import RunContext
from executor_worker.text_files import read_text, settings_json

_MILLION = 1_000_000
_DATE = re.compile(r"[-@:](20\d{6}|20\d\d-\d\d-\d\d|latest)\Z")
_FIELDS = ("input", "output", "cache_read", "cache_write")
_NEEDED = _FIELDS[:2]
_WINDOW = "context_window"
_FIX = (
    'Name a JSON file such as {"claude-sonnet-5-5": {"input": 3, "output": 15, "cache_read": 0.3, '
    '"cache_write": 3.75}}, in US dollars per million tokens, or leave it out.'
)


@dataclass(frozen=True, slots=True)
class Price:
    """
    US dollars per million tokens.

    Attributes:
        context_window: Tokens the model takes at most; None if that is not known.
    """

    input: float
    output: float
    cache_read: float
    cache_write: float
    context_window: int | None = None

    def of(self, usage: Usage) -> float:
        """Say in US dollars what *usage* costs."""
        spent = (
            usage.input_tokens * self.input
            + usage.output_tokens * self.output
            + usage.cache_read_tokens * self.cache_read
            + usage.cache_write_tokens * self.cache_write
        )
        return spent / _MILLION


@dataclass(frozen=True, slots=True)
class Prices:
    """By the model's name; an empty table knows no price."""

    table: Mapping[str, Price] = field(default_factory=dict)

    def find(self, model: str) -> Price | None:
        return self.table.get(model) or self.table.get(_DATE.sub("", model))

    @classmethod
    def load(cls, path: str) -> Prices:
        """
        Read the file LLM_PRICES names; an empty *path* is an empty table.

        Raises:
            ConfigError: It can't be read, or is no such table.
        """
        if not path:
            return cls()
        try:
            table = settings_json(read_text(path))
        except OSError as error:
            raise ConfigError("LLM_PRICES", f"{path!r} can't be read: {error.strerror}.", _FIX) from error
        except ValueError as error:
            raise ConfigError("LLM_PRICES", f"{path!r} is not JSON ({error}).", _FIX) from error
        if not isinstance(table, dict):
            raise ConfigError("LLM_PRICES", f"{path!r} is no JSON object.", _FIX)
        return cls({model: _price(entry, f"{path!r}, {model!r}") for model, entry in table.items()})


def _price(entry: Any, where: str) -> Price:
    if not isinstance(entry, dict) or not set(_NEEDED) <= entry.keys() <= {*_FIELDS, _WINDOW}:
        names = f"{' and '.join(_NEEDED)}, perhaps {', '.join((*_FIELDS[2:], _WINDOW))}"
        raise ConfigError("LLM_PRICES", f"{where}: a price is an object of {names}.", _FIX)
    for name, value in entry.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise ConfigError("LLM_PRICES", f"{where}: {name} must be a number of at least 0.", _FIX)
    plain: float = entry["input"]
    window: float = entry.get(_WINDOW, 0)
    return Price(
        plain,
        entry["output"],
        entry.get("cache_read", plain),
        entry.get("cache_write", plain),
        int(window) or None,
    )


class Priced:
    """Lets another answer; its replies say what they cost, if the table knows."""

    def __init__(self, provider: Answering, prices: Prices) -> None:
        self._provider = provider
        self._prices = prices

    def complete(self, request: ModelRequest, run_context: RunContext) -> ModelReply:
        reply = self._provider.complete(request, run_context)
        # What answered under a name of its own costs what was asked for.
        asked = reply.fallback.model if reply.fallback is not None else request.model
        price = self._prices.find(reply.model) or self._prices.find(asked)
        if price is not None:
            reply.usage.cost_usd = price.of(reply.usage)
        return reply
