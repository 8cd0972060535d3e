"""Reasons of connections that failed, as people are told them."""

from __future__ import annotations

import socket

import httpx2
import pytest

from executor_worker.network_errors import reason_of


def test_the_system_s_words_are_told() -> None:
    """However many layers of libraries are around them."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(httpx2.ConnectError, match="Errno") as caught:
            httpx2.get(f"http://127.0.0.1:{silent.getsockname()[1]}", trust_env=False, timeout=60)
    assert reason_of(caught.value) == "Connection refused"
    assert reason_of(ConnectionResetError("it closed the connection")) == "it closed the connection"
    assert reason_of(TimeoutError()) == "TimeoutError"
    assert reason_of(httpx2.RemoteProtocolError("cut off.")) == "cut off"
