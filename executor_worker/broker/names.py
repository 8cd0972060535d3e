"""
The names under which things stand in Redis, for scripts too: what a script calls by a name from here is declared to it.
"""

from __future__ import annotations

WORK_STREAMS = ("executor.work", "dago:events:executor.work")
QUEUE_PREFIX = "executor.work:"
"""And a queue's name: its stream."""
QUEUES = "dago:executor:queues"
"""Set: names of the queues that were ever served or sent to."""
ROLE_QUEUES = "dago:executor:role_queues"
"""Set: streams of roles that were ever served or sent to."""
GROUP = "executor-workers"
FOREIGN_GROUP = "dago-workers"
"""Others' group on the stream of completed events: where it is there, failures are told there too."""
ROUTER_STREAMS = ("router.work", "dago:events:router.work")
ROUTER_GROUP = "router-workers"
DECIDED_STREAM = "router.decided"
"""Where others look for what routers have decided, and with `.errors` for what kept them from it."""
FOREIGN_STATE_PREFIX = "graph:state:"
"""Where the original's routers look for a graph's document."""
ROLE_GROUP = "executor-group"
"""The group that reads jobs of roles: the sibling system's, whose place we take."""
COMPLETED_STREAM = "dago:events:node.completed"
FAILED_STREAM = "dago:events:node.failed"
RESULT_STREAMS = (COMPLETED_STREAM, FAILED_STREAM)
UPDATES_STREAM = "signalr:updates"
"""What came of jobs of roles, for the sibling system's hub."""
JOB_PREFIX = "dago:job:"
CANCELLED_JOB_PREFIX = "dago:executor:cancelled:"
"""And a job's id: it is not wanted any more; a document like a graph's."""
UNWRITTEN_JOBS = "dago:history:jobs"
"""Sorted set: keys of jobs' records that are not in the database yet → since when (ms). Such records don't expire."""
HISTORY_WRITER = "dago:history:writer"
"""String: the pool that writes into the database now."""
PROGRESS_STREAM = "dago:events:node.progress"
GRAPH_EVENTS = "dago:events:graph.events"
"""Stream: what happens to runs as a whole, for all of them."""
STATE_PREFIX = "dago:state:"
JOURNAL_PREFIX = "dago:journal:"
REGISTRY_PREFIX = "dago:workers:"
FAILED_PREFIX = "dago:executor:failed:"
"""And a graph's id: hash, node → stream and data of the item with which it has failed, as long as the state is kept."""
IDENTITY_PREFIX = "dago:executor:identity:"

THROTTLE_PREFIX = "dago:throttle:"
BREAKER_PREFIX = "dago:breaker:"
"""And kind, place and name of a tool or its server: how its last calls went; see breakers.lua."""
AWAITED = "dago:executor:awaited"
"""Set: keys of what items wait for, or what holds callers back now; see waits.lua."""
LIMIT_PREFIX = "dago:limit:"
LIMITS = "dago:executor:limits"
"""Hash: limit that items wait for → how many at once; see limits.lua."""
TURNS = "dago:executor:turns"
"""Hash: line → the turn in which it was served last."""
PLACES = "dago:executor:places"
"""Hash: what has places of limits, and of which."""
PARKED = "dago:executor:parked"
"""Hash: what waits; see waits.lua."""
PARKED_COUNTS = "dago:executor:parked:counts"
"""Hash: stream → how many of its entries wait."""
WORKED_PREFIX = "dago:executor:worked:"
"""And provider:account: hash, model → when a call of it by that key was last known to be answered (ms)."""
POOLS = "dago:executor:pools"
"""Set: pools that say which tools they have."""
OFFERS_PREFIX = "dago:executor:offers:"
"""And a pool: hash, "tool <name>" and "stream <name>" of what it has and serves."""
OFFER_PREFIX = "dago:offer:"
"""And a digest: hash, names of tools that items wait for together; see offers.lua."""
VERSION_PREFIX = "dago:version:"
"""And a layout: what items of runs wait for that a newer program has stored; see versions.lua."""
DUE = "dago:time:due"
"""What items wait for that are due at a time; see waits.lua."""
SWEEPER_PREFIX = "dago:executor:sweeper:"
"""And a stream: whose keeper looks through what is pending there now."""
THROTTLED_CHANNEL = "dago:executor:throttled"
RELEASED_CHANNEL = "dago:executor:released"
DELTAS_CHANNEL = "dago:executor:deltas"
"""Channel: what nodes show while they run, of all graphs; see `deltas_channel`."""
MARKERS = "dago:executor:settled"
"""Hash: consumer → what it settled last, so that a repeated settle finds its own commit."""
SETTLED_PREFIX = "dago:executor:settled:"
"""And stream/entry: who settled it, kept for a while if its graph's state can't tell."""
RESETS = "dago:executor:resets"
"""Hash: stream → the last id that had been delivered when its group was lost and made anew."""
LAST_READ = "dago:executor:last"
"""Hash: stream → the last id that was delivered; kept only if settled entries are not deleted."""


