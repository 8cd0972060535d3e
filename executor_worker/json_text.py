"""
JSON as it goes over the wire: fast if it can be, exact if it must be.

orjson turns integers over 64 bits into floats and refuses lone surrogates; what holds such goes through the
standard library instead.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any, NoReturn

import orjson

_STRICT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_LONG = b"0" * 19  # an int64 has no more digits
_INT_DIGITS = 4000  # int() refuses over 4300


def loads(data: bytes) -> Any:
    """
    Read one JSON value; of a name that stands twice in an object the last counts.

    Integers are exact. A number no Python number can hold (over 4000 digits, beyond a double's range) is
    kept as the text it was.

    Raises:
        ValueError: It is not JSON (NaN and Infinity are not), not UTF-8, or nested too deeply.
    """
    if _LONG not in data.translate(_DIGITS):
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            pass  # lone surrogates are JSON all the same; the slow way tells
    return _slowly(data)


def loads_doubting(data: bytes) -> tuple[Any, bool]:
    """
    Read one JSON value as `loads` does, and tell whether a name may stand twice in an object of it.

    What was dropped is missed by its quotes: counting them takes a fraction of a parser that sees every name.

    Raises:
        ValueError: See `loads`.
    """
    with suppress(orjson.JSONDecodeError, TypeError):  # TypeError: it is nested deeper than can be written
        value = orjson.loads(data)
        if _LONG not in data.translate(_DIGITS) and _texts(data) == _texts(orjson.dumps(value)):
            return value, False
    return loads(data), True


def dumps(value: Any) -> bytes:
    """
    Write *value* as compact JSON; NaN and Infinity become null, see `dumps_exactly`.

    Raises:
        ValueError: It is no JSON value (an object of its own, a circle) or nested too deeply.
    """
    try:
        return orjson.dumps(value, option=_STRICT)
    except TypeError:
        pass
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except TypeError as error:
        raise ValueError(str(error)) from None


def dumps_exactly(value: Any) -> bytes:
    """
    Write *value*, which comes from somebody's program, as compact JSON.

    Raises:
        ValueError: It is no JSON value, or holds what is none: NaN or Infinity.
    """
    data = dumps(value)
    if b"null" in data:  # only then is a second, slow look needed
        json.dumps(value, allow_nan=False)
    return data


def refuse_constant(name: str) -> NoReturn:
    """For `parse_constant`: the standard library would read NaN and Infinity."""
    raise ValueError(f"{name} is not JSON")


def _slowly(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8"), parse_int=_integer, parse_float=_float, parse_constant=refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _texts(data: bytes) -> int:
    """Count the quotes around texts in JSON."""
    if b"\\" not in data:
        return data.count(b'"')
    data = data.replace(b"\\\\", b"")  # else the quote behind it would seem to belong to the text
    return data.count(b'"') - data.count(b'\\"')


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= _INT_DIGITS else text


def _float(text: str) -> float | str:
    number = float(text)
    return text if math.isinf(number) else number
