"""The loop that MCP is spoken in: it runs coroutines, or says why it can't."""

from __future__ import annotations

import anyio
import pytest

from executor_worker.tools.event_loop import Loop


def test_a_loop_that_cant_be_made_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit of descriptors; the call neither waits for ever nor breaks the next one."""

    async def answer() -> int:
        return 42

    def no_descriptor(_: object) -> None:
        raise OSError(24, "Too many open files")

    loop = Loop()
    with monkeypatch.context() as patch:
        patch.setattr(anyio, "run", no_descriptor)
        with pytest.raises(OSError, match="Too many open files"):
            loop.run(answer)
    assert loop.run(answer).result(10) == 42
    loop.close()
