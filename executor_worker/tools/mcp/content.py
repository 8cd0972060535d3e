"""Content that an MCP server returned, as an `Answer`."""

from __future__ import annotations

from typing import Any

from mcp_types import CallToolResult, TextContent

from executor_worker.tools.base import Answer, as_text
from executor_worker.tools.functions.json_value import to_json


def answer_of(result: CallToolResult, *, trust_structure: bool = True) -> Answer:
    """
    Read *result*: its structured content as it is, else the text, else (where not all is text) the blocks.

    Args:
        trust_structure: Whether the structured content is as the server has said; else the text goes before it.

    Raises:
        ToolFailed: It holds what JSON can't, e.g. NaN.
    """
    texts = [block.text for block in result.content if isinstance(block, TextContent)]
    blocks = [_wire(block) for block in result.content]
    others = tuple(block for block in blocks if block.get("type") != "text")
    text = "\n".join(texts)
    if result.is_error:
        message = text or "the tool reported an error and did not say which"
        return Answer(message, message, others, is_error=True)
    is_null = "structured_content" in result.model_fields_set and not result.content
    if result.structured_content is not None or is_null:
        value = to_json(result.structured_content)
        text = text or as_text(value)
        return Answer(value if trust_structure else text, text, others)
    return Answer(blocks if others else text, text, others)


def _wire(block: Any) -> dict[str, Any]:
    wire: dict[str, Any] = block.model_dump(mode="json", by_alias=True, exclude_none=True)
    return wire
