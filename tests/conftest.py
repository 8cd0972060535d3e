"""Fixtures for all tests; `tests/kit/__init__.py` lists them."""

from __future__ import annotations

import gc
import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from _pytest.nodeid import coerce_node_id

from tests.kit import EverythingServer, ModelServer, Pool, PostgresServer, Proxy, RedisServer, need
from tests.kit.effort import register_profile

OURS = (
    "API",
    "CTL_",
    "DATABASE_URL",
    "DAGO_",
    "DELETE_",
    "DRAIN_",
    "ENV_FILE",
    "FAILURES_",
    "HEALTH_",
    "LEASE",
    "LLM_",
    "LOG_",
    "MAX_",
    "MCP_",
    "NODE_TIMEOUT",
    "OTEL_",
    "REDIS_",
    "RESULTS_",
    "ROLES",
    "DEFAULT_MODEL",
    "LIMITS",
    "STATE_",
    "TOOL_",
    "WORKER",
)

register_profile()


def pytest_configure(config: pytest.Config) -> None:
    """Start from no settings at all, whatever the person running the tests has set."""
    gc.disable()  # until all is collected: two SDKs make half a million objects, which stay
    config.addinivalue_line("markers", "unit(*lines, **settings): changes to the systemd unit and its settings file")
    config.addinivalue_line("markers", "needs(*names): real counterparts this test can't do without")
    config.addinivalue_line("markers", "cold: pools are started as a person starts them; see tests/kit/warm_pool.py")
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """
    Name each item's group in its id, so that a group stays with one process.

    pytest-xdist 3.8 means to, but writes an attribute that pytest 9.2 does not read any more.
    """
    if not getattr(config.option, "loadgroup", False):
        return
    for item in items:
        groups = sorted({str(mark.args[0]) for mark in item.iter_markers("xdist_group")})
        suffix = f"@{'_'.join(groups)}"
        if groups and not item.nodeid.endswith(suffix):
            item._id = coerce_node_id(item.nodeid + suffix)


def pytest_collection_finish() -> None:
    """Leave what was imported out of all later collections of garbage: they have nothing to find there."""
    gc.freeze()
    gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail with REQUIRE_REAL=1, what can't run here; say how pools are to be started."""
    Pool.warm = item.get_closest_marker("cold") is None
    for marker in item.iter_markers("needs"):
        need(*marker.args)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Say by the status that nothing was shown where all that was asked for could not run here."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or session.exitstatus != pytest.ExitCode.OK:
        return
    if reporter.stats.get("skipped") and not reporter.stats.get("passed"):
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what did not run and why: a skipped test is no passed one. And what tests have measured."""
    passed = terminalreporter.getreports("passed")
    measured = [str(value) for report in passed for name, value in report.user_properties if name == "took"]
    if measured:
        terminalreporter.section("measured")
    for line in measured:
        terminalreporter.write_line(line)
    skipped = terminalreporter.getreports("skipped")
    reasons: dict[str, list[str]] = {}
    for report in skipped:
        where = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons.setdefault(where.removeprefix("Skipped: "), []).append(report.nodeid)
    if reasons:
        terminalreporter.section("could not run here")
    for reason, tests in sorted(reasons.items()):
        terminalreporter.write_line(f"{len(tests)} × {reason}")
        for test in tests:
            terminalreporter.write_line(f"    {test}")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: unix sockets' names may not be longer than 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ex-") as path:
        yield Path(path)


@pytest.fixture
def place(folder: Path) -> Callable[[str], Path]:
    """Make one more folder in *folder*."""
    counts: dict[str, int] = {}

    def make(name: str) -> Path:
        counts[name] = counts.get(name, 0) + 1
        path = folder / f"{name}{counts[name]}"
        path.mkdir()
        return path

    return make


@pytest.fixture
def start_server(place: Callable[[str], Path]) -> Iterator[Callable[..., RedisServer]]:
    """Start servers with options: `start_server("redis", aof=True, …)`."""
    with ExitStack() as started:

        def start(kind: str = "redis", **options: Any) -> RedisServer:
            server = RedisServer(place(kind), kind, **options)  # type: ignore[arg-type]
            started.callback(server.close)
            return server

        yield start


@pytest.fixture
def redis_server(start_server: Callable[..., RedisServer]) -> RedisServer:
    """A Redis of its own."""
    return start_server("redis")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL for all tests of this process; each takes a database of its own, by `postgres_server.database()`."""
    started = PostgresServer()
    yield started
    started.close()


@pytest.fixture
def valkey_server(start_server: Callable[..., RedisServer]) -> RedisServer:
    """A Valkey of its own."""
    return start_server("valkey")


@pytest.fixture(params=["redis", "valkey"])
def server(request: pytest.FixtureRequest, start_server: Callable[..., RedisServer]) -> RedisServer:
    """Both kinds, one after the other."""
    return start_server(request.param)


@pytest.fixture
def model_server(place: Callable[[str], Path]) -> Iterator[ModelServer]:
    """A model server that answers what it is told to."""
    started = ModelServer(place("model"))
    yield started
    started.close()


@pytest.fixture
def everything_http(place: Callable[[str], Path]) -> Iterator[EverythingServer]:
    """`server-everything` over Streamable HTTP."""
    started = EverythingServer(place("mcp"))
    yield started
    started.close()


@pytest.fixture
def everything_sse(place: Callable[[str], Path]) -> Iterator[EverythingServer]:
    """`server-everything` over SSE."""
    started = EverythingServer(place("mcp"), "sse")
    yield started
    started.close()


@pytest.fixture
def mcp_config(place: Callable[[str], Path]) -> Callable[..., Path]:
    """Write a file for MCP_CONFIG: `mcp_config(time=time_stdio())`."""

    def write(**servers: dict[str, Any]) -> Path:
        path = place("config") / "mcp.json"
        path.write_text(json.dumps({"mcpServers": servers}))
        return path

    return write


@pytest.fixture
def proxy() -> Iterator[Callable[..., Proxy]]:
    """Put a proxy before a port of this machine."""
    with ExitStack() as started:

        def start(port: int) -> Proxy:
            made = Proxy(port)
            started.callback(made.close)
            return made

        yield start


@pytest.fixture
def executor(place: Callable[[str], Path]) -> Iterator[Callable[..., Pool]]:
    """Start the real program; see `tests/kit/__init__.py`."""
    with ExitStack() as started:

        def start(
            server: RedisServer | None = None,
            *,
            workers: int = 2,
            model: ModelServer | None = None,
            command: tuple[str, ...] = ("run",),
            wait: bool = True,
            **settings: str,
        ) -> Pool:
            env = {"WORKERS": str(workers), "WORKER_ID": f"test-{uuid.uuid4().hex[:8]}"}
            env |= server.env if server else {}
            env |= model.env if model else {}
            pool = Pool(place("pool"), command, {**env, **settings})
            started.callback(pool.close)
            return pool.wait_ready() if wait else pool

        yield start
