"""
Find stale items that no worker has in hand: the safety net under leases and releases.

The worker that will run one claims it, by XAUTOCLAIM: `if_stale` in `lua/lib/taking.lua`.
"""

from __future__ import annotations

from collections.abc import Sequence

from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import script
from executor_worker.broker.names import SWEEPER_PREFIX, TAKEN_STREAMS
from executor_worker.broker.queue.gates import WAITING
from executor_worker.broker.queue.source import OURS, Groups

PAGE = 1000  # pending entries looked at in one call: about a millisecond of the server's time


class Sweeper:
    """
    Goes round all that is pending and keeps its place between passes.

    Args:
        lease_s: What was idle for so long is stale.
        page: Pending entries looked at in one call.
        sweeper: Who sweeps; see `stale`.
        turn_s: For how long it has a stream to itself.
    """

    def __init__(
        self,
        link: Link,
        *,
        lease_s: float,
        streams: Sequence[str] = TAKEN_STREAMS,
        groups: Groups = OURS,
        page: int = PAGE,
        sweeper: str = "",
        turn_s: float = 0.0,
    ) -> None:
        self._link = link
        self._lease_ms = int(lease_s * 1000)
        self._groups = groups
        self._page = page
        self._places = [(stream, "-") for stream in streams]
        self._sweeper = sweeper
        self._turn_ms = int(turn_s * 1000)

    def stale(self, limit: int, *, in_turns: bool = False) -> list[tuple[str, str]]:
        """
        Go on from where the last pass ended until *limit* stale entries are found or everything was looked at once.

        Only looks: the worker that takes an entry checks again.

        Args:
            limit: As many as there are idle workers; a stale entry is no use to a busy one.
            in_turns: Leave out streams that another sweeper has now: with many pools, and many entries that wait, the
                server would do nothing else. The keeper that finds something has to tell the others.

        Returns:
            Pairs of stream and entry.

        Raises:
            StreamUnavailable: No reply; the next pass goes on where this one was.
        """
        found: list[tuple[str, str]] = []
        # One turn more than there are streams where the first begins in the middle: there it ends.
        for _ in range(len(self._places) + (self._places[0][1] != "-")):
            while len(found) < limit:
                stream, start = self._places[0]
                if in_turns and start == "-" and not self._has_turn(stream):
                    self._places.append(self._places.pop(0))
                    break
                after, entries = self._look(stream, start, limit - len(found))
                found += ((stream, entry) for entry in entries if (stream, entry) not in found)
                self._places[0] = (stream, after or "-")
                if not after:
                    self._places.append(self._places.pop(0))
                    break
        return found

    def _has_turn(self, stream: str) -> bool:
        """Take the stream for a while, if no other keeper has it."""
        words = ("SET", SWEEPER_PREFIX + stream, self._sweeper, "NX", "GET", "PX", self._turn_ms)
        return self._link.call(*words) in (None, self._sweeper.encode())

    def _look(self, stream: str, start: str, wanted: int) -> tuple[str, list[str]]:
        after, *entries = self._link.run(
            script("sweep", *WAITING), [stream], [self._groups.of(stream), self._lease_ms, start, self._page, wanted]
        )
        return after.decode(), [entry.decode() for entry in entries]
