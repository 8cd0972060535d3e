"""
Read files that people write, as any editor leaves them.

UTF-8 with or without a byte order mark, and UTF-16 with one, which is what Notepad and PowerShell's `>` make. In JSON
of settings (MCP_CONFIG, LLM_PRICES, LLM_SCRIPT) also comments and a comma after the last value, as editors' own
settings have them. What is data, items and graph states, is strict JSON.
"""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# A string, whatever it holds, stays as it is; a comment goes.
_STRING_OR_COMMENT = re.compile(r'("(?:[^"\\\n]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_STRING_OR_LAST_COMMA = re.compile(r'("(?:[^"\\\n]|\\.)*")|,(?=\s*[\]}])')


def read_text(path: str | Path) -> str:
    """
    Read a file as text.

    Raises:
        OSError: It can't be read.
        ValueError: It is no text.
    """
    return text_of(Path(path).expanduser().read_bytes())


def text_of(raw: bytes) -> str:
    """
    Decode what a file holds.

    Raises:
        ValueError: It is no text.
    """
    try:
        return raw.decode("utf-16" if raw.startswith(_UTF16) else "utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None


def as_utf8(raw: bytes) -> bytes:
    """Take off what an editor has put before the text; bytes that are no text stay as they are."""
    if raw.startswith(codecs.BOM_UTF8):
        return raw[len(codecs.BOM_UTF8) :]
    if raw.startswith(_UTF16):
        try:
            return raw.decode("utf-16").encode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return raw
    return raw


def settings_json(text: str) -> Any:
    """
    Read one JSON value, in which comments and a comma after the last value may stand.

    Raises:
        ValueError: It is not JSON, or nested too deeply.
    """
    try:
        return _json(text)
    except ValueError:
        plain = _STRING_OR_LAST_COMMA.sub(_kept, _STRING_OR_COMMENT.sub(_kept, text))
        if plain == text:
            raise
        return _json(plain)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _kept(match: re.Match[str]) -> str:
    """Keep a string; of all else only the line ends, so that a complaint names the right line."""
    return match[1] if match[1] is not None else "".join(char if char == "\n" else " " for char in match[0])
