"""Function tools that run in a process of their own: `@tool(isolate=True)`."""

from executor_worker.tools.isolation.tool import IsolatedTool, Isolation

__all__ = ["IsolatedTool", "Isolation"]
