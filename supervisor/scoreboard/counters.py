"""
Totals in shared memory that outlive the process which adds to them.

One process at a time may add to an area (a slot's worker, and after its death the next one); any process may read it.

    [count q][refused d][values d × KEYS][keys: length q, bytes, padded to 8 …]

The table only grows. A key becomes visible when `count` is raised, which is the last store of adding one; so a process
that is killed in between leaves the table as it was. A value changes by one aligned store.
"""

from __future__ import annotations

from mmap import mmap

COUNT, REFUSED, VALUES = 0, 1, 2  # places, in 8-byte words
KEY_BYTES = 80  # what a key takes on average; longer and shorter ones share the space
WORD = 8


class Counters:
    """
    Args:
        shared: The memory; zeroed when new.
        offset: Where the area begins in it, in bytes, a multiple of 8.
        size: Bytes of the area.
    """

    __slots__ = ("_at", "_doubles", "_end", "_first_key", "_ints", "_keys", "_limit", "_shared", "_stop")

    def __init__(self, shared: mmap | bytearray, offset: int, size: int) -> None:
        self._limit = (size - VALUES * WORD) // (KEY_BYTES + 2 * WORD)
        view = memoryview(shared)[offset : offset + size]
        self._ints = view.cast("q")
        self._doubles = view.cast("d")
        self._shared = shared
        self._first_key = offset + (VALUES + self._limit) * WORD
        self._stop = offset + size
        self._at: dict[bytes, int] = {}
        self._keys: list[bytes] = []
        self._end = self._first_key

    @property
    def refused(self) -> float:
        """The sum of what was added under keys for which there was no room."""
        return float(self._doubles[REFUSED])

    @property
    def values(self) -> memoryview[float]:
        """The totals, by place."""
        return self._doubles

    def add(self, key: bytes, amount: float) -> None:
        """Add *amount* to *key*'s total; without room for a new key it goes to `refused`."""
        self._doubles[self.place_of(key)] += amount

    def place_of(self, key: bytes) -> int:
        """Answer the place of *key*'s total, that of `refused` without room for it; either stays the same."""
        at = self._at.get(key)
        if at is None:
            # A predecessor, or the process we were forked from, may have added it since we last looked.
            self._read_keys()
            at = self._at.get(key) or self._append(key)
        return at

    def get(self, key: bytes) -> float:
        self._read_keys()
        at = self._at.get(key)
        return 0.0 if at is None else float(self._doubles[at])

    def items(self) -> dict[bytes, float]:
        """Every key with its total."""
        self._read_keys()
        return dict(zip(self._keys, self._doubles[VALUES : VALUES + len(self._keys)].tolist(), strict=True))

    def _append(self, key: bytes) -> int:
        count = len(self._keys)
        start = self._end + WORD
        if count >= self._limit or start + len(key) > self._stop:
            return REFUSED
        self._shared[self._end : start] = len(key).to_bytes(WORD, "little")
        self._shared[start : start + len(key)] = key
        self._doubles[VALUES + count] = 0.0
        self._ints[COUNT] = count + 1
        self._learn(key)
        return VALUES + count

    def _read_keys(self) -> None:
        for _ in range(self._ints[COUNT] - len(self._keys)):
            start = self._end + WORD
            length = int.from_bytes(self._shared[self._end : start], "little")
            self._learn(bytes(self._shared[start : start + length]))

    def _learn(self, key: bytes) -> None:
        self._at[key] = VALUES + len(self._keys)
        self._keys.append(key)
        self._end += WORD + (len(key) + WORD - 1) // WORD * WORD
