"""Differences between fakeredis and a server: each line of `DIFFERENCES`, and what the kit fills in."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from executor_worker.broker import Link
from executor_worker.broker.connection.script import Script
from executor_worker.errors import StreamRefused
from tests.kit.fake_redis import DIFFERENCES, FakeRedis


@pytest.fixture
def fake() -> Iterator[Link]:
    """A link to an empty one."""
    link = FakeRedis().link(name="test")
    yield link
    link.close()


def lua(text: str, flags: str = "") -> Script:
    source = f"#!lua{flags}\n{text}".encode()
    return Script("text", source, hashlib.sha1(source, usedforsecurity=False).hexdigest().encode())


def test_every_difference_has_its_test() -> None:
    """A line that is added to the list fails here until it has one."""
    assert set(DIFFERENCES) == {"blocking", "oom"}


def test_a_blocking_read_ends_at_once_and_empty(fake: Link) -> None:
    """DIFFERENCES["blocking"]: a server would wait for ten seconds."""
    fake.call("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")
    began = time.monotonic()
    reply = fake.call("XREADGROUP", "GROUP", "g", "c", "BLOCK", "10000", "STREAMS", "s", ">")
    assert not reply and time.monotonic() - began < 5


def test_memory_is_never_full(fake: Link) -> None:
    """DIFFERENCES["oom"]: a server with so little memory would refuse both."""
    fake.call("CONFIG", "SET", "maxmemory", "1")
    assert fake.run(lua("return redis.call('SET', KEYS[1], 'x')"), ["k"], []) == b"OK"
    assert fake.call("GET", "k") == b"x"


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("return redis.sha1hex('abc')", hashlib.sha1(b"abc", usedforsecurity=False).hexdigest().encode()),
        ("return #redis.call('HRANDFIELD', 'nobody', 3)", 0),
        ("return redis.pcall('XPENDING', 'nobody', 'g', '-', '+', 1).err:sub(1, 7)", b"NOGROUP"),
    ],
)
def test_what_it_lacks_is_filled_in(fake: Link, text: str, reply: Any) -> None:
    """A line `#!lua` is taken; what scripts of ours call answers as a server does."""
    assert fake.run(lua(text), [], []) == reply


def test_an_error_ends_a_script_with_its_words(fake: Link) -> None:
    """`error` of a reply is that reply, not a traceback of Lua's."""
    fake.call("SET", "text", "x")
    with pytest.raises(StreamRefused, match="WRONGTYPE"):
        fake.run(lua("local reply = redis.pcall('XLEN', 'text') if reply.err then error(reply) end"), [], [])
