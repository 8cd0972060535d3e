"""JSON values of tool results: what a function returned, as plain JSON."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
import pathlib
import uuid
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from executor_worker.errors import ToolFailed

_DEEPEST = 200  # levels; orjson refuses to write more than 254


def to_json(value: Any) -> Any:
    """
    Copy *value* into dicts, lists, strings, finite numbers, booleans and None.

    Pydantic models, dataclasses, named tuples, sets, dates, UUIDs, paths, enums and decimals (as text) are understood.

    Raises:
        ToolFailed: It holds something JSON has no form for, or is nested too deeply.
    """
    return _convert(value, "", 0)


def _convert(value: Any, path: str, depth: int) -> Any:
    if value is None or value is True or value is False or type(value) is str or type(value) is int:
        return value
    if depth > _DEEPEST:
        raise ToolFailed(f"output that is not JSON: nested deeper than {_DEEPEST} levels")
    if isinstance(value, Mapping):
        return {_key(key, path): _convert(item, f"{path}.{key}", depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        if hasattr(value, "_asdict"):
            return _convert(value._asdict(), path, depth + 1)
        return [_convert(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    return _convert_scalar(value, path, depth)


def _convert_scalar(value: Any, path: str, depth: int) -> Any:
    if isinstance(value, enum.Enum):
        return _convert(value.value, path, depth + 1)
    if isinstance(value, BaseModel):
        return _convert(value.model_dump(by_alias=True), path, depth + 1)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _convert(fields, path, depth + 1)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _not_json(f"{value}", path)
        return float(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, str | uuid.UUID | pathlib.PurePath | decimal.Decimal):
        return str(value)
    raise _not_json(f"a value of type {type(value).__name__}", path)


def _key(key: Any, path: str) -> str:
    if isinstance(key, enum.Enum):
        key = key.value
    if isinstance(key, str):
        return str(key)
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    raise _not_json(f"a key of type {type(key).__name__}", path)


def _not_json(what: str, path: str) -> ToolFailed:
    return ToolFailed(f"output that is not JSON: {what}{f' at {path[:200]}' if path else ''}")
