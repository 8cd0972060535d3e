"""Redis server facts: its version, its persistence, and what it lets this user do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from executor_worker.broker.connection.link import Link
from executor_worker.broker.names import (
    COMPLETED_STREAM,
    GROUP,
    MARKERS,
    REGISTRY_PREFIX,
    RELEASED_CHANNEL,
    STATE_PREFIX,
    WORK_STREAMS,
    uncounted_key,
)
from executor_worker.errors import StreamError, StreamRefused

OLDEST = (7, 0)
PROBES: tuple[tuple[str, ...], ...] = (
    ("EVALSHA", "0" * 40, "1", WORK_STREAMS[0]),
    ("XREADGROUP", "GROUP", GROUP, "x", "STREAMS", *WORK_STREAMS, ">", ">"),
    ("XGROUP", "CREATE", WORK_STREAMS[0], GROUP, "0", "MKSTREAM"),
    ("XADD", COMPLETED_STREAM, "*", "data", "x"),
    ("XADD", WORK_STREAMS[0] + ":dead", "*", "data", "x"),
    ("XTRIM", COMPLETED_STREAM, "MAXLEN", "1"),
    ("GET", STATE_PREFIX + "x"),
    ("SET", STATE_PREFIX + "x", "x"),
    ("SET", REGISTRY_PREFIX + "x", "x"),
    ("HSET", MARKERS, "x", "x"),
    ("HRANDFIELD", uncounted_key(WORK_STREAMS[0]), "1"),
    ("CLIENT", "UNBLOCK", "1"),
    ("PUBLISH", RELEASED_CHANNEL, "x"),
    ("SUBSCRIBE", RELEASED_CHANNEL),
)


@dataclass(frozen=True, slots=True)
class Server:
    """
    Attributes:
        name: redis or valkey.
        version: Of Redis, or of the Redis a Valkey is compatible with.
        shown: Its own version, for people.
        maxmemory: Bytes; 0 = no limit.
        policy: What happens when memory is full; anything but noeviction loses items.
        durable: Whether a restart finds what was acknowledged: an append-only file.
        saves: Whether snapshots are written now and then; None: the user may not ask.
        role: master or slave.
        used_memory: Bytes.
        unwritten: Its last write to disk failed; it refuses ours until one succeeds.
    """

    name: str
    version: tuple[int, ...]
    shown: str
    maxmemory: int
    policy: str
    durable: bool
    saves: bool | None
    role: str
    used_memory: int
    unwritten: bool

    @property
    def full(self) -> bool:
        return 0 < self.maxmemory <= self.used_memory

    @property
    def old(self) -> bool:
        return self.version < OLDEST


def describe(link: Link) -> Server:
    """
    Ask the server what it is.

    Raises:
        StreamUnavailable: No reply.
        StreamRefused: INFO is not permitted.
    """
    facts: dict[str, str] = {}
    for line in link.call("INFO").decode("utf-8", "replace").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            facts[name] = value.strip()
    redis = facts.get("redis_version", "0")
    saves = link.batch([("CONFIG", "GET", "save")])[0]
    return Server(
        name=facts.get("server_name", "valkey" if "valkey_version" in facts else "redis"),
        version=tuple(int(part) for part in redis.split(".") if part.isdigit()),
        shown=facts.get("valkey_version", redis),
        maxmemory=int(facts.get("maxmemory", 0)),
        policy=facts.get("maxmemory_policy", ""),
        durable=facts.get("aof_enabled") == "1",
        saves=bool(saves[1].strip()) if isinstance(saves, list) and len(saves) == 2 else None,
        role=facts.get("role", ""),
        used_memory=int(facts.get("used_memory", 0)),
        unwritten="err" in (facts.get("aof_last_write_status"), facts.get("rdb_last_bgsave_status")),
    )


def connections(link: Link) -> tuple[int, int] | None:
    """
    Ask how many clients are connected, and how many may be; None: this user may not ask, or it does not say.

    Raises:
        StreamUnavailable: No reply.
    """
    (reply,) = link.batch([("INFO", "clients")])
    if not isinstance(reply, bytes):
        return None
    facts = dict(line.partition(b":")[::2] for line in reply.split(b"\r\n"))
    try:
        return int(facts[b"connected_clients"]), int(facts[b"maxclients"])
    except (KeyError, ValueError):
        return None


def forbidden(link: Link, probes: Sequence[Sequence[str]] = PROBES) -> list[str] | None:
    """
    Ask which of the commands we need the user may not give; nothing of it is done.

    Returns:
        What the server says of each; None if the user may not even ask.

    Raises:
        StreamUnavailable: No reply.
    """
    try:
        user = link.call("ACL", "WHOAMI")
    except StreamRefused:
        return None
    answers = link.batch([("ACL", "DRYRUN", user, *probe) for probe in probes])
    if any(isinstance(answer, StreamError) for answer in answers):
        return None
    return [answer.decode("utf-8", "replace") for answer in answers if answer != b"OK"]
