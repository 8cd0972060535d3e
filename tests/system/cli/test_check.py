"""`check`: the mistakes it finds, one line each."""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.kit import ModelServer, Pool, RedisServer, free_port, own_name, time_stdio, wait_until
from tests.kit.paths import SERVERS
from tests.system.cli.conftest import Done, Run


def fixes(done: Done) -> dict[str, str]:
    """What is to be done, by subject."""
    lines = [line.removeprefix("fix ").partition(": ") for line in done.out.splitlines() if line.startswith("fix ")]
    return {subject: text for subject, _, text in lines}


def only(done: Done, subject: str) -> str:
    """The text of the one finding there is."""
    found = fixes(done)
    assert (done.status, list(found)) == (1, [subject]), done
    return found[subject]


def test_all_well_is_ok_on_every_line(run: Run, server: RedisServer) -> None:
    """Status 0; Redis and Valkey."""
    done = run("check", **server.env, HEALTH_PORT=str(free_port()))
    assert (done.status, done.err) == (0, "")
    assert all(line.startswith("ok  ") for line in done.out.splitlines())
    assert {line[4:].partition(":")[0] for line in done.out.splitlines()} >= {
        *("settings", "timeouts", "HEALTH_PORT", "REDIS_ADDR", "maxmemory-policy", "permissions", "WORKER_ID"),
        "LLM_PROVIDER",
    }


def test_a_module_that_ends_the_program_is_named(run: Run, folder: Path, redis_server: RedisServer) -> None:
    """By `check` among its findings, by `tools list` and the pool as wrong settings: never silence and status 0."""
    (folder / "deadly.py").write_text("import os\nos._exit(0)\n")
    settings = {**redis_server.env, "TOOL_MODULES": "deadly", "HEALTH_PORT": ""}
    assert "'deadly' ends the program (exit status 0)" in only(run("check", **settings), "TOOL_MODULES")
    for command in (("tools", "list"), ("run",)):
        done = run(*command, **settings)
        assert done.status == 78 and "'deadly' ends the program (exit status 0)" in done.err


def test_findings_come_as_json(run: Run) -> None:
    """For programs."""
    done = run("check", "--json", REDIS_ADDR="localhost:1")
    assert done.status == 1
    assert [one["subject"] for one in done.json if not one["ok"]] == ["REDIS_ADDR"]


def test_wrong_settings_are_all_named(run: Run) -> None:
    """Nothing else can be looked at: status 78."""
    done = run("check", WORKERS="many", LEASE="soon")
    assert (done.status, set(fixes(done))) == (78, {"WORKERS", "LEASE"})


def test_redis_down(run: Run) -> None:
    """The address is named."""
    assert "localhost:1" in only(run("check", REDIS_ADDR="localhost:1"), "REDIS_ADDR")


def test_a_redis_that_does_not_answer(run: Run, redis_server: RedisServer) -> None:
    """It accepts and says nothing: given up after five seconds."""
    redis_server.freeze()
    assert "no answer" in only(run("check", **redis_server.env), "REDIS_ADDR")


@pytest.mark.parametrize("given", ["", "wrong-secret"])
def test_password_missing_or_wrong(run: Run, start_server: Callable[..., RedisServer], given: str) -> None:
    """Never shown."""
    server = start_server("redis", password="right-secret")
    done = run("check", REDIS_ADDR=server.addr, REDIS_PASS=given)
    assert "Set REDIS_PASS or REDIS_PASS_FILE" in only(done, "REDIS_PASS")
    assert "-secret" not in done.out


def test_a_policy_that_evicts(run: Run, redis_server: RedisServer) -> None:
    """Items would vanish."""
    redis_server.client().config_set("maxmemory-policy", "allkeys-lru")
    assert "CONFIG SET maxmemory-policy noeviction" in only(run("check", **redis_server.env), "maxmemory-policy")


def test_a_redis_without_room(run: Run, redis_server: RedisServer) -> None:
    """It answers, and takes no writes: memory and disk are named, with where to read on."""
    client: Any = redis_server.client()
    client.set("large", os.urandom(2 << 20))
    resource.prlimit(redis_server.process.pid, resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    client.bgsave()
    wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 10, "the disk is full")
    client.config_set("maxmemory", "1")
    done = run("check", **redis_server.env)
    assert done.status == 1 and set(fixes(done)) == {"maxmemory", "disk"}
    assert all("OPERATIONS.md" in said for said in fixes(done).values())


