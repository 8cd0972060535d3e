"""Checks that need nobody but this machine: spelling, timeouts, paths, the port."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from executor_worker.cli.checks.finding import Finding, fix, ok
from executor_worker.cli.status.pool_http import PoolView
from executor_worker.settings import Settings

SHORTEST_LEASE_S = 3.0


def check_names(settings: Settings) -> Iterator[Finding]:
    for problem in settings.unknown:
        name, _, rest = problem.partition(" ")
        yield fix(name, rest)
    if not settings.unknown:
        yield ok("settings", "all are understood, none looks misspelt")


def check_timeouts(settings: Settings) -> Iterator[Finding]:
    """Each limit has to end before the one around it, or it never gets to say what was wrong."""
    problems = [
        fix(name, f"{inner:g} s is longer than {outer_name} ({outer:g} s), which ends it first; {advice}.")
        for name, inner, outer_name, outer, advice in (
            ("TOOL_TIMEOUT", settings.tool_timeout, "NODE_TIMEOUT", settings.node_timeout, "lower it, or raise that"),
            ("LLM_TIMEOUT", settings.llm_timeout, "NODE_TIMEOUT", settings.node_timeout, "lower it, or raise that"),
            ("NODE_TIMEOUT", settings.node_timeout, "STATE_TTL", settings.state_ttl, "raise STATE_TTL"),
        )
        if inner > outer
    ]
    if settings.lease < SHORTEST_LEASE_S:
        advice = f"set it to {SHORTEST_LEASE_S:g}s or more"
        problems.append(fix("LEASE", f"{settings.lease:g} s leaves no time for a renewal that is late; {advice}."))
    yield from problems
    if not problems:
        nested = f"LLM {settings.llm_timeout:g} s, tool {settings.tool_timeout:g} s ≤ node {settings.node_timeout:g} s"
        yield ok("timeouts", f"{nested}; lease {settings.lease:g} s, drain {settings.drain_timeout:g} s")


def check_paths(settings: Settings) -> Iterator[Finding]:
    if settings.log_file:
        yield _log_file(Path(settings.log_file))
    if settings.embedded:
        yield _temporary_folder()


def _log_file(path: Path) -> Finding:
    if path.is_dir():
        return fix("LOG_FILE", f"{str(path)!r} is a folder; name a file in it.")
    there = path if path.exists() else path.parent
    if not there.exists():
        return fix("LOG_FILE", f"the folder {str(there)!r} does not exist; make it, or name another.")
    if not os.access(there, os.W_OK):
        return fix("LOG_FILE", f"{str(there)!r} can't be written to by this user; change its owner, or name another.")
    return ok("LOG_FILE", f"{path} can be written to")


def _temporary_folder() -> Finding:
    try:
        with tempfile.TemporaryDirectory() as folder:
            return ok("TMPDIR", f"{Path(folder).parent} can be written to")
    except OSError as error:
        return fix("TMPDIR", f"no temporary folder can be made ({error.strerror}); name one that can be written to.")


def check_port(settings: Settings, pool: PoolView) -> Iterator[Finding]:
    """A port that is taken is right where it is our own pool that has it."""
    if not settings.health_port:
        return
    address = f"{settings.health_host}:{settings.health_port}"
    if pool.health is not None:
        owner = pool.health["worker_id"]
        if owner == settings.worker_id:
            yield ok("HEALTH_PORT", f"the pool {owner} runs here and answers at {address}")
        else:
            yield fix("HEALTH_PORT", f"the pool {owner} has {address} already; choose another, or 0 for any free one.")
        return
    problem = _can_listen(settings.health_host, settings.health_port)
    if problem:
        yield fix("HEALTH_PORT", f"{address} can't be listened at ({problem}); choose another, or 0 for any free one.")
    else:
        yield ok("HEALTH_PORT", f"{address} is free")


def _can_listen(host: str, port: int) -> str:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(family, kind, protocol)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return ""
