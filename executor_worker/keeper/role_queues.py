"""Role queues at the start: how much waits there, and whether another executor reads them too."""

from __future__ import annotations

from executor_worker.broker.names import ROLE_GROUP
from executor_worker.broker.roles.outlook import Outlook, look_at_queues
from executor_worker.keeper.pool_context import PoolContext
from executor_worker.telemetry import logs

LOOK_S = 3.0  # within that every worker of ours is registered
DONE_S = 1e9
NAMED = 3


class RoleQueues:
    """Tells once what is found; a pool without roles asks nothing."""

    def __init__(self, around: PoolContext) -> None:
        named = around.groups.named
        self._around = around
        self._streams = [stream for stream in around.streams if named.get(stream) == ROLE_GROUP]
        self._before: dict[str, set[str]] | None = None

    def run(self) -> float:
        """Returns the seconds until the next look: consumers are foreign only if they are so twice."""
        if not self._streams:
            return DONE_S
        found = look_at_queues(self._around.link, self._streams)
        if self._before is None:
            for one in found:
                _tell_what_waits(one)
            self._before = {one.stream: set(one.foreign) for one in found}
            return LOOK_S if any(one.foreign for one in found) else DONE_S
        for one in found:
            self._warn_of(one, self._before[one.stream])
        return DONE_S

    def _warn_of(self, one: Outlook, before: set[str]) -> None:
        names = [name for name in one.foreign if name in before and not name.startswith(f"{self._around.worker_id}.")]
        if names:
            logs.warning(
                "role_queue.shared",
                stream=one.stream,
                consumers=",".join(names[:NAMED]),
                advice="another executor reads it, and takes a part of the jobs: stop it",
            )


def _tell_what_waits(one: Outlook) -> None:
    if one.waiting or one.left:
        logs.info("role_queue.found", stream=one.stream, waiting=one.waiting, left_by_others=one.left)
