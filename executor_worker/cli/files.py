"""Files named on the command line: read whole, taken apart into JSON values, complaints in plain sentences."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import BinaryIO

from executor_worker.cli.exits import FAILED, USAGE, Quit
from executor_worker.text_files import as_utf8

STDIN = "-"
_BLANK = " \t\r\n"


def read_bytes(name: str) -> bytes:
    """
    Read a file, or stdin if *name* is `-`, as UTF-8 text without a byte order mark.

    Raises:
        Quit: It is missing or can't be read; status 2.
    """
    if name == STDIN:
        if sys.stdin.isatty():
            print("reading JSON from the terminal; end it with Ctrl-D", file=sys.stderr)
        return as_utf8(sys.stdin.buffer.read())
    try:
        return as_utf8(Path(name).read_bytes())
    except OSError as error:
        raise Quit(USAGE, f"{name!r} can't be read: {error.strerror or error}.") from None


def writable(name: str) -> BinaryIO:
    """
    Open a file to be written anew.

    Raises:
        Quit: It can't be; status 2.
    """
    try:
        return Path(name).open("wb")
    except OSError as error:
        raise Quit(USAGE, f"{name!r} can't be written: {error.strerror or error}.") from None


def refuse_stdin_twice(*names: str | None) -> None:
    """
    Raises:
        Quit: More than one of *names* is `-`; status 2.
    """
    if names.count(STDIN) > 1:
        raise Quit(USAGE, "only one of the files can be `-`: there is one stdin.")


def read_documents(name: str) -> list[bytes]:
    """
    Read a file of JSON: one value, an array of values, or values one after the other.

    The values are handed on as they are written: nothing in them is rounded or sorted.

    Raises:
        Quit: It can't be read (2), or is not JSON (1).
    """
    raw = read_bytes(name)
    try:
        found = _documents(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise Quit(FAILED, f"{_shown(name)} is not UTF-8 text.") from None
    except RecursionError:
        raise Quit(FAILED, f"{_shown(name)} is nested too deeply.") from None
    except json.JSONDecodeError as error:
        sentence = f"{_shown(name)} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}."
        raise Quit(FAILED, sentence) from None
    if not found:
        raise Quit(FAILED, f"{_shown(name)} holds nothing to do.")
    return found


def _documents(text: str) -> list[bytes]:
    start = _skip_blank(text, 0)
    inside = text.startswith("[", start)
    documents = []
    position = _skip_blank(text, start + 1) if inside else start
    while position < len(text) and not (inside and text[position] == "]"):
        begin = position
        _, position = _DECODER.raw_decode(text, begin)
        documents.append(text[begin:position].encode("utf-8", "surrogatepass"))
        position = _skip_blank(text, position)
        if inside:
            position = _next_element(text, position)
    if inside:
        _expect_end(text, position)
    return documents


def _next_element(text: str, position: int) -> int:
    if text.startswith(",", position):
        position = _skip_blank(text, position + 1)
        if not text.startswith("]", position):
            return position
        raise json.JSONDecodeError("a value is missing after the comma", text, position)
    if text.startswith("]", position):
        return position
    raise json.JSONDecodeError("',' or ']' expected", text, position)


def _expect_end(text: str, position: int) -> None:
    if not text.startswith("]", position):
        raise json.JSONDecodeError("']' expected", text, position)
    rest = _skip_blank(text, position + 1)
    if rest < len(text):
        raise json.JSONDecodeError("something follows the array", text, rest)


def _skip_blank(text: str, position: int) -> int:
    while position < len(text) and text[position] in _BLANK:
        position += 1
    return position


def _shown(name: str) -> str:
    return "what came on stdin" if name == STDIN else repr(name)


# Any number is welcome here, of any size: it is only looked over, never converted.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)