def test_permissions_that_are_missing(run: Run, redis_server: RedisServer) -> None:
    """Named, with the rule that grants them; which is then enough. Nothing is changed by asking."""
    client: Any = redis_server.client()
    client.execute_command("ACL", "SETUSER", "worker", "on", ">some-password", "~*", "+@read", "+@connection", "+info")
    settings = {**redis_server.env, "REDIS_USER": "worker", "REDIS_PASS": "some-password"}
    said = only(run("check", **settings), "REDIS_USER")
    assert "may not XREADGROUP" in said
    rule = said.partition("ACL SETUSER <user> ")[2].rstrip("`.").split()
    client.execute_command("ACL", "SETUSER", "worker", "resetkeys", "resetchannels", "-@all", *rule)
    assert run("check", **settings).status == 0
    assert client.keys("*") == []


def test_a_replica(run: Run, start_server: Callable[..., RedisServer]) -> None:
    """It takes no writes."""
    primary, replica = start_server("redis"), start_server("redis")
    replica.client().replicaof("127.0.0.1", str(primary.port))
    assert "replica" in fixes(run("check", **replica.env))["REDIS_ADDR"]


@pytest.mark.parametrize("provider", ["anthropic", "openai", "gemini"])
def test_key_missing(run: Run, redis_server: RedisServer, provider: str) -> None:
    """Where the provider needs one: `run` would not start, so the status is that of `run`."""
    done = run("check", **redis_server.env, LLM_PROVIDER=provider, LLM_MODEL="m")
    assert (done.status, list(fixes(done))) == (78, ["LLM_API_KEY"]) and "it is not set" in done.out
    assert run("run", **redis_server.env, LLM_PROVIDER=provider).status == 78


def said(done: Done, subject: str) -> str:
    """What was seen of *subject*, which is right."""
    return next(line for line in done.out.splitlines() if line.startswith(f"ok  {subject}: "))


def test_which_settings_file_was_read(run: Run, folder: Path) -> None:
    """Its path, and how much is in it; or that there is none, and where it would be."""
    nowhere = {"REDIS_ADDR": "localhost:1"}
    assert f"there is no {folder}/.env" in said(run("check", **nowhere), "ENV_FILE")
    (folder / ".env").write_text("WORKERS=3\nLEASE=20s\n")
    assert f"{folder}/.env was read: 2 variables" in said(run("check", **nowhere), "ENV_FILE")
    (folder / "other").write_text("WORKERS=3\n")
    assert f"{folder}/other was read: 1 variable" in said(run("check", **nowhere, ENV_FILE="other"), "ENV_FILE")


def test_what_a_restart_of_redis_keeps(run: Run, server: RedisServer) -> None:
    """An append-only file, snapshots, nothing; it is only said."""
    client = server.client()
    assert "loses all items" in said(run("check", **server.env), "durability")
    client.config_set("save", "3600 1")
    assert "the last snapshot" in said(run("check", **server.env), "durability")
    client.config_set("appendonly", "yes")
    done = run("check", **server.env)
    assert "appendonly yes" in said(done, "durability") and done.status == 0


def test_a_tool_that_reaches_everything_is_a_finding(run: Run, redis_server: RedisServer) -> None:
    assert "name the hosts" in only(run("check", **redis_server.env, HTTP_ALLOW="api.example.com,*"), "HTTP_ALLOW")


def test_tokens_that_travel_openly_are_found(run: Run, redis_server: RedisServer) -> None:
    """Where other machines reach the API, and no certificate is named."""
    settings = {**redis_server.env, "HEALTH_PORT": "", "API_TOKENS": "ci:submit:word"}
    assert run("check", **settings).status == 0
    assert "API_TLS_KEY" in only(run("check", **settings, DAGO_HTTP_HOST="0.0.0.0"), "API_TLS_CERT")


def test_variables_of_the_original_are_no_mistakes(run: Run, redis_server: RedisServer) -> None:
    """They are named, and all is well."""
    done = run("check", **redis_server.env, HEALTH_PORT="", REDIS_POOL_SIZE="10")
    assert done.status == 0 and "ok  settings: REDIS_POOL_SIZE has no effect here" in done.out


def test_who_sees_the_pages_is_said(run: Run) -> None:
    """On this machine only, with a token, by all."""
    given = {"REDIS_ADDR": "localhost:1", "HEALTH_PORT": str(free_port())}
    assert "for all who reach it" in said(run("check", **given), "HEALTH_HOST")
    assert "HEALTH_TOKEN" in said(run("check", **given, HEALTH_TOKEN="word"), "HEALTH_HOST")
    assert "this machine only" in said(run("check", **given, HEALTH_HOST="127.0.0.1"), "HEALTH_HOST")


