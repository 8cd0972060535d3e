"""A Redis user that may do no more than docs/SECURITY.md says: everything works, nothing was denied."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from typing import Any

from executor_worker.broker.connection.permissions import CHANNELS, COMMANDS, rule
from tests.faults.stage import DEAD, ROOT, Stage
from tests.kit import PROGRAM, ModelServer, Pool, wait_until

TASK, DONE = "Send the report", "The report is sent."
PROGRESS = "dago:events:node.progress"
USER = {"REDIS_USER": "worker", "REDIS_PASS": "some-password"}
SCRIPTS = ROOT / "executor_worker" / "broker" / "lua"


def test_pool_and_its_operator_live_with_the_documented_rule(stage: Stage, model_server: ModelServer) -> None:
    """Items, journals, progress, a killed worker's item, dead letters, status, tail, submit."""
    stage.db.execute_command("ACL", "SETUSER", "worker", "on", f">{USER['REDIS_PASS']}", *rule().split())
    pool = stage.pool(workers=2, RESULTS_MAXLEN="1", MAX_DELIVERIES="2", **model_server.openai_env, **USER)
    model_server.calls_tool(TASK, "hold_safe", {"mark": "agent"}, DONE)
    push_agent(stage)
    os.kill(stage.started("agent").pid, signal.SIGKILL)  # taken over, with its journal
    stage.started("agent", count=2)
    assert stage.db.keys("dago:journal:*")
    stage.journal.let_go("agent")
    assert stage.result("agent")["data"]["output"]["result"] == DONE
    assert {"node.started", "node.resumed", "tool.called"} <= {kind(entry) for entry in stage.db.xrange(PROGRESS)}

    stage.push_raw(b"no item")
    wait_until(lambda: stage.db.xlen(DEAD), 10, "a dead letter")
    letter = stage.db.xrange(DEAD)[0][0].decode()
    operator(pool, "dead", "requeue", letter)
    wait_until(lambda: stage.db.xlen(DEAD) and not stage.db.xrange(DEAD, letter, letter), 10, "dead once more")

    item = {"graph_id": "s", "node_id": "n", "config": {"tool_name": "nap", "tool_params": {"mark": "s"}}, "inputs": {}}
    (pool.folder / "item.json").write_text(json.dumps(item))
    (pool.folder / "state.json").write_text('{"graph_id": "s", "inputs": {}}')
    operator(pool, "submit", "item.json", "--state", "state.json", "--wait")
    told = operator(pool, "status", "--json")
    assert told["problems"] == [] and told["streams"][0]["dead"] == 1
    operator(pool, "tail", "--no-follow", "--from-start", "--json")
    assert pool.drain() == 0
    denied = stage.db.acl_log()
    assert not denied, [(entry["reason"], entry["object"], entry["context"]) for entry in denied]


def test_rule_covers_every_script_and_holds_nothing_else() -> None:
    """What scripts call in corners no test reaches is granted; what nobody sends is not."""
    scripts = "\n".join(path.read_text() for path in SCRIPTS.rglob("*.lua"))
    called = set()
    for command, sub in re.findall(r"redis\.p?call\('([A-Z]+)'(?:, '([A-Z]+)')?", scripts):
        called.add(f"{command}|{sub}".lower() if command in ("XGROUP", "XINFO") else command.lower())
    assert called <= set(COMMANDS), called - set(COMMANDS)
    sources = scripts + "".join(path.read_text() for path in (ROOT / "executor_worker").rglob("*.py"))
    assert not [one for one in COMMANDS if not is_sent(one, sources)]
    assert all(f'"{channel.removesuffix("*")}' in sources for channel in CHANNELS)


def test_rule_is_the_documented_one() -> None:
    """Word by word, as it is to be pasted."""
    words = (ROOT / "docs" / "SECURITY.md").read_text().replace("\\\n", " ").split()
    wanted = rule().split()
    assert any(words[at : at + len(wanted)] == wanted for at in range(len(words)))


def push_agent(stage: Stage) -> None:
    config = {"llm_config": {"prompt": TASK}, "tools": ["hold_safe"]}
    item = {"graph_id": "agent", "node_id": "n", "node_type": "agent", "config": config, "inputs": {}}
    stage.push_raw(json.dumps(item).encode())


def operator(pool: Pool, *arguments: str) -> Any:
    """Run a command as the same user; its JSON, or its lines."""
    done = subprocess.run(
        [str(PROGRAM), *arguments], cwd=pool.folder, env={**os.environ, **pool.env}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    try:
        return json.loads(done.stdout)
    except ValueError:
        return done.stdout.splitlines()


def kind(entry: Any) -> str:
    return str(json.loads(entry[1][b"data"])["type"])


def is_sent(command: str, sources: str) -> bool:
    """Say whether some source spells the command as it is sent."""
    words = command.upper().split("|")
    return re.search(r",\s*".join(rf"""b?["']{word}["']""" for word in words), sources) is not None
