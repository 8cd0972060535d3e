"""Is Redis there, does it know us, is it fit for a queue, and is our name free?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from executor_worker.broker.connection.advice import as_config_error
from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.permissions import rule
from executor_worker.broker.connection.server import Server, describe
from executor_worker.broker.connection.server_program import find_server
from executor_worker.broker.fleet.identity import BEAT_S, TTL_S, Identity, started_at
from executor_worker.broker.fleet.registry import registered
from executor_worker.broker.names import (
    AWAITED,
    COMPLETED_STREAM,
    FAILED_STREAM,
    GROUP,
    IDENTITY_PREFIX,
    MARKERS,
    QUEUE_PREFIX,
    REGISTRY_PREFIX,
    RELEASED_CHANNEL,
    SETTLED_PREFIX,
    STATE_PREFIX,
    THROTTLE_PREFIX,
    THROTTLED_CHANNEL,
    WORK_STREAMS,
    uncounted_key,
)
from executor_worker.broker.queue.backlog import backlog
from executor_worker.broker.queue.key_types import FIX, wrong_keys
from executor_worker.broker.queue.queues import known_streams, ranked, streams_of
from executor_worker.cli.checks.finding import Finding, fix, from_error, ok
from executor_worker.cli.status.pool_http import PoolView
from executor_worker.envelopes.queue_name import NOTHING
from executor_worker.errors import ConfigError, StreamError, StreamRefused, StreamUnavailable
from executor_worker.program.wiring import connect
from executor_worker.settings import Settings
from supervisor.keeper.loopback import is_loopback

# A supervisor that lives has beaten since.
SILENT_S = 2 * BEAT_S


def check_redis(settings: Settings, pool: PoolView) -> Iterator[Finding]:
    if settings.embedded:
        yield _embedded()
        return
    try:
        link = connect(settings)
    except ConfigError as error:
        yield from_error(error)
        return
    except StreamRefused as error:
        wrong = as_config_error(error)
        yield from_error(wrong) if wrong else fix("REDIS_ADDR", f"{error}.")
        return
    except StreamUnavailable as error:
        yield fix("REDIS_ADDR", f"{error}; start Redis there, or correct REDIS_ADDR.")
        return
    try:
        yield from _connected(link, settings, pool)
    except StreamError as error:
        yield fix("REDIS_ADDR", f"{error}. See what is wrong with this Redis.")
    finally:
        link.close()


def _connected(link: Link, settings: Settings, pool: PoolView) -> Iterator[Finding]:
    try:
        server = describe(link)
    except StreamRefused:
        yield ok("REDIS_ADDR", f"{link.endpoint} answers; this user may not ask what it is")
        yield ok("maxmemory-policy", "unknown: this user may not ask; it has to be noeviction")
    else:
        yield from _server(link, server)
        if server.role == "slave":
            return
    for problem in wrong_keys(link):
        yield fix("keys", f"{problem}. {FIX}")
    yield _name(link, settings, pool)
    yield from _queues(link, settings)
    yield _permissions(link, settings)


def _embedded() -> Finding:
    try:
        return ok("REDIS_ADDR", f"embedded: {find_server()} will be started")
    except ConfigError as error:
        return from_error(error)


def _server(link: Link, server: Server) -> Iterator[Finding]:
    where = f"{link.endpoint} answers: {server.name.capitalize()} {server.shown}"
    if server.old:
        yield fix("REDIS_ADDR", f"{where}; it must be Redis 7.0 or newer, or Valkey.")
    elif server.role == "slave":
        yield fix("REDIS_ADDR", f"{where}, but is a replica and takes no writes; name the primary, or its sentinels.")
    else:
        yield ok("REDIS_ADDR", where)
    yield _eviction(server)
    yield _durability(server)
    yield from _exposure(link)
    yield from _room(server)


def _durability(server: Server) -> Finding:
    """Report what a restart of Redis keeps: that is the operator's choice, so it is only said."""
    if server.durable:
        return ok("durability", "appendonly yes: a restart of Redis keeps what was settled")
    advice = "`appendonly yes` keeps it"
    if server.saves is None:
        return ok("durability", f"appendonly no, save unknown: a restart of Redis may lose items; {advice}")
    lost = "what came after the last snapshot" if server.saves else "all items, states and results"
    return ok("durability", f"appendonly no, save {'on' if server.saves else 'off'}: a crash loses {lost}; {advice}")


