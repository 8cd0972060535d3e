"""
Names of the MCP servers' tools, as any process of the pool has seen them last: shared memory, made before forking.

A worker that has just begun has listed nothing yet. From this it knows which server may have a tool of a given name,
and so for which of those that are still starting it has to wait.
"""

from __future__ import annotations

import json
import mmap
import struct
import zlib
from collections.abc import Iterable

from executor_worker.tools.server_states import ServerStates

_BYTES = 1 << 17
_HEAD = struct.Struct("<II")  # length, checksum

Names = dict[str, list[str] | None]


class KnownNames:
    """
    Names of tools, shared by the workers without a lock: a half-written entry is ignored, and soon written again.

    Attributes:
        states: Which servers were reached.
    """

    def __init__(self) -> None:
        self.states = ServerStates()
        self._memory = mmap.mmap(-1, _BYTES)

    def read(self) -> Names:
        """Names of tools by server; None: a worker has waited for that server in vain, and it was not reached since."""
        length, checksum = _HEAD.unpack_from(self._memory)
        text = self._memory[_HEAD.size : _HEAD.size + min(length, _BYTES)]
        if not length or zlib.crc32(text) != checksum:
            return {}
        names: Names = json.loads(text)
        return names

    def note(self, server: str, tools: Iterable[str]) -> None:
        """Remember what *server* has listed."""
        self._write(self.read() | {server: sorted(tools)})

    def note_missed(self, servers: Iterable[str]) -> None:
        """Remember that *servers* were waited for in vain, so that others need not."""
        known = self.read()
        missed: Names = {server: None for server in servers if server not in known}
        if missed:
            self._write(known | missed)

    def _write(self, names: Names) -> None:
        text = json.dumps(names).encode()
        if names == self.read() or len(text) > _BYTES - _HEAD.size:
            return
        self._memory[_HEAD.size : _HEAD.size + len(text)] = text
        _HEAD.pack_into(self._memory, 0, len(text), zlib.crc32(text))
