"""Requests: what their headers ask for."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from orchestrator.api.requests import wants_stream


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream; charset=utf-8", True),
        ("application/json, text/event-stream", True),
        ("application/json;q=0.5, text/event-stream", True),
        ("text/event-stream;q=often", True),
        ("application/json, text/event-stream;q=0.5", False),
        ("text/event-stream;q=0", False),
        ("application/json", False),
        ("*/*", False),
        (";,;q=", False),
        ("", False),
    ],
)
def test_events_as_they_come_are_for_those_who_prefer_them(accept: str, wanted: bool) -> None:
    """By the weights that the header gives to them and to JSON."""
    request = Request({"type": "http", "headers": [(b"accept", accept.encode())]})
    assert wants_stream(request) is wanted
