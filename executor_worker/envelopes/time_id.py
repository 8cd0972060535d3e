"""Ids that tell when they were made: UUIDv7."""

from __future__ import annotations

import os
import time
import uuid


def new_time_id(last: int = 0) -> str:
    """Make a UUIDv7 that ends in *last* (12 bits)."""
    millis = time.time_ns() // 1_000_000
    chance = int.from_bytes(os.urandom(10))
    value = (millis & (1 << 48) - 1) << 80 | 0x7 << 76 | (chance >> 68 & 0xFFF) << 64 | 0b10 << 62
    value |= (chance & (1 << 62) - 1) & ~0xFFF | (last & 0xFFF)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def made_at_ms(text: str) -> int:
    """Tell when an id was made, in ms by its maker's clock; 0 for one that does not tell."""
    try:
        value = uuid.UUID(text)
    except ValueError:
        return 0
    return value.int >> 80 if value.version == 7 else 0
