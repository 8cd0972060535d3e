"""
What the conformance suite drives: our tool layer, as a worker uses it, and nothing beside it.

Called with the address of a server that the suite has started. It looks at the server's tools and calls them as an
agent would, with arguments that follow their schemas. What is wrong with a single call is for the suite to judge
by what it saw on the wire; not reaching the server at all is a failure of ours.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from executor_worker.errors import ToolError
from executor_worker.providers.sample import sample
from executor_worker.run_context import RunContext
from executor_worker.tools import Tool, ToolRegistry, ToolSettings

CALL_S = 15.0


def main() -> int:
    registry = ToolRegistry(ToolSettings(mcp_servers=(f"conformance={sys.argv[-1]}",), tool_timeout_s=CALL_S), (), log)
    try:
        ((name, reached, said),) = registry.probe()
        log("info" if reached else "error", "probed", server=name, said=said)
        for tool in registry.all():
            for arguments in calls_of(tool, registry):
                call(tool, arguments)
        return 0 if reached else 1
    finally:
        registry.close()


def calls_of(tool: Tool, registry: ToolRegistry) -> list[dict[str, Any]]:
    """The calls that a scenario asks for by name, else one with whatever the schema takes."""
    if tool.name == "json_schema_echo":  # wants to see another tool's schema as it arrived
        return [{"schema": registry.find("json_schema_2020_12_tool").input_schema}]
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    asked = [call["arguments"] for call in context.get("toolCalls", []) if call["name"] == tool.name]
    return asked or [sample(tool.input_schema, "conformance")]


def call(tool: Tool, arguments: dict[str, Any]) -> None:
    try:
        answer = tool.call(arguments, RunContext(time.monotonic() + CALL_S), f"conformance:{tool.name}")
        log("info", "called", tool=tool.name, ok=not answer.is_error)
    except ToolError as error:
        log("warn", "failed", tool=tool.name, code=error.code, said=str(error))


def log(level: str, event: str, /, **fields: Any) -> None:
    print(level, event, json.dumps(fields), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