@pytest.mark.parametrize(("password", "level"), [("", "fix"), ("right-secret", "ok ")])
def test_a_redis_that_is_open_to_the_network(
    run: Run, start_server: Callable[..., RedisServer], password: str, level: str
) -> None:
    """By an address that is not loopback; one with a password is only said to be read on the way."""
    address = own_address()
    server = start_server("redis", password=password, extra=["--bind", "127.0.0.1", address, "--protected-mode", "no"])
    done = run("check", REDIS_ADDR=f"{address}:{server.port}", REDIS_PASS=password)
    assert [line[:3] for line in done.out.splitlines() if line[4:].startswith("exposure: ")] == [level]


def own_address() -> str:
    """An address of this machine that is not loopback."""
    found = {one.address for many in psutil.net_if_addrs().values() for one in many if one.family == socket.AF_INET}
    outside = sorted(address for address in found if not address.startswith("127."))
    if not outside:
        pytest.skip("this machine has no network")
    return outside[0]


def test_model_retired(run: Run, redis_server: RedisServer, model_server: ModelServer) -> None:
    """By what the SDK knows."""
    settings = {**redis_server.env, **model_server.env}
    done = run("check", **settings, LLM_MODEL="claude-sonnet-4-20250514")
    assert "retired" in fixes(done)["LLM_MODEL"]


def test_endpoint_dead(run: Run, redis_server: RedisServer) -> None:
    """Nobody listens there."""
    settings = {**redis_server.env, "LLM_PROVIDER": "ollama", "LLM_BASE_URL": "localhost:1", "LLM_MODEL": "m"}
    assert "localhost:1" in only(run("check", **settings), "LLM_BASE_URL")


def test_mcp_servers_dead_and_alive(run: Run, redis_server: RedisServer, mcp_config: Callable[..., Path]) -> None:
    """Each by itself: over HTTP, a command that is not there, and one that answers."""
    config = mcp_config(time=time_stdio(), gone={"command": "no-such-program"})
    done = run("check", **redis_server.env, MCP_CONFIG=str(config), MCP_SERVERS="far=http://localhost:1/mcp")
    said = [line for line in done.out.splitlines() if "server " in line]
    assert [line[:3] for line in sorted(said, key=lambda line: line.partition("server ")[2])] == ["fix", "fix", "ok "]
    assert done.status == 1


@pytest.mark.parametrize(
    ("settings", "subject"),
    [
        ({"MCP_CONFIG": "none.json"}, "MCP_CONFIG"),
        ({"TOOL_MODULES": "nowhere"}, "TOOL_MODULES"),
        ({"TOOL_TIMEOUT": "20m"}, "TOOL_TIMEOUT"),
        ({"LLM_TIMEOUT": "20m"}, "LLM_TIMEOUT"),
        ({"NODE_TIMEOUT": "2d"}, "NODE_TIMEOUT"),
        ({"LEASE": "1s"}, "LEASE"),
        ({"LOG_FILE": "/etc/passwd/log"}, "LOG_FILE"),
        ({"LOG_FILE": "."}, "LOG_FILE"),
        ({"LLM_MODLE": "x"}, "LLM_MODLE"),
    ],
)
def test_mistakes_of_this_machine(run: Run, redis_server: RedisServer, settings: dict[str, str], subject: str) -> None:
    """Tools that can't be had, timeouts that don't nest, paths that can't be written, unknown variables."""
    only(run("check", **redis_server.env, **settings), subject)


def test_each_server_is_found_under_its_own_variable(run: Run, redis_server: RedisServer, folder: Path) -> None:
    """MCP_SERVERS and MCP_CONFIG side by side."""
    (folder / "mcp.json").write_text('{"mcpServers": {"filed": {"url": "http://127.0.0.1:1/mcp"}}}')
    settings = {"MCP_SERVERS": "named=http://127.0.0.1:1/mcp", "MCP_CONFIG": "mcp.json"}
    done = run("check", **redis_server.env, **settings)
    found = fixes(done)
    assert found.keys() == {"MCP_SERVERS", "MCP_CONFIG"}, done
    assert "server named" in found["MCP_SERVERS"]
    assert "server filed" in found["MCP_CONFIG"]
    assert done.err == "", "what libraries say is not for the reader of a check"


