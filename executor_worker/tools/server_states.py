"""
States of the MCP servers, as a process of the pool last found them: shared memory, made before forking.

Written by the workers without a lock, a byte for each server; the last one to have tried has the say.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence

_MOST = mmap.PAGESIZE  # servers; of more nothing is known
_DOWN, _UP = 1, 2


class ServerStates:
    """The servers go by their places in the configuration."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _MOST)

    def note(self, at: int, up: bool) -> None:
        """Note that server number *at* was reached, or was not."""
        if at < _MOST:
            self._memory[at] = _UP if up else _DOWN

    def read(self, names: Sequence[str]) -> dict[str, bool]:
        """Tell of each of *names*, which are in that order, whether it was reached; if it was tried."""
        return {name: state == _UP for name, state in zip(names, self._memory[: len(names)], strict=False) if state}
