"""Checks that need nothing but this machine: spelling, timeouts, paths, the port."""

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
from executor_worker.settings.sources import settings_file, settings_path

SHORTEST_LEASE_S = 3.0
LOOPBACK = ("localhost", "::1")


def check_names(settings: Settings) -> Iterator[Finding]:
    for problem in settings.unknown:
        name, _, rest = problem.partition(" ")
        yield fix(name, rest)
    for one in settings.overridden:
        yield fix(one.ignored, one.problem)
    if not settings.unknown:
        yield ok("settings", "all are understood, none looks misspelt")
    for sentence in settings.without_effect:
        yield ok("settings", sentence)


def check_settings_file() -> Iterator[Finding]:
    """Say which file was read: one in another folder is as good as none."""
    path = settings_path(os.environ, Path.cwd())
    if path.is_file():
        count = len(settings_file(os.environ, Path.cwd(), []))
        yield ok("ENV_FILE", f"{path} was read: {count} {'variable' if count == 1 else 'variables'}")
    else:
        yield ok("ENV_FILE", f"no settings file was read: ENV_FILE is not set, and there is no {path}")


def check_exposure(settings: Settings) -> Iterator[Finding]:
    """Check what others on the network may see and do."""
    if settings.health_port is not None:
        yield ok("HEALTH_HOST", _pages(settings))
    if any(word.partition(":")[0] == "*" for word in settings.http_allow):
        danger = "models may reach every address that this machine reaches on the internet, and send anything there"
        yield fix("HTTP_ALLOW", f"* is in it: {danger}; name the hosts that are needed.")


def check_api(settings: Settings) -> Iterator[Finding]:
    """Check what of the API travels where others may listen."""
    host = settings.dago_http_host
    if not settings.api_tokens or host in LOOPBACK or host.startswith("127."):
        return
    if settings.api_tls_cert:
        yield ok("API_TLS_CERT", f"tokens and what they open travel encrypted at {host}")
    else:
        fault = f"tokens travel unencrypted to {host}, where other machines reach it"
        advice = "set API_TLS_CERT and API_TLS_KEY, or listen at 127.0.0.1 behind a proxy that has a certificate"
        yield fix("API_TLS_CERT", f"{fault}; {advice}.")


def _pages(settings: Settings) -> str:
    host = settings.health_host
    if host in LOOPBACK or host.startswith("127."):
        return f"{host}: all pages are for this machine only"
    if settings.health_token:
        return (
            f"{host}: /workers, /status and /metrics are for who brings HEALTH_TOKEN, the others for all who reach it"
        )
    return f"{host}: /workers and /status are for this machine only, /metrics and probes for all who reach it"


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
    there = next(one for one in (path, *path.absolute().parents) if one.exists())
    if there != path and not there.is_dir():
        return fix("LOG_FILE", f"{str(there)!r} is no folder, so that no file can be in it; name another.")
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
    """A port that is taken is right if it is our own pool that has it."""
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
