"""Tracebacks of what tools raise, on stderr: for those who try out their own."""

from __future__ import annotations

import sys

from executor_worker.errors import NodeError
from executor_worker.run_context import RunContext
from executor_worker.tools.functions.source_line import trace_of


class TracingContext(RunContext):
    """Shows each exception of a tool, also one that a model is told of."""

    def tool_failed(self, name: str, error: NodeError) -> None:
        print_trace(error)


def print_trace(error: NodeError) -> None:
    """Print the traceback of what a tool of the user's raised; of what else went wrong the sentence says enough."""
    trace = error.trace or (trace_of(error) if error.where else "")
    if trace:
        print(trace, end="", file=sys.stderr)
