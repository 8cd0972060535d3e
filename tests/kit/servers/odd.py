"""
An MCP server over stdio that misbehaves as told: no SDK, so that it starts at once and can break every rule.

Environment: ODD_SILENT=1 answers nothing, ODD_FAIL=text says so on stderr and exits 3, ODD_STUBBORN=1 won't end.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HINTS = {"die_once_none": {"readOnlyHint": True}, "die_once_idempotent": {"idempotentHint": True}}
NUMBER = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}
NAMES = [
    "echo", "hang", "die", "die_once_none", "die_once_idempotent", "die_once_undeclared", "big", "garbage", "noise",
    "nan", "wrong_output", "nonsense", "error", "rpc_error", "pid", "env", "key", "grow", "grow_silently", "spawn",
    "structured", "null", "echo", "image", "steps", "meta",
]  # fmt: skip
PAGE = 4


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def listed(name: str) -> dict[str, Any]:
    tool: dict[str, Any] = {"name": name, "inputSchema": {"type": "object"}, "description": f"{name} {len(NAMES)}"}
    if name in HINTS:
        tool["annotations"] = HINTS[name]
    if name in ("wrong_output", "nan"):
        tool["outputSchema"] = NUMBER
    return tool


def text(value: object) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": str(value)}]}


def count(path: str) -> int:
    """Note a call in the file, return how many there were before."""
    before = len(Path(path).read_text().splitlines()) if Path(path).exists() else 0
    with Path(path).open("a") as file:
        file.write("called\n")
    return before


def call(name: str, arguments: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any] | None:
    match name:
        case "echo":
            return text(json.dumps(arguments["value"]))
        case "hang":
            return None
        case "die":
            count(arguments["path"])
            os._exit(3)
        case "die_once_none" | "die_once_idempotent" | "die_once_undeclared":
            if count(arguments["path"]) == 0:
                os._exit(3)
            return text("alive")
        case "big":
            return text("x" * (arguments["mib"] << 20))
        case "garbage":
            sys.stdout.write('{"jsonrpc": "2.0", "id": 5, "result": {{{\n')
            sys.stdout.flush()
            return None
        case "noise":
            sys.stdout.write("loading model…\n")
            return text("heard")
        case "nan":
            return {**text("x"), "structuredContent": {"n": float("nan")}}
        case "wrong_output":
            return {**text("x"), "structuredContent": {"n": "secret"}}
        case "nonsense":
            return {"content": "not a list"}
        case "error":
            return {**text("the disk is full"), "isError": True}
        case "pid":
            return text(os.getpid())
        case "env":
            return {**text(""), "structuredContent": dict(os.environ)}
        case "key":
            return text(meta.get("dago/idempotency-key"))
        case "meta":
            return text(json.dumps(meta))
        case "grow" | "grow_silently":
            NAMES.append(arguments["name"])
            if name == "grow":
                send({"method": "notifications/tools/list_changed"})
            return text("grown")
        case "spawn":
            return text(subprocess.Popen(["sleep", "600"]).pid)
        case "structured":
            return {**text("for people"), "structuredContent": {"deep": [1, 2.5, None, {"big": 2**70}]}}
        case "steps":
            for done in arguments["steps"]:
                progress = {"progressToken": meta["progressToken"], "progress": done, "total": arguments["total"]}
                send({"method": "notifications/progress", "params": progress})
            return text("done")
        case "null":
            return {"content": []}
        case "image":
            return {"content": [{"type": "image", "data": "aGk=", "mimeType": "image/png"}]}
        case _:
            return text(f"{name} called")


def answer(message: dict[str, Any]) -> None:
    method, params = message["method"], message.get("params", {})
    if method == "notifications/cancelled" and os.environ.get("ODD_CANCELLED"):
        Path(os.environ["ODD_CANCELLED"]).write_text(json.dumps(params))
    if "id" not in message:
        return
    result: dict[str, Any] | None
    if method == "initialize":
        info = {"name": "odd", "version": "1"}
        capabilities = {"tools": {"listChanged": True}}
        result = {"protocolVersion": "2025-06-18", "capabilities": capabilities, "serverInfo": info}
    elif method == "tools/list":
        start = int(params.get("cursor", 0))
        result = {"tools": [listed(name) for name in NAMES[start : start + PAGE]]}
        if start + PAGE < len(NAMES):
            result["nextCursor"] = str(start + PAGE)
    elif method == "tools/call" and params["name"] == "rpc_error":
        send({"id": message["id"], "error": {"code": -32000, "message": "the database is closed"}})
        return
    elif method == "tools/call":
        result = call(params["name"], params.get("arguments", {}), params.get("_meta", {}))
    else:
        send({"id": message["id"], "error": {"code": -32601, "message": f"no method {method}"}})
        return
    if result is not None:
        send({"id": message["id"], "result": result})


def main() -> None:
    if os.environ.get("ODD_FAIL"):
        sys.exit(os.environ["ODD_FAIL"])
    stubborn = os.environ.get("ODD_STUBBORN") == "1"
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        if os.environ.get("ODD_SILENT") != "1":
            answer(json.loads(line))
    while stubborn:
        time.sleep(60)


main()