UNCOUNTED = ":forgiven"  # as older pools on the same Redis have it
"""After a stream: see `uncounted_key`."""


def deltas_channel(graph_id: str) -> str:
    """Channel: what a graph's nodes show while they run: models' texts and tool calls, progress of tools."""
    return f"{DELTAS_CHANNEL}:{graph_id}"


def dead_stream(stream: str) -> str:
    """The dead letters of *stream*."""
    return f"{stream}:dead"


def uncounted_key(stream: str) -> str:
    """Hash: entry → deliveries of it that are not held against it."""
    return stream + UNCOUNTED


def own_journal(stream: str, entry: str) -> str:
    """The journal of an item that has no name but its entry."""
    return f"{JOURNAL_PREFIX}{stream}/{entry}"


# Runs. All keys of a shard's runs carry its tag, so that a script may touch them together: the shard's number stands in
# the last three hex digits of a run's id, and shard 0 shares its slot with the plain work stream.


def shard_of(graph_id: str) -> int:
    """Read the shard off a run's id."""
    return int(graph_id[-3:], 16)


def shard_prefix(shard: int = 0) -> str:
    """Answer what all keys of a shard begin with."""
    return "dago:{executor.work}:" if shard == 0 else f"dago:{{{shard}}}:"


def run_key(graph_id: str) -> str:
    """Hash: the head of a run; its other keys begin with it."""
    return f"{shard_prefix(shard_of(graph_id))}run:{graph_id}"


def run_journal(graph_id: str, node: str, epoch: int, attempt: int) -> str:
    """List: what an attempt of a run's node has done."""
    return f"{run_key(graph_id)}:journal:{node}:{epoch}.{attempt}"


def live_channel(graph_id: str) -> str:
    """Channel: the seq of a run's last event, whenever there are new ones."""
    return f"{shard_prefix(shard_of(graph_id))}live:{graph_id}"


def steps_stream(shard: int = 0) -> str:
    """Stream: runs that have more to do than one script may."""
    return f"{shard_prefix(shard)}steps"


def timers_key(shard: int = 0) -> str:
    """Sorted set: run, node, kind, epoch and attempt → when it is due (ms)."""
    return f"{shard_prefix(shard)}timers"


def looks_key(shard: int = 0) -> str:
    """Sorted set: run → when it is to be looked at next (ms)."""
    return f"{shard_prefix(shard)}looks"


def hurry_key(shard: int = 0) -> str:
    """String: up to which of these times all runs are to be looked at at once, since Redis may have lost something."""
    return f"{shard_prefix(shard)}looks:hurry"


def listing_key(status: str = "", shard: int = 0) -> str:
    """Sorted set: run → when it was submitted (ms); all, or those of a status."""
    return f"{shard_prefix(shard)}runs:{status}" if status else f"{shard_prefix(shard)}runs"


def expiries_key(shard: int = 0) -> str:
    """Sorted set: ended run → when it expires (ms)."""
    return f"{shard_prefix(shard)}expiries"


def idempotency_key(digest: str, shard: int = 0) -> str:
    """String: the run that an Idempotency-Key has made, the digest of its body, when."""
    return f"{shard_prefix(shard)}idempotency:{digest}"


TAKEN_STREAMS = (steps_stream(), *WORK_STREAMS)
"""All that workers take from, what runs have left to do first."""
TIMERS_CHANNEL = timers_key()
"""Channel: ms until a timer is due that was just set."""
