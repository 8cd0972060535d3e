"""Long answers: sent as they are made, to readers that take them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from orchestrator.api import pieces

SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": [], "asgi": {"spec_version": "2.4"}}


def test_reader_that_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is not made any further, and what it is made from is let go."""
    monkeypatch.setattr(pieces, "STALLED_S", 0.05)
    made: list[str] = []

    async def piece_by_piece() -> AsyncGenerator[bytes]:
        try:
            while True:
                made.append("piece")
                yield b"x" * (pieces.AT_ONCE // 2 + 1)
        finally:
            made.append("let go")

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def receive() -> Message:
        raise AssertionError("nobody asks")

    async def answered() -> None:
        answer = await pieces.answer_in_pieces(piece_by_piece(), Request(SCOPE))
        await answer(SCOPE, receive, send)

    with pytest.raises(ClientDisconnect):
        asyncio.run(answered())
    assert made == ["piece", "piece", "let go"]
