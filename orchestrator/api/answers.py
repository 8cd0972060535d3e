"""Answers of the API: JSON, and errors as problem+json with the original's `error` member."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from executor_worker.json_text import dumps
from orchestrator.errors import ApiError

JSON = "application/json; charset=utf-8"
PROBLEM = "application/problem+json"


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with *value* as JSON; bytes are JSON already."""
    body = value if isinstance(value, bytes) else dumps(value)
    return Response(body, status, dict(headers or {}), JSON)


def problem(error: ApiError, path: str) -> Response:
    """Answer with *error*, which happened at *path*."""
    told: dict[str, Any] = {"code": error.code, "message": str(error)}
    if error.details is not None:
        told["details"] = error.details
    body = {
        "type": f"urn:dago:error:{error.code.lower()}",
        "title": error.title,
        "status": error.status,
        "detail": str(error),
        "instance": path,
        "error": told,
    }
    return Response(dumps(body), error.status, error.headers, PROBLEM)


def stamped(data: Any) -> dict[str, Any]:
    """Wrap *data* as the original's dashboard reads it."""
    return {"data": data, "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")}
