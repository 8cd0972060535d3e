"""
Kit of the tests: real servers, real processes, conditions to wait for. No test double lives here.

Fixtures (`tests/conftest.py`); each starts what it names and ends it after the test:

    redis_server      a Redis of its own, empty                     -> RedisServer
    valkey_server     a Valkey of its own, empty                    -> RedisServer
    server            one after the other: the test runs on both    -> RedisServer
    postgres_server   a PostgreSQL for the session                  -> PostgresServer
    start_server      start_server("redis", aof=True, password="s", tls=True, maxmemory="8mb", extra=[…])
    model_server      aimock, told what to answer by `.answer(…)`, `.calls_tool(…)`, `.fail_next(429)` -> ModelServer
    everything_http   MCP `server-everything` over Streamable HTTP   -> EverythingServer; everything_sse likewise
    mcp_config        mcp_config(time=time_stdio(), every=everything_stdio()) writes a file for MCP_CONFIG -> Path
    executor          executor(redis_server, workers=2, model=model_server, TOOL_MODULES="…") starts
                      `executor-worker run`, waits until it is ready                                   -> Pool
                      (wait=False doesn't wait; command=("run", "--embedded") runs something else)
    proxy             proxy(port) puts a bad line before a server                                      -> Proxy

After a test with `executor` nothing the program started may live, or the test fails.

Without a fixture: `wait_until(condition, seconds, message)`, `holds_for(condition, seconds)`, `free_port()`,
`Stopwatch()`, `waited_for_others()`, `Process`, `alive(pid)`, `state_of(pid)`, `descendants(pid)`,
`own_name("pool")`.

    @pytest.mark.needs("redis", "aimock", "everything", "mcp-time", "node", "valkey", "root", "unshare", "postgres",
                       "container-engine", "container-python", "systemd")
        says what a test can't do without (the fixtures say it themselves). Where it is missing the test is skipped
        and listed with the reason; where REQUIRE_REAL=1 is set it fails. `cannot_run(reason)` does so from within.
    @pytest.mark.xdist_group("quiet")
        tests that measure time: they run one after the other.
    @pytest.mark.cold
        tests of a pool's start, memory or environment: it is executed, not forked from the program already imported.
"""

from tests.kit.counterparts import cannot_run, missing, need
from tests.kit.mcp_servers import EverythingServer, everything_stdio, time_stdio
from tests.kit.model_server import ModelServer
from tests.kit.pool import PROGRAM, Pool
from tests.kit.postgres import PostgresServer
from tests.kit.processes import Process, alive, command_line, descendants, kill_all, marked, own_name, state_of
from tests.kit.proxy import Proxy
from tests.kit.redis_servers import RedisServer
from tests.kit.waiting import Stopwatch, free_port, holds_for, port_answers, wait_until, waited_for_others

__all__ = [
    "PROGRAM",
    "EverythingServer",
    "ModelServer",
    "Pool",
    "PostgresServer",
    "Process",
    "Proxy",
    "RedisServer",
    "Stopwatch",
    "alive",
    "cannot_run",
    "command_line",
    "descendants",
    "everything_stdio",
    "free_port",
    "holds_for",
    "kill_all",
    "marked",
    "missing",
    "need",
    "own_name",
    "port_answers",
    "state_of",
    "time_stdio",
    "wait_until",
    "waited_for_others",
]
