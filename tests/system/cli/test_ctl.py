"""`ctl`: commands to the running pool, from wherever its settings lead."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from executor_worker.settings.control import control_address, find_control
from tests.kit import Pool, RedisServer, wait_until
from tests.system.cli.conftest import Run


def test_ctl_finds_the_pool_by_its_name(executor: Callable[..., Pool], redis_server: RedisServer, run: Run) -> None:
    """Nothing has to be set up: same WORKER_ID, same pool; people get sentences and a table, programs JSON."""
    pool = executor(redis_server, workers=2)
    env = {"WORKER_ID": pool.env["WORKER_ID"]}
    shown = run("ctl", "status", **env)
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.startswith("running, 2 of 2 workers ready, 0 busy\n\nSLOT  STATE")
    assert run("ctl", "scale", "3", **env).out == "3 workers from now on\n"
    pool.wait_workers(lambda rows: [row["state"] for row in rows] == ["idle"] * 3)
    told = run("ctl", "status", "--json", **env).json
    assert (told["mode"], told["pid"], len(told["workers"])) == ("running", pool.process.pid, 3)
    assert run("ctl", "drain", **env).status == 0
    assert pool.wait() == 0


def test_status_tells_what_each_worker_is_at(
    executor: Callable[..., Pool], redis_server: RedisServer, run: Run
) -> None:
    """The supervisor alone answers, so this is there also where the keeper, Redis and HTTP are not."""
    script = json.dumps({"script": [{"tool_calls": [{"name": "calculate", "arguments": {"expression": "1"}}]},
                                    {"delay_s": 60, "reply": "late"}]})  # fmt: skip
    pool = executor(redis_server, workers=1, LLM_PROVIDER="scripted")
    config = {"task": script, "tools": ["calculate"], "llm_config": {}, "timeout": 300}
    item = {"graph_id": "g", "node_id": "n", "config": config, "inputs": {}}
    with closing(redis_server.client()) as db:
        db.xadd("executor.work", {"data": json.dumps(item)})
    env = {"WORKER_ID": pool.env["WORKER_ID"]}
    busy = wait_until(
        lambda: [
            row
            for row in run("ctl", "status", "--json", **env).json["workers"]
            if (row["step"], row["phase"]) == (2, "llm")
        ],
        20,
        "a call",
    )[0]
    assert (busy["state"], busy["mode"], busy["steps"], busy["item"], busy["attempt"]) == (
        "busy",
        "agent",
        10,
        "g/n",
        1,
    )
    assert 200 < busy["left_s"] <= 300
    for which in ((), ("--slot", "1")):
        stacks = run("ctl", "stacks", *which, **env)
        assert (stacks.status, stacks.err) == (0, "")
        whose = f"stacks of 1 worker\n\nslot 1, pid {pool.worker_pid(1)}, llm, g/n\n"
        assert stacks.out.startswith(f"{whose}Current thread ") and " in <module>\n" in stacks.out
    (told,) = run("ctl", "stacks", "--json", **env).json["stacks"]
    assert (told["slot"], told["item"]) == (1, "g/n") and not pool.seen("slot.stack")
    nobody = run("ctl", "stacks", "--slot", "7", **env)
    assert (nobody.status, nobody.err) == (1, "executor-worker: there is no worker in slot 7.\n")
    row = run("ctl", "status", **env).out.splitlines()[-1].split()
    assert row[:2] == ["1", "busy"] and row[3:6] == ["agent", "2/10", "llm"] and row[8] == "g/n", row


def test_ctl_level_changes_what_every_process_logs(
    executor: Callable[..., Pool], redis_server: RedisServer, run: Run
) -> None:
    """At once, workers that live included, and each of an item's lines tells which; a reload ends it."""
    pool = executor(redis_server, workers=1)
    env = {"WORKER_ID": pool.env["WORKER_ID"]}

    def settle(graph: str) -> None:
        item = {"graph_id": graph, "node_id": "n", "config": {"tool_name": "current_time"}, "inputs": {}}
        done = run("submit", "-", "--wait", stdin=json.dumps(item), **redis_server.env)
        assert done.status == 0, done.err

    settle("before")
    assert run("ctl", "level", "debug", **env).out.startswith("all processes log from level debug on")
    settle("after")
    line = pool.wait_event("node.completed", graph="after")
    assert (line["level"], line["node"], line["slot"], line["worker_id"]) == ("debug", "n", 1, env["WORKER_ID"])
    assert line["entry"]
    assert not pool.seen("node.completed", graph="before")
    assert run("ctl", "level", "error", **env).status == 0
    assert run("ctl", "pause", **env).status == 0
    assert run("ctl", "resume", **env).status == 0
    assert run("ctl", "reload", **env).status == 0
    pool.wait_event("pool.reloaded")
    assert not pool.seen("pool.paused")
    assert run("ctl", "level", "loud", **env).status == 2


