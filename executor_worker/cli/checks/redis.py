"""Is Redis there, does it know us, is it fit for a queue, and is our name free?"""

from __future__ import annotations

from collections.abc import Iterator

from executor_worker.cli.checks.finding import Finding, fix, from_error, ok
from executor_worker.cli.parts import connect, endpoint_of
from executor_worker.cli.pool_http import PoolView
from executor_worker.embedded import find_server
from executor_worker.errors import ConfigError, StreamError, StreamRefused, StreamUnavailable
from executor_worker.settings import Settings
from executor_worker.stream.link import Link
from executor_worker.stream.names import (
    COMPLETED_STREAM,
    FAILED_STREAM,
    GROUP,
    IDENTITY_PREFIX,
    MARKERS,
    REGISTRY_PREFIX,
    RELEASED_CHANNEL,
    STATE_PREFIX,
    WORK_STREAMS,
)

OLDEST = (7, 0)


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
        yield _refused(settings, error)
        return
    except StreamUnavailable as error:
        yield fix("REDIS_ADDR", f"{error}. Start Redis there, or correct REDIS_ADDR.")
        return
    try:
        yield from _server(link)
        yield _permissions(link)
    except StreamError as error:
        yield fix("REDIS_ADDR", f"{error}. See what is wrong with this Redis.")
    finally:
        link.close()


def _embedded() -> Finding:
    try:
        return ok("REDIS_ADDR", f"embedded: {find_server()} will be started")
    except ConfigError as error:
        return from_error(error)


def _refused(settings: Settings, error: StreamRefused) -> Finding:
    said = str(error)
    if "NOAUTH" in said or ("WRONGPASS" in said and not settings.redis_pass and "@" not in settings.redis_addr):
        return fix("REDIS_PASS", f"{endpoint_of(settings)} wants a password; set REDIS_PASS or REDIS_PASS_FILE.")
    if "WRONGPASS" in said or "without any password configured" in said:
        return fix("REDIS_PASS", f"{said}. Correct REDIS_USER and REDIS_PASS.")
    return fix("REDIS_ADDR", f"{said}.")


def _server(link: Link) -> Iterator[Finding]:
    facts = _info(link)
    name = "Valkey" if facts.get("server_name") == "valkey" else "Redis"
    version = facts.get("valkey_version") or facts.get("redis_version", "")
    where = f"{link.endpoint} answers: {name} {version or 'of an unknown version'}"
    if version and name == "Redis" and _numbers(version) < OLDEST:
        yield fix("REDIS_ADDR", f"{where}; it must be Redis 7.0 or newer, or Valkey.")
    else:
        yield ok("REDIS_ADDR", where)
    if facts.get("role", "master") != "master":
        yield fix(
            "REDIS_ADDR", f"{link.endpoint} is a replica and takes no writes; name the primary, or its sentinels."
        )
    yield _eviction(facts)


def _info(link: Link) -> dict[str, str]:
    """Read INFO; empty where this user may not."""
    replies = link.batch([("INFO", "server"), ("INFO", "memory"), ("INFO", "replication")])
    text = b"\n".join(reply for reply in replies if isinstance(reply, bytes)).decode("utf-8", "replace")
    return dict(line.strip().split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))


def _eviction(facts: dict[str, str]) -> Finding:
    policy = facts.get("maxmemory_policy")
    if policy is None:
        return ok("maxmemory-policy", "unknown: this user may not ask; it has to be noeviction")
    if policy == "noeviction":
        return ok("maxmemory-policy", "noeviction")
    advice = "run `CONFIG SET maxmemory-policy noeviction` and put it into redis.conf."
    return fix("maxmemory-policy", f"{policy} lets Redis delete queued items and states when memory is short; {advice}")


def _permissions(link: Link) -> Finding:
    """
    Send what the pool sends, with arguments that make each command fail or do nothing.

    Permissions are looked at first: who may not, is told so; who may, gets another error, or changes nothing.
    """
    probes = list(_probes())
    denied = [
        " ".join(str(word) for word in probe[:2])
        for probe, reply in zip(probes, link.batch(probes), strict=True)
        if isinstance(reply, StreamError) and "NOPERM" in str(reply)
    ]
    if not denied:
        return ok("permissions", "this user may do all that is needed")
    shown = ", ".join(denied[:6]) + (f" and {len(denied) - 6} more" if len(denied) > 6 else "")
    keys = "~executor.work* ~dago:* &dago:*"
    advice = f"as an administrator: ACL SETUSER <user> {keys} +@read +@write +@stream +@scripting +@pubsub +@connection"
    return fix("REDIS_USER", f"this user may not {shown}; {advice} +info +role.")


def _probes() -> Iterator[tuple[str, ...]]:
    for stream in WORK_STREAMS:
        yield "XREADGROUP", "GROUP", GROUP, "check", "STREAMS", stream, "no-id"
        yield "XACK", stream, GROUP, "no-id"
        yield "XDEL", stream, "no-id"
        yield "XPENDING", stream, GROUP, "no-id", "no-id", "1"
        yield "XCLAIM", stream, GROUP, "check", "no-time", "0-1"
        yield "XAUTOCLAIM", stream, GROUP, "check", "no-time", "0-1"
        yield "XGROUP", "CREATE", stream, GROUP, "no-id"
        yield "XADD", stream, "0-0", "data", ""
        yield "XADD", f"{stream}:dead", "0-0", "data", ""
    for stream in (COMPLETED_STREAM, FAILED_STREAM):
        yield "XADD", stream, "0-0", "data", ""
        yield "XTRIM", stream, "MAXLEN", "no-number"
        yield "XINFO", "GROUPS", stream
    yield "GET", f"{STATE_PREFIX}check"
    for prefix in (STATE_PREFIX, REGISTRY_PREFIX, IDENTITY_PREFIX):
        yield "SET", f"{prefix}check", "", "EX", "no-number"
    yield "HDEL", MARKERS, ""
    yield "HINCRBY", MARKERS, "", "no-number"
    yield "EVAL", "return 1", "no-number"
    yield "EVALSHA", "0" * 40, "0"
    yield "SCAN", "no-cursor"
    yield "CLIENT", "ID"
    yield "CLIENT", "UNBLOCK", "no-number"
    yield "SUBSCRIBE", RELEASED_CHANNEL  # the last: the connection is of no other use after it


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