def _exposure(link: Link) -> Iterator[Finding]:
    """Check for a Redis that every host on the network may use, or that is spoken to in clear."""
    endpoint = link.endpoint
    if endpoint.path is not None or is_loopback(link.peer):
        return
    open_ = not (endpoint.password or endpoint.user)
    if open_ and endpoint.tls is None:
        fault = "takes no password and no TLS, and is not on this machine: who reaches it reads and writes all there is"
        yield fix("exposure", f"{endpoint} {fault}; set requirepass or ACL users, and REDIS_PASS, or use rediss://.")
    elif endpoint.tls is None:
        yield ok("exposure", f"{endpoint} takes a password, but no TLS: what goes there can be read on the way")


def _room(server: Server) -> Iterator[Finding]:
    """Does it take writes? A server that has no room still answers."""
    make_room = 'make room: docs/OPERATIONS.md, "Redis is full"'
    if server.full:
        sizes = f"{server.used_memory} of maxmemory's {server.maxmemory} bytes"
        yield fix("maxmemory", f"Redis uses {sizes} and takes no writes; raise maxmemory, or {make_room}.")
    if server.unwritten:
        yield fix("disk", f"Redis could not write to its disk the last time, and then takes no writes; {make_room}.")


def _eviction(server: Server) -> Finding:
    if server.policy == "noeviction":
        return ok("maxmemory-policy", "noeviction")
    danger = f"{server.policy} lets Redis delete items and states when memory is short"
    return fix(
        "maxmemory-policy", f"{danger}; run `CONFIG SET maxmemory-policy noeviction` and put it into redis.conf."
    )


def _name(link: Link, settings: Settings, pool: PoolView) -> Finding:
    """Is WORKER_ID free? A pool of that name that runs here is ours."""
    name = settings.worker_id
    if pool.health is not None and pool.health["worker_id"] == name:
        return ok("WORKER_ID", f"{name} runs here")
    flat, left_ms = link.batch([("HGETALL", f"{IDENTITY_PREFIX}{name}"), ("PTTL", f"{IDENTITY_PREFIX}{name}")])
    if not isinstance(flat, list) or not flat:
        return ok("WORKER_ID", f"{name} is free")
    holder = {key.decode(): value.decode("utf-8", "replace") for key, value in zip(flat[::2], flat[1::2], strict=True)}
    silent_s = TTL_S - left_ms / 1000
    who = f"a supervisor on {holder.get('host', '?')}, process {holder.get('pid', '?')}"
    if silent_s > SILENT_S or _died_here(holder):
        return ok("WORKER_ID", f"{name} is free: {who} had it and is gone")
    return fix(
        "WORKER_ID", f"{name} is taken: {who}, was seen {silent_s:.0f} s ago; give each supervisor its own name."
    )


def _died_here(holder: dict[str, str]) -> bool:
    me = Identity("check")
    here = all(holder.get(fact) == getattr(me, fact) for fact in ("host", "boot", "namespace"))
    pid = holder.get("pid", "")
    return here and pid.isdigit() and started_at(int(pid)) != holder.get("started")