def test_ctl_reload_says_what_is_wrong(
    executor: Callable[..., Pool], redis_server: RedisServer, run: Run, folder: Path
) -> None:
    """Status 1 and the reason; it can still be told anything else, though the settings file is bad by then."""
    file, address = folder / "settings.env", str(folder / "ctl.sock")
    file.write_text(f"WORKERS=1\nCTL_SOCKET={address}\n")
    pool = executor(redis_server, workers=1, ENV_FILE=str(file), WORKERS="")
    env = {"ENV_FILE": str(file)}
    assert run("ctl", "reload", **env).status == 0
    pool.wait_event("pool.reloaded")
    file.write_text(f"WORKERS=many\nCTL_SOCKET={address}\n")
    refused = run("ctl", "reload", **env)
    assert refused.status == 1
    assert "WORKERS: 'many' is not a whole number" in refused.err
    assert f"stands in {file}, line 1" in refused.err
    file.write_text(f"CTL_SOCKET={address}\nMCP_CONFIG={folder}/missing.json\n")
    assert f"MCP_CONFIG: {folder}/missing.json: can't be read" in (later := run("ctl", "reload", **env).err)
    assert f"stands in {file}, line 2" in later
    assert run("ctl", "status", **env).out.startswith("running, 1 of 1")
    assert run("ctl", "--socket", address, "pause").status == 0
    pool.wait_event("pool.paused")


def test_ctl_without_a_pool_says_where_it_has_looked(run: Run, folder: Path) -> None:
    """And how to name another place."""
    done = run("ctl", "status", CTL_SOCKET=str(folder / "nobody"))
    assert done.status == 1
    assert f"no pool takes commands at {folder}/nobody (No such file or directory)" in done.err
    assert "@executor-worker/nobody" in run("ctl", "drain", WORKER_ID="nobody").err


def test_ctl_does_not_wait_for_a_stopped_pool(
    executor: Callable[..., Pool], redis_server: RedisServer, run: Run
) -> None:
    """Whoever asks is told that it does not answer."""
    pool = executor(redis_server, workers=1)
    pool.send(signal.SIGSTOP)
    done = run("ctl", "status", WORKER_ID=pool.env["WORKER_ID"])
    pool.send(signal.SIGCONT)
    assert done.status == 1
    assert "does not answer" in done.err


def test_place_that_was_chosen_and_can_not_be_had_is_status_78(run: Run, folder: Path) -> None:
    """Named with its variable; a place that nobody chose only costs a warning."""
    done = run("run", CTL_SOCKET=str(folder / "no" / "ctl.sock"), REDIS_ADDR="localhost:1")
    assert done.status == 78
    assert "CTL_SOCKET" in done.err and "No such file or directory" in done.err


def test_pool_without_a_place_for_commands_runs(executor: Callable[..., Pool], redis_server: RedisServer) -> None:
    """Signals still work."""
    pool = executor(redis_server, workers=1, RUNTIME_DIRECTORY="/nowhere")
    assert "/nowhere/ctl.sock" in pool.wait_event("control.unavailable")["problem"]
    assert pool.drain() == 0


def test_place_is_chosen_given_or_made_of_the_name(tmp_path: Path) -> None:
    """CTL_SOCKET, then systemd's folder, then an abstract name, which no WORKER_ID makes too long."""
    assert control_address("/run/a", "w", {"RUNTIME_DIRECTORY": "/run/x"}) == "/run/a"
    assert control_address("", "w", {"RUNTIME_DIRECTORY": "/run/x:/run/y"}) == "/run/x/ctl.sock"
    assert control_address("", "w", {}) == "@executor-worker/w"
    long, other = control_address("", "w" * 128, {}), control_address("", "w" * 127, {})
    assert long != other and max(len(long), len(other)) <= 100
    (tmp_path / ".env").write_text("WORKER_ID=filed\n")
    assert find_control({"WORKER_ID": ""}, tmp_path) == "@executor-worker/filed"
    assert find_control({"WORKER_ID": "here"}, tmp_path) == "@executor-worker/here"
    (tmp_path / ".env").write_text("not a setting\nCTL_SOCKET=@there\n")
    assert find_control({}, tmp_path) == "@there"
