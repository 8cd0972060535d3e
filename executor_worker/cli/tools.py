"""`tools list` and `tools call`: what the workers would see, seen from here."""

from __future__ import annotations

import argparse
import json
import time
import uuid
from contextlib import closing
from typing import Any

from executor_worker.cli.display import on_terminal, one_line, print_json, print_table
from executor_worker.cli.exits import DONE, FAILED, USAGE, Quit
from executor_worker.cli.files import STDIN, read_bytes
from executor_worker.cli.tool_traces import print_trace
from executor_worker.errors import NodeError
from executor_worker.nodes.schema import misfits
from executor_worker.program.wiring import tool_registry
from executor_worker.run_context import RunContext
from executor_worker.settings import Settings
from executor_worker.telemetry import logs
from executor_worker.tools import modules_starting_threads
from executor_worker.tools.base import Tool


def listing(settings: Settings, args: argparse.Namespace) -> int:
    modules_starting_threads(settings.tool_modules)  # in a child: one that ends the process would end us, silently
    with closing(tool_registry(settings)) as tools:
        found = tools.all()
    if args.json:
        print_json([_described(tool) for tool in found])
    else:
        rows = [[tool.name, tool.source, tool.effects, _parameters(tool), _about(tool)] for tool in found]
        print_table(["name", "from", "effects", "parameters", "description"], rows)
    return DONE


def call(settings: Settings, args: argparse.Namespace) -> int:
    params = _params(args.params)
    with closing(tool_registry(settings)) as tools:
        try:
            tool = tools.find(args.name)
            if problems := misfits(tool, params):
                raise Quit(FAILED, f"{args.name}: {'; '.join(problems)}.")
            with logs.context(tool=args.name):
                answer = tool.call(
                    params, RunContext(time.monotonic() + settings.node_timeout), f"call-{uuid.uuid4().hex}"
                )
        except NodeError as error:
            print_trace(error)
            raise Quit(FAILED, f"{error} ({error.code})") from None
    if answer.is_error:
        raise Quit(FAILED, f"{args.name} says that it failed: {answer.text}")
    print_json(answer.value)
    return DONE


def _params(text: str) -> dict[str, Any]:
    raw = read_bytes(STDIN) if text == STDIN else text.encode("utf-8", "surrogateescape")
    try:
        params = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Quit(USAGE, f"--params is not JSON: {error}.") from None
    if not isinstance(params, dict):
        raise Quit(USAGE, '--params must be a JSON object, such as {"expression": "6*7"}.')
    return params


def _described(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "source": tool.source,
        "effects": tool.effects,
        "timeout": tool.timeout,
        "input_schema": tool.input_schema,
    }


def _parameters(tool: Tool) -> str:
    """Name the parameters; those that may be left out in brackets."""
    properties = tool.input_schema.get("properties")
    required = tool.input_schema.get("required") or []
    names = list(properties) if isinstance(properties, dict) else []
    return ", ".join(name if name in required else f"[{name}]" for name in names)


def _about(tool: Tool) -> str:
    return one_line(tool.description.strip().split("\n\n")[0], 90 if on_terminal() else 200)
