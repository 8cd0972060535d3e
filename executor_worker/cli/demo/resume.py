"""`demo --resume`: an agent whose worker is killed five times, and that still sends its one mail."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from executor_worker.broker.names import COMPLETED_STREAM, FAILED_STREAM, PROGRESS_STREAM
from executor_worker.cli.demo.mailbox import OUTBOX
from executor_worker.cli.demo.stage import Stage
from executor_worker.cli.display import one_line

WORKERS = 2
GRAPH, NODE = "demo", "invitation"
NODE_S = 60.0

TASK = "Invite Ada to dinner by mail."
SCRIPT: list[dict[str, Any]] = [
    {
        "delay_s": 0.8,
        "reply": "Her address first.",
        "tool_calls": [{"name": "find_address", "arguments": {"name": "Ada"}}],
    },
    {
        "delay_s": 0.8,
        "tool_calls": [
            {"name": "send_mail", "arguments": {"to": "ada@example.com", "text": "Will you come to dinner?"}}
        ],
    },
    {"delay_s": 0.8, "reply": "Was it sent? Let me look.", "tool_calls": [{"name": "read_outbox", "arguments": {}}]},
    {"delay_s": 0.8, "reply": "The invitation is out."},
]

# What the worker is doing when it is killed, and how many answers of the model are written down by then.
KILLS = (
    ("tool:find_address", 1, "while it looks up the address: a call that may be made again"),
    ("llm", 1, "while it waits for the model's second answer"),
    ("tool:send_mail", 2, "while it sends the mail: a call that must never be made again"),
    ("tool:read_outbox", 3, "while it looks into the outbox"),
    ("llm", 3, "while it waits for the model's last answer"),
)


def play() -> int:
    """Show it; returns the exit status."""
    about = f"an agent on a pool of {WORKERS} workers, killed {len(KILLS)} times by `kill -9`"
    tools = {"TOOL_MODULES": "executor_worker.cli.demo.mailbox", "MAX_DELIVERIES": str(len(KILLS) + 1)}
    with Stage(WORKERS, SCRIPT, lambda _: tools, about) as stage:
        stage.await_workers()
        stage.submit(_item())
        stage.say.step("Graph", f"on the stream: {NODE}: {TASK}")
        for phase, answers, what in KILLS:
            _kill(stage, phase, answers, what)
        failed = not _conclude(stage)
        return stage.finish(failed=failed, next_step='docs/MODES.md, "When a run is interrupted"')


def _item() -> dict[str, Any]:
    config = {"task": TASK, "llm_config": {}, "tools": ["find_address", "send_mail", "read_outbox"]}
    return {"graph_id": GRAPH, "node_id": NODE, "node_type": "agent", "config": config, "inputs": {}}


def _kill(stage: Stage, phase: str, answers: int, what: str) -> None:
    """Wait until the run is at that point, and kill its worker."""

    def at_it() -> bool:
        rows = [row for row in stage.look().workers if row["phase"] == phase]
        if not rows or len(_seen(stage, "llm.called")) != answers:
            return False
        slot, pid = rows[0]["slot"], int(rows[0]["pid"])
        os.kill(pid, signal.SIGKILL)
        stage.say.step("kill -9", f"worker {slot}, process {pid}, {what}")
        stage.wait(lambda: all(row["pid"] != pid for row in stage.look().workers), NODE_S, "the worker lives")
        return True

    stage.wait(at_it, NODE_S, f"the run did not come to {phase}")


def _conclude(stage: Stage) -> bool:
    """Show the result, and what it has cost; tells whether all is as promised."""
    results: list[dict[str, Any]] = []

    def arrived() -> bool:
        results.extend(_events(stage, COMPLETED_STREAM) + _events(stage, FAILED_STREAM))
        return bool(results)

    stage.wait(arrived, NODE_S, "no result")
    data = results[0]["data"]
    answer = data["output"]["result"] if data["output"] else data["error"]
    stage.say.result(NODE, f"in its run number {data['attempt']}: {one_line(answer, 90)}", good=bool(data["output"]))
    calls = ", ".join(f"{call['name']} {'ok' if call['ok'] else 'unknown'}" for call in data["output"]["tool_calls"])
    stage.say.step("Calls", calls)
    answers, mails = len(_seen(stage, "llm.called")), _mails(stage.folder)
    stage.say.step("Model", f"{answers} answers were paid, one for each of its {data['output']['iterations']} turns")
    stage.say.step("Outbox", f"{len(mails)} mail: {'; '.join(mails)}")
    return len(mails) == 1 and answers == data["output"]["iterations"] and data["attempt"] == len(KILLS) + 1


def _mails(folder: Path) -> list[str]:
    outbox = folder / OUTBOX
    return outbox.read_text().splitlines() if outbox.exists() else []


def _seen(stage: Stage, kind: str) -> list[dict[str, Any]]:
    return [event for event in _events(stage, PROGRESS_STREAM) if event["type"] == kind]


def _events(stage: Stage, stream: str) -> list[dict[str, Any]]:
    return [json.loads(fields[1]) for _, fields in stage.link.call("XRANGE", stream, "-", "+")]
