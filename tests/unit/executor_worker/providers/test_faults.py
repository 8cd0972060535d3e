"""No exception of a library gets past the border."""

from __future__ import annotations

import inspect
import json
import ssl
from collections.abc import Iterator
from types import ModuleType

import anthropic
import httpcore2
import httpx2
import openai
import pytest

from executor_worker import errors
from executor_worker.errors import ModelBadResponse, ModelError, NodeTimeout
from executor_worker.providers.faults import Border
from executor_worker.providers.wire import Limit, ReplyTooLarge
from tests.unit.executor_worker.providers.dialects import KEY

REQUEST = httpx2.Request("POST", "http://models.example/v1")
BODIES: tuple[object, ...] = (
    None,
    "",
    "<html>",
    {"error": {"message": "m", "type": "overloaded_error"}},
    {"error": 7},
    [],
    5,
)
OTHERS = (
    OSError(5, "I/O error"),
    ssl.SSLError("bad record"),
    json.JSONDecodeError("Expecting value", "x", 0),
    KeyError("content"),
    IndexError("list index out of range"),
    TypeError("'NoneType' object is not subscriptable"),
    AttributeError("no attribute"),
    RecursionError("maximum recursion depth exceeded"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    MemoryError(),
    RuntimeError(),
    StopIteration(),
    ReplyTooLarge("too large"),
)


def every_error(library: ModuleType) -> Iterator[Exception]:
    """One of each class of error that *library* shows, status errors with many a status."""
    for _, kind in inspect.getmembers(library, inspect.isclass):
        if not issubclass(kind, Exception) or issubclass(kind, Warning):
            continue
        if hasattr(library, "APIStatusError") and issubclass(kind, library.APIStatusError):
            for status in (200, 304, 400, 401, 404, 418, 429, 500, 529, 599):
                for body in BODIES:
                    yield made(kind, message="said", response=httpx2.Response(status, request=REQUEST), body=body)
        else:
            yield made(kind)


def made(kind: type[Exception], **fields: object) -> Exception:
    """Make an error the way its class wants it, or past its constructor where that wants more than we know."""
    choices: tuple[dict[str, object], ...] = (
        fields,
        {key: fields[key] for key in ("response", "body") if key in fields},
        {"response": httpx2.Response(200, request=REQUEST), "body": {"odd": 1}},
        {"message": "said", "request": REQUEST, "body": None},
        {"message": "said", "request": REQUEST},
        {"request": REQUEST},
        {"message": "said"},
        {},
    )
    for arguments in choices:
        try:
            return kind(**arguments)
        except TypeError:
            continue
    try:
        return kind("said")
    except TypeError:
        return kind.__new__(kind)


@pytest.mark.parametrize("sdk", [anthropic, openai], ids=["anthropic", "openai"])
def test_every_error_of_every_library_has_a_meaning(sdk: ModuleType) -> None:
    """A ModelError with a code of the contract and a text that names who it was; bare or wrapped by the SDK."""
    border = Border("them", sdk, "http://models.example/v1", (KEY,))
    seen = 0
    for library in (sdk, httpx2, httpcore2):
        for error in (*every_error(library), *OTHERS):
            for arriving in (error, wrapped(sdk, error)):
                seen += 1
                meant = border.translate(arriving, "m")
                assert isinstance(meant, ModelError), arriving
                assert meant.code.startswith("llm_")
                assert str(meant).startswith("them m: ")
                assert len(str(meant)) < 500
    assert seen > 300


def wrapped(sdk: ModuleType, cause: Exception) -> Exception:
    """The SDKs put whatever goes wrong in sending into this."""
    error: Exception = sdk.APIConnectionError(request=REQUEST)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("error", OTHERS)
def test_nothing_foreign_leaves_the_block(error: Exception) -> None:
    """The original is kept as the cause."""
    border = Border("them", openai, "http://models.example/v1", ())
    with pytest.raises(ModelError) as caught, border.crossing("m", Limit()):
        raise error
    assert caught.value.__cause__ is error


def test_our_own_errors_and_interrupts_pass() -> None:
    """They mean what they say already."""
    border = Border("them", openai, "http://models.example/v1", ())
    for error in (NodeTimeout("up"), ModelBadResponse("odd"), errors.Abandoned("gone"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, border.crossing("m", Limit()):
            raise error
        assert caught.value is error


def test_what_was_said_is_short_and_holds_no_secret() -> None:
    """One line, no key, no bearer token, and the address without its password."""
    base_url = "http://user:passw0rd@models.example/v1"
    border = Border("them", openai, base_url, (KEY,))
    said = border.redact(f"a\n  b {KEY} Authorization: bearer abc.def " + "x" * 1000)
    assert said.startswith("a b [key] Authorization: Bearer [key] xxx")
    assert len(said) == 300
    refused = border.translate(openai.APIConnectionError(request=REQUEST), "m")
    assert "models.example" in str(refused)
    assert "passw0rd" not in str(refused)
