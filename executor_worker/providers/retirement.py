"""Retirement of models by their maker, as far as its SDK knows."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime


def retired(model: str, today: date | None = None) -> str | None:
    """
    Say when *model* ends or has ended.

    Imports the anthropic SDK: ask only if that is the provider.

    Returns:
        A sentence for the operator; None if the SDK lists no end.
    """
    # The SDK weighs a second and 66 MiB: only who uses it pays.
    from anthropic.resources.messages import DEPRECATED_MODELS

    end = DEPRECATED_MODELS.get(model)
    if end is None:
        return None
    day = _day(end)
    if day is None:
        return f"the model {model} is being retired ({end})"
    verb = "was retired on" if day < (today or datetime.now(UTC).date()) else "will be retired on"
    return f"the model {model} {verb} {day.isoformat()}"


def _day(text: str) -> date | None:
    """Read a date such as 'July 21st, 2025'."""
    plain = re.sub(r"(?<=\d)(st|nd|rd|th)\b", "", text)
    try:
        return datetime.strptime(plain, "%B %d, %Y").replace(tzinfo=UTC).date()
    except ValueError:
        return None