def test_port_and_name_taken_by_another_pool(
    run: Run, redis_server: RedisServer, executor: Callable[..., Pool]
) -> None:
    """Our own pool is no finding: `check` is also run beside it."""
    name = own_name("first")
    pool = executor(redis_server, WORKER_ID=name)
    beside = {**redis_server.env, "HEALTH_HOST": "127.0.0.1"}
    assert run("check", **beside, WORKER_ID=name, HEALTH_PORT=str(pool.port)).status == 0
    assert "taken" in only(run("check", **beside, WORKER_ID=name, HEALTH_PORT=str(free_port())), "WORKER_ID")
    assert f"{name} has" in only(run("check", **beside, WORKER_ID="second", HEALTH_PORT=str(pool.port)), "HEALTH_PORT")
    pool.process.kill()
    done = run("check", **beside, WORKER_ID=name, HEALTH_PORT=str(free_port()))
    assert done.status == 0, done
    assert "had it and is gone" in done.out


def test_port_taken_by_another_program(run: Run, redis_server: RedisServer) -> None:
    """Which is no pool."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = str(stranger.getsockname()[1])
        done = run("check", **redis_server.env, HEALTH_HOST="127.0.0.1", HEALTH_PORT=port)
    assert "in use" in only(done, "HEALTH_PORT")


def test_no_secret_is_shown(run: Run, folder: Path) -> None:
    """Whatever fails."""
    (folder / ".env").write_text("LLM_API_KEY=sk-the-secret\nLLM_PROVIDER=openai\nLLM_BASE_URL=localhost:1\n")
    done = run("check", REDIS_ADDR="redis://me:redis-secret@localhost:1", LOG_LEVEL="debug")
    assert "secret" not in done.out + done.err


@pytest.mark.parametrize("command", ["check", "run", "status", "submit"])
def test_no_part_of_a_password_is_shown_where_an_address_cannot_be_taken_apart(run: Run, command: str) -> None:
    """By any command, with the setting's name and what to write instead."""
    arguments = (command, "-") if command == "submit" else (command,)
    done = run(*arguments, stdin="{}", REDIS_ADDR="redis://:hunter@2/sesame@127.0.0.1:6379")
    assert done.status == 78 and "REDIS_ADDR" in done.out + done.err and "%40" in done.out + done.err
    assert not [part for part in ("hunter", "sesame") if part in done.out + done.err]


def test_a_table_of_prices_without_the_model(run: Run, server: RedisServer, tmp_path: Path) -> None:
    """LLM_MODEL is the one whose price is missed first."""
    prices = tmp_path / "prices.json"
    prices.write_text('{"a": {"input": 1, "output": 2}}')
    env = {**server.env, "HEALTH_PORT": str(free_port()), "LLM_PRICES": str(prices)}
    assert "no price for LLM_MODEL, b" in only(run("check", **env, LLM_MODEL="b"), "LLM_PRICES")


def test_tools_of_each_module_are_named(run: Run, server: RedisServer, folder: Path) -> None:
    """One that brings none is a finding; what replaces another's tool is said, and is none."""
    (folder / "shop.py").write_text(
        "from executor_worker.tools import tool\n\n@tool\ndef order(item: str): ...\n\n"
        "@tool\ndef calculate(expression: str): ...\n"
    )
    (folder / "empty.py").write_text("def order(item: str): ...\n")
    server_py = str(SERVERS / "told.py")
    tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("order", "json_query", "own")]
    entry = {"command": sys.executable, "args": [server_py], "env": {"TOOLS": json.dumps([*tools, {"name": "bad"}])}}
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"s": entry}}))
    env = {**server.env, "HEALTH_PORT": str(free_port()), "TOOL_MODULES": "shop,empty", "MCP_CONFIG": "mcp.json"}
    done = run("check", **env)
    assert done.status == 1
    found = {
        line
        for line in done.out.splitlines()
        if line.partition(": ")[0].endswith(("TOOL_MODULES", "tools", "MCP_CONFIG"))
    }
    assert found == {
        "ok  TOOL_MODULES: shop brings 2 tools: calculate, order",
        "fix TOOL_MODULES: empty brings no tool; mark its functions with @tool, or take it out.",
        "ok  MCP_CONFIG: server s answers: 3 tools (stdio, protocol 2025-11-25)",
        (
            "fix MCP_CONFIG: server s, tool bad can't be used: it has no inputSchema; "
            "have it corrected, or leave it out by `disabledTools`."
        ),
        "ok  tools: order is that of mcp s, which replaces that of function shop.py",
        "ok  tools: json_query is that of mcp s, which replaces that of built-in",
        "ok  tools: calculate is that of function shop.py, which replaces that of built-in",
    }
