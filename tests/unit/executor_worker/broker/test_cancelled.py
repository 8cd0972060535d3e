"""Which graphs may have been cancelled: asked for many at once, answered with what is new only."""

from __future__ import annotations

import json
from typing import Any

import pytest

from executor_worker.broker import Link
from executor_worker.broker.fleet.cancelled import AT_ONCE, LARGEST, maybe_cancelled
from tests.unit.executor_worker.broker.acts import Client, digest

KEY = "dago:state:g"


def state(status: str, **more: Any) -> bytes:
    return json.dumps({"graph_id": "g", "status": status, **more}).encode()


def test_only_documents_with_the_word_are_read(db: Client, link: Link) -> None:
    """Of many, in several calls; what is missing or no document is passed over."""
    keys = {f"dago:state:{number}": b"" for number in range(AT_ONCE * 2 + 3)}
    for key in keys:
        db.set(key, state("running"))
    gone, other, *_, last = keys
    db.delete(gone)
    db.delete(other)
    db.lpush(other, "cancelled")
    db.set(last, state("cancelled"))
    assert maybe_cancelled(link, keys) == {last: state("cancelled")}
    assert maybe_cancelled(link, {}) == {}


def test_what_was_seen_is_not_read_again(db: Client, link: Link) -> None:
    """The word may stand there for another reason; once the document changes it is read once more."""
    raw = state("running", inputs={"note": "cancelled"})
    db.set(KEY, raw)
    assert maybe_cancelled(link, {KEY: b""}) == {KEY: raw}
    assert maybe_cancelled(link, {KEY: digest(raw)}) == {}
    changed = state("cancelled", inputs={"note": "cancelled"})
    db.set(KEY, changed)
    assert maybe_cancelled(link, {KEY: digest(raw)}) == {KEY: changed}


@pytest.mark.parametrize(("beyond", "read"), [(0, True), (1, False)])
def test_large_documents_are_not_looked_through(db: Client, link: Link, beyond: int, read: bool) -> None:
    """They are only said to be large."""
    raw = state("cancelled", text="")
    raw = state("cancelled", text="x" * (LARGEST - len(raw) + beyond))
    assert len(raw) == LARGEST + beyond
    db.set(KEY, raw)
    assert maybe_cancelled(link, {KEY: b""}) == {KEY: raw if read else None}


def test_nothing_is_written(db: Client, link: Link) -> None:
    """Also a server that is full, or read only, can be asked."""
    db.set(KEY, state("cancelled"))
    db.config_set("maxmemory", 1)
    try:
        assert maybe_cancelled(link, {KEY: b""}) == {KEY: state("cancelled")}
    finally:
        db.config_set("maxmemory", 0)
