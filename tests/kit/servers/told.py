"""
An MCP server over stdio that says what it is told to, word by word: no SDK, so that it can say what none would.

Environment, all JSON: TOOLS what it lists, PAGE more fields of its first page, RESULT what a call returns (as it is
written); STARTS_AFTER seconds before it reads anything.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

VERSION = "2025-11-25"


def result_of(message: dict[str, Any]) -> str:
    cursor = (message.get("params") or {}).get("cursor")
    match message["method"]:
        case "initialize":
            server = {"name": "told", "version": "1"}
            return json.dumps({"protocolVersion": VERSION, "capabilities": {"tools": {}}, "serverInfo": server})
        case "tools/list" if cursor is not None:
            return json.dumps(
                {"tools": [{"name": "after", "description": repr(cursor), "inputSchema": {"type": "object"}}]}
            )
        case "tools/list":
            return json.dumps({"tools": json.loads(os.environ["TOOLS"]), **json.loads(os.environ.get("PAGE", "{}"))})
        case "tools/call":
            return os.environ.get("RESULT", '{"content": [{"type": "text", "text": "called"}]}')
    return ""


def main() -> None:
    time.sleep(float(os.environ.get("STARTS_AFTER", "0")))
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        result = result_of(message)
        said = f'"result": {result}' if result else '"error": {"code": -32601, "message": "no such method"}'
        answer = f'{{"jsonrpc": "2.0", "id": {json.dumps(message["id"])}, {said}}}\n'
        sys.stdout.buffer.write(answer.encode("utf-8", "surrogateescape"))
        sys.stdout.flush()


main()
