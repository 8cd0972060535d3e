"""Heads of requests, before anybody knows who sends them: broken, too large, or without an end."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress

import httpx2
import pytest

from tests.kit import Pool
from tests.system.orchestrator.shared import shared_api

HEAD = b"GET /live HTTP/1.1\r\nHost: x\r\n"
LAST = b"Connection: close\r\n\r\n"
MIB = 1 << 20


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """One pool with an API for all tests of this file."""
    with shared_api(tmp_path_factory, WORKERS="1") as pool:
        yield pool


def sent(pool: Pool, parts: Iterable[bytes]) -> bytes:
    """Send *parts* until the line is closed; return what was answered by then."""
    with socket.create_connection(("127.0.0.1", pool.api_port), timeout=60) as line:
        with suppress(ConnectionError):
            for part in parts:
                line.sendall(part)
        answer = b""
        with suppress(ConnectionError):
            while part := line.recv(65536):
                answer += part
        return answer


@pytest.mark.parametrize(
    ("request_", "status", "word"),
    [
        (b"HELLO\r\n\r\n", 400, "INVALID_REQUEST"),
        (b"BREW /live HTTP/1.1\r\nHost: x\r\n\r\n", 400, "INVALID_REQUEST"),
        (HEAD + b"no header\r\n\r\n", 400, "INVALID_REQUEST"),
        (
            b"POST /api/v1/graphs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
            400,
            "INVALID_REQUEST",
        ),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431, "TOO_LARGE"),
        (HEAD + b"X: " + b"a" * 70_000 + b"\r\n\r\n", 431, "TOO_LARGE"),
        (HEAD + b"a:\r\n" * 40_000 + b"\r\n", 431, "TOO_LARGE"),
        (HEAD + b"".join(b"X%d: y\r\n" % number for number in range(15_000)) + b"\r\n", 431, "TOO_LARGE"),
    ],
)
def test_what_is_no_request_is_a_problem(shared: Pool, request_: bytes, status: int, word: str) -> None:
    """Like every other error, and the line is closed."""
    head, _, body = sent(shared, [request_]).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), head
    assert b"content-type: application/problem+json" in head and b"connection: close" in head
    problem = json.loads(body)
    assert (problem["status"], problem["error"]["code"]) == (status, word)


def test_a_head_of_usual_size_is_read(shared: Pool) -> None:
    """Also one with a long cookie, and in many pieces."""
    cookies = b"Cookie: " + b"c" * 30_000 + b"\r\n"
    whole = HEAD + cookies + LAST
    assert sent(shared, [whole]).startswith(b"HTTP/1.1 200 ")
    assert sent(shared, (whole[at : at + 700] for at in range(0, len(whole), 700))).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("begun", [HEAD + b"X: ", b"GET /", HEAD], ids=["header", "address", "headers"])
def test_a_head_without_an_end_is_not_read(shared: Pool, begun: bytes) -> None:
    """The line is closed long before it has taken what is sent."""
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        yield begun
        for number in range(64):
            taken = number
            yield b"y" * MIB if begun != HEAD else b"X: y\r\n" * (MIB // 6)

    sent(shared, endless())
    assert taken < 63
    assert httpx2.get(f"{shared.api_url}/live", timeout=60).status_code == 200
