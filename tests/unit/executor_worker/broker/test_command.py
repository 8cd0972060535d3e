"""Commands as they go over the line."""

from __future__ import annotations

import pytest

from executor_worker.broker.connection.command import Word, in_full, pack
from executor_worker.broker.connection.script import Script


@pytest.mark.parametrize(
    ("keys", "args"), [((), ()), (("key", b"\xff\r\n"), ()), ((), ("ä", 1, 2.5)), (("k",), (b"", b"x" * 70_000))]
)
def test_script_in_full_is_sent_without_a_copy(keys: tuple[Word, ...], args: tuple[Word, ...]) -> None:
    """Its parts are together what the command is, and one of them is the text itself."""
    script = Script("big", b"return 1 -- \r\n" * 5000, b"sha")
    parts = in_full(script, keys, args)
    assert b"".join(parts) == pack((b"EVAL", script.source, len(keys), *keys, *args))
    assert any(part is script.source for part in parts)
