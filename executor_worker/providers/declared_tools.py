"""The tools of one request as an API is told of them, and the model's calls of them as the tools take them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from executor_worker.providers.base import ToolCall, ToolSpec
from executor_worker.providers.tool_names import ToolNames
from executor_worker.providers.tool_schemas import declared


class DeclaredTools:
    """
    Args:
        longest_name, longest_description: Characters the API allows; 0: as many as one likes.
        plain_names: Whether it takes only plain names for properties.
    """

    def __init__(
        self, tools: Iterable[ToolSpec], *, longest_name: int, plain_names: bool, longest_description: int = 0
    ) -> None:
        tools = list(tools)
        self._names = ToolNames((tool.name for tool in tools), longest_name)
        self._longest = longest_description
        self._declared = {tool.name: (tool, declared(tool.input_schema, plain_names=plain_names)) for tool in tools}

    def to_wire(self, name: str) -> str:
        """Name a tool as the API is told of it."""
        return self._names.to_wire(name)

    def own_name(self, wire_name: str) -> str:
        """Name a tool as the node does; the name stays as written if there is none."""
        return self._names.from_wire(wire_name)

    def form(self, schema: str) -> list[dict[str, Any]]:
        """
        Tell of all tools: name, description and schema.

        Args:
            schema: What the API calls the schema.
        """
        return [
            {"name": self.to_wire(name), "description": self._description(tool, about.rule), schema: about.parameters}
            for name, (tool, about) in self._declared.items()
        ]

    def call(self, call_id: str, wire_name: str, arguments: dict[str, Any] | None, problem: str) -> ToolCall:
        """Make what the model asks for a call of one of the tools; the name stays as written if there is none."""
        name = self._names.from_wire(wire_name)
        _, about = self._declared.get(name, (None, None))
        if arguments is not None and about is not None and about.names is not None:
            arguments = about.names.own(arguments)
        return ToolCall(call_id, name, arguments, problem)

    def _description(self, tool: ToolSpec, rule: str) -> str:
        """Tell what the tool does, and the rule whole as well if the API takes only so many characters."""
        text, longest = tool.description, self._longest
        if longest and len(text) + len(rule) + 2 > longest:
            text = _cut(text, max(longest - len(rule) - 2, longest // 4) if rule else longest)
        return _cut("\n\n".join(filter(None, (text, rule))), longest)


def _cut(text: str, longest: int) -> str:
    return text if not longest or len(text) <= longest else text[: longest - 1].rstrip() + "…"