def _queues(link: Link, settings: Settings) -> Iterator[Finding]:
    """Report the queues that this pool serves, and what waits in those that no pool serves."""
    try:
        streams = known_streams(link, settings.queues)
        waiting = {
            one.stream: one.depth for one in backlog(link, delete_settled=settings.delete_settled, streams=streams)
        }
        pools = [one.get("metadata", {}).get("pool", {}) for one in registered(link)]
    except StreamRefused:
        return
    served = {*settings.queues, *(queue for pool in pools for queue in pool.get("queues", ()))}
    depths = (
        f"{queue} ({sum(waiting.get(stream, 0) for stream in streams_of(queue))} to do)"
        for queue in settings.queues
        if queue != NOTHING
    )
    yield ok("QUEUES", ", ".join(depths) or "none: no graph work is taken")
    for stream, depth in waiting.items():
        queue = stream.removeprefix(QUEUE_PREFIX)
        if depth and queue != stream and queue not in served:
            many = "1 item waits" if depth == 1 else f"{depth} items wait"
            fault = f"{many} in the queue {queue}, which no pool on this Redis serves"
            yield fix("QUEUES", f"{fault}; add it to a pool's QUEUES, or correct `queue` in the nodes' configs.")


def _permissions(link: Link, settings: Settings) -> Finding:
    """
    Send what the pool sends, with arguments that make each command fail or do nothing.

    Permissions are looked at first: who may not, is told so; who may, gets another error, or changes nothing.
    """
    probes = list(_probes(dict.fromkeys((*WORK_STREAMS, *(one for rank in ranked(settings.queues) for one in rank)))))
    denied = [
        " ".join(str(word) for word in probe[:2])
        for probe, reply in zip(probes, link.batch(probes), strict=True)
        if isinstance(reply, StreamError) and "NOPERM" in str(reply)
    ]
    if not denied:
        return ok("permissions", "this user may do all that is needed")
    shown = ", ".join(denied[:6]) + (f" and {len(denied) - 6} more" if len(denied) > 6 else "")
    return fix("REDIS_USER", f"this user may not {shown}; let an administrator run `ACL SETUSER <user> {rule()}`.")


def _probes(streams: Iterable[str]) -> Iterator[tuple[str, ...]]:
    for stream in streams:
        yield "XREADGROUP", "GROUP", GROUP, "check", "STREAMS", stream, "no-id"
        yield "XACK", stream, GROUP, "no-id"
        yield "XDEL", stream, "no-id"
        yield "XPENDING", stream, GROUP, "no-id", "no-id", "1"
        yield "XCLAIM", stream, GROUP, "check", "no-time", "0-1"
        yield "XAUTOCLAIM", stream, GROUP, "check", "no-time", "0-1"
        yield "XGROUP", "CREATE", stream, GROUP, "no-id"
        yield "XADD", stream, "0-0", "data", ""
        yield "XADD", f"{stream}:dead", "0-0", "data", ""
        yield "HGET", uncounted_key(stream), ""
    for stream in (COMPLETED_STREAM, FAILED_STREAM):
        yield "XADD", stream, "0-0", "data", ""
        yield "XTRIM", stream, "MAXLEN", "no-number"
        yield "XINFO", "GROUPS", stream
    yield "GET", f"{STATE_PREFIX}check"
    for prefix in (STATE_PREFIX, REGISTRY_PREFIX, SETTLED_PREFIX):
        yield "SET", f"{prefix}check", "", "PX", "no-number"
    yield "HGETALL", f"{IDENTITY_PREFIX}check"
    yield "PEXPIRE", f"{IDENTITY_PREFIX}check", "no-number"
    yield "SMEMBERS", AWAITED
    yield "ZADD", f"{THROTTLE_PREFIX}check:calls", "no-number", ""
    yield "HDEL", MARKERS, ""
    yield "HINCRBY", MARKERS, "", "no-number"
    yield "EVAL", "return 1", "no-number"
    yield "EVALSHA", "0" * 40, "0"
    yield "SCAN", "no-cursor"
    yield "CLIENT", "ID"
    yield "CLIENT", "UNBLOCK", "no-number"
    yield "SUBSCRIBE", RELEASED_CHANNEL, THROTTLED_CHANNEL  # the last: the connection is of no other use after it
