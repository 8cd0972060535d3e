"""Reasons why a node is not running: what its item waits for while no worker holds it."""

from __future__ import annotations

from collections.abc import Mapping

from executor_worker.broker.connection.replies import checked
from executor_worker.broker.graphs.requests import Request, Steps
from executor_worker.broker.names import (
    BREAKER_PREFIX,
    DUE,
    GROUP,
    LIMIT_PREFIX,
    OFFER_PREFIX,
    PARKED,
    THROTTLE_PREFIX,
    VERSION_PREFIX,
)
from executor_worker.broker.queue.consumers import GIVEN_BACK_MS
from executor_worker.envelopes.events import rfc3339

A_WORKER = "a worker"
_TIMED = (THROTTLE_PREFIX, BREAKER_PREFIX)
PAGE = 1000


def parked_reasons(base: str, nodes: Mapping[str, str]) -> Steps[dict[str, str]]:
    """
    Tell for what the items of nodes wait that no worker holds, though it may have begun one of them.

    Args:
        base: Of the run's keys.
        nodes: Statuses of those whose items are in a stream.
    """
    found: dict[str, str] = {}
    names = list(nodes)
    for at in range(0, len(names), PAGE):
        some = names[at : at + PAGE]
        (open_at,) = checked((yield [(b"HMGET", f"{base}:open", *some)]))
        places = {name: place for name, place in zip(some, open_at, strict=True) if place not in (None, b"-")}
        if not places:
            continue
        (parked,) = checked((yield [(b"HMGET", PARKED, *places.values())]))
        keys = {
            name: about.decode("utf-8", "replace").split("\t")[0]
            for name, about in zip(places, parked, strict=True)
            if about
        }
        until = yield from _until({key for key in keys.values() if key.startswith(_TIMED)})
        found |= {name: reason_of(key, until.get(key, "")) for name, key in keys.items()}
        begun = {name: place for name, place in places.items() if nodes[name] == "running" and name not in keys}
        found |= dict.fromkeys((yield from _given_back(begun)), A_WORKER)
    return found


def _given_back(places: Mapping[str, bytes]) -> Steps[list[str]]:
    """Name those of *places* (stream and entry) whose item was begun, and given back: nobody has it."""
    if not places:
        return []
    requests: list[Request] = []
    for place in places.values():
        stream, _, entry = place.rpartition(b" ")
        requests.append((b"XPENDING", stream, GROUP, entry, entry, 1))
    replies = yield requests
    rows = [reply[0] if isinstance(reply, list) and reply else None for reply in replies]  # a group that is lost: none
    return [name for name, row in zip(places, rows, strict=True) if row is not None and row[2] >= GIVEN_BACK_MS]


def _until(keys: set[str]) -> Steps[dict[str, str]]:
    """Tell until when what is held back by a time is."""
    if not keys:
        return {}
    requests: list[Request] = [(b"HGET", key, "not_before") for key in sorted(keys)]
    opens_ms = checked((yield requests))
    return {key: rfc3339(int(ms) / 1000) for key, ms in zip(sorted(keys), opens_ms, strict=True) if ms}


def reason_of(key: str, until: str = "") -> str:
    """Say for people what *key* stands for, of what items wait for; see waits.lua."""
    ends = f" until {until}" if until else ""
    if key.startswith(THROTTLE_PREFIX):
        provider, _, rest = key.removeprefix(THROTTLE_PREFIX).partition(":")
        return f"the throttled model {provider}/{rest.partition(':')[2]}{ends}"
    if key.startswith(BREAKER_PREFIX):
        kind, _, rest = key.removeprefix(BREAKER_PREFIX).partition(":")
        return f"the {kind} {rest.partition(':')[2]}, which does not answer{ends}"
    if key.startswith(LIMIT_PREFIX):
        return f"the limit {key.removeprefix(LIMIT_PREFIX).partition('|')[0]}"
    if key.startswith(OFFER_PREFIX):
        return "a pool that has its tools"
    if key.startswith(VERSION_PREFIX):
        return "a worker of a newer version"
    return "its next attempt" if key == DUE else A_WORKER
