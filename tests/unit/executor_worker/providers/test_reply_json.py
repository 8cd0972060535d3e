"""Replies that hold halves of characters, which JSON can write and UTF-8 can't."""

from __future__ import annotations

from typing import Any

import pytest

from executor_worker.providers.base import ModelReply, ToolCall
from executor_worker.providers.reply_json import mended, read_arguments
from tests.unit.executor_worker.providers.dialects import Dialect, asked, chunk, event, run_context
from tests.unit.executor_worker.providers.fault_server import FaultServer, Handler, Reply, page, stream


def complete(dialect: Dialect, faulty: FaultServer, *replies: Reply) -> ModelReply:
    faulty.will(*replies)
    provider = dialect.provider(faulty.url, max_retries=0)
    try:
        return provider.complete(asked(), run_context())
    finally:
        provider.close()


def assert_sendable(reply: ModelReply) -> None:
    """Check that the turn can go back to the provider."""
    repr(reply.turn.raw).encode()
    reply.text.encode()


def test_half_a_character_in_a_whole_answer_is_replaced(dialect: Dialect, faulty: FaultServer) -> None:
    """From a server that does not stream."""
    reply = complete(dialect, faulty, page(200, dialect.whole("caf\u00e9 X!").replace("X", "\\ud83d")))
    assert reply.text == "caf\u00e9 \ufffd!"
    assert_sendable(reply)


def test_half_a_character_in_a_streamed_answer_is_replaced(dialect: Dialect, faulty: FaultServer) -> None:
    """The model is paid for the rest as well."""
    text = dialect.text("a X b").replace("X", "\\ude00")
    reply = complete(dialect, faulty, stream(dialect.begin(), text, dialect.end()))
    assert reply.text == "a \ufffd b"
    assert_sendable(reply)


def test_a_character_in_two_pieces_is_one(dialect: Dialect, faulty: FaultServer) -> None:
    """Each piece of a stream ends where it ends."""
    if dialect.name == "openai":
        pieces = [chunk({"content": half}) for half in ("so \ud83d", "\ude00!")]
    else:
        deltas = [{"type": "text_delta", "text": half} for half in ("so \ud83d", "\ude00!")]
        start = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        pieces = [start, *(event("content_block_delta", index=0, delta=delta) for delta in deltas)]
    reply = complete(dialect, faulty, stream(dialect.begin(), *pieces, dialect.end()))
    assert reply.text == "so \U0001f600!"
    assert_sendable(reply)


@pytest.mark.parametrize("half", ["\\ud83d", "\ud83d"], ids=["escaped", "as-it-is"])
def test_half_a_character_in_arguments_is_replaced(half: str, dialect: Dialect, faulty: FaultServer) -> None:
    """The call is made: it was not the model that was wrong."""
    reply = complete(dialect, faulty, stream(dialect.calling(("t", f'{{"a": "x{half}"}}'))))
    assert reply.tool_calls == (ToolCall("t0", "t", {"a": "x\ufffd"}),)
    assert_sendable(reply)


def test_bytes_that_are_no_utf8_are_replaced(dialect: Dialect, faulty: FaultServer) -> None:
    """A server that cuts its texts by bytes."""

    def reply(handler: Handler) -> None:
        handler.begin(200, "application/json")
        handler.wfile.write(dialect.whole("cafX").encode().replace(b"X", b"\xc3"))

    assert complete(dialect, faulty, reply).text == "caf\ufffd"


@pytest.mark.parametrize(
    ("text", "arguments"),
    [("", {}), (" ", {}), (f'{{"n": {2**70}}}', {"n": 2**70}), ("[]", None), ("{", None), ('{"a": NaN}', None)],
)
def test_arguments_are_read_exactly(text: str, arguments: dict[str, Any] | None) -> None:
    """Integers of any size; what is no object is said."""
    read, problem = read_arguments(text)
    assert read == arguments
    assert bool(problem) == (arguments is None)


def test_names_are_mended_too() -> None:
    """At any depth, and all else stays."""
    assert mended({"\ud800": [{"a": "\udfff"}, 1, None, True, 1.5]}) == {
        "\ufffd": [{"a": "\ufffd"}, 1, None, True, 1.5]
    }
