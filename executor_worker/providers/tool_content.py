"""Content of tool results beside text, for models that are shown text."""

from __future__ import annotations

from typing import Any

IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")


def is_image(block: dict[str, Any]) -> bool:
    """Tell whether models take *block*, an MCP content block, as an image."""
    return block.get("type") == "image" and block.get("mimeType") in IMAGES and isinstance(block.get("data"), str)


def described(block: dict[str, Any]) -> str:
    """Say in words what an MCP content block holds; a link or a text is given in full."""
    kind = block.get("type")
    if kind == "text":
        return str(block.get("text", ""))
    if kind == "resource_link":
        return " ".join(str(block[key]) for key in ("name", "uri", "description") if block.get(key))
    if kind == "resource" and isinstance(resource := block.get("resource"), dict):
        return str(resource["text"]) if "text" in resource else f"[{_what(resource, 'blob')} {resource.get('uri', '')}]"
    return f"[{_what(block, 'data')}, not shown]"


def _what(holder: dict[str, Any], key: str) -> str:
    size = len(str(holder.get(key, ""))) * 3 // 4
    return f"{holder.get('mimeType') or holder.get('type') or 'data'} of {size} bytes"
