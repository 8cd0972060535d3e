"""JSON inside of models' replies: exact, and whatever stray halves of characters are in it."""

from __future__ import annotations

from typing import Any

from executor_worker.json_text import loads


def read_reply(data: bytes) -> Any:
    """
    Read a reply that came in one piece.

    Raises:
        ValueError: It is not JSON.
    """
    return mended(loads(data.decode("utf-8", "replace").encode()))


def read_arguments(text: str) -> tuple[dict[str, Any] | None, str]:
    """Read a call's arguments; None and the problem if they are not a JSON object."""
    try:
        arguments = mended(loads(mended(text).strip().encode() or b"{}"))
    except ValueError as error:
        return None, f"the arguments are not JSON: {error}"
    return (arguments, "") if isinstance(arguments, dict) else (None, "the arguments are not a JSON object")


def mended(value: Any) -> Any:
    """
    Join halves of surrogate pairs in all texts of *value*, and replace those that stand alone.

    JSON can write them, and a stream can come to its end, or be cut, between two halves; no UTF-8 can hold them.
    """
    if isinstance(value, str):
        return _mended_text(value)
    if isinstance(value, list):
        return [mended(inner) for inner in value]
    if isinstance(value, dict):
        return {_mended_text(name): mended(inner) for name, inner in value.items()}
    return value


def _mended_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
