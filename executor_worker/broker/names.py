"""The names under which things stand in Redis."""

from __future__ import annotations

WORK_STREAMS = ("executor.work", "dago:events:executor.work")
GROUP = "executor-workers"
COMPLETED_STREAM = "dago:events:node.completed"
FAILED_STREAM = "dago:events:node.failed"
RESULT_STREAMS = (COMPLETED_STREAM, FAILED_STREAM)
PROGRESS_STREAM = "dago:events:node.progress"
STATE_PREFIX = "dago:state:"
JOURNAL_PREFIX = "dago:journal:"
REGISTRY_PREFIX = "dago:workers:"
IDENTITY_PREFIX = "dago:executor:identity:"

THROTTLE_PREFIX = "dago:throttle:"
THROTTLES = "dago:executor:throttles"
"""Set: keys of the throttles that hold somebody back now, or that items wait for; see throttle.lua."""
PARKED = "dago:executor:parked"
"""Hash: what waits for a throttle; see throttle.lua."""
THROTTLED_CHANNEL = "dago:executor:throttled"
RELEASED_CHANNEL = "dago:executor:released"
MARKERS = "dago:executor:settled"
"""Hash: consumer → what it settled last, so that a repeated settle finds its own commit."""
SETTLED_PREFIX = "dago:executor:settled:"
"""And stream/entry: who settled it, kept for a while where its graph's state can't tell."""
RESETS = "dago:executor:resets"
"""Hash: stream → the last id that had been delivered when its group was lost and made anew."""
LAST_READ = "dago:executor:last"
"""Hash: stream → the last id that was delivered; kept only where settled entries are not deleted."""


def dead_stream(stream: str) -> str:
    """The dead letters of *stream*."""
    return f"{stream}:dead"


def uncounted_key(stream: str) -> str:
    """Hash: entry → deliveries of it that are not held against it."""
    return f"{stream}:forgiven"


def added_at(entry: str) -> float:
    """When an entry was added, in seconds since the epoch: its id says so."""
    return int(entry.partition("-")[0]) / 1000


def own_journal(stream: str, entry: str) -> str:
    """The journal of an item that has no name but its entry."""
    return f"{JOURNAL_PREFIX}{stream}/{entry}"
