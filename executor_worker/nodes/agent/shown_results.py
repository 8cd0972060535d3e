"""
Tool results of an agent: as the model is shown them, and in full for when it asks for more.

Results are numbered from 1 in the order of the conversation, so that a run that goes on from its answers numbers them
the same. The model reads what it was not shown with a tool of our own, which calls nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from executor_worker.nodes.agent.excerpt import page_end, places
from executor_worker.nodes.templates import sendable, short
from executor_worker.providers.base import ToolResult
from executor_worker.providers.tool_content import described, is_image
from executor_worker.run_context import Circuit, RunContext
from executor_worker.tools.base import Answer, Effects, OnProgress, unheard, unsure

LONGEST_IMAGE_CHARS = 5_000_000  # of base64; APIs refuse the whole request for a larger one
MOST_IMAGES = 10
CHARS_PER_TOKEN = 4
IMAGE_TOKENS = 1500

_NOTE_CHARS = 200
_WORTH_CLEARING_CHARS = 500


class Results:
    """
    Args:
        chars: The longest text a model is shown of one result.
        names: The tools of the node: ours takes a name that is free.

    Attributes:
        reader: The tool that reads on.
        shortened: Whether something was cut or cleared, so that there is a reason to offer it.
    """

    def __init__(self, chars: int, names: Collection[str]) -> None:
        self._chars = chars
        self._texts: list[str] = []
        self._cleared: set[int] = set()
        self.shortened = False
        name = "read_result"
        while name in names:
            name += "_"
        self.reader = ReadResult(name, self._texts, chars - _NOTE_CHARS)

    def shown(self, result: ToolResult) -> ToolResult:
        """Take up the next result; return what the model is shown of it."""
        images, others = _sorted(result.blocks)
        text = "\n".join(filter(None, (result.text, *(sendable(described(block)) for block in others))))
        self._texts.append(text)
        if len(text) <= self._chars and len(images) + len(others) == len(result.blocks) and not _oversized(others):
            return result
        if len(text) > self._chars:
            text = self._beginning(text)
        return replace(result, text=text, blocks=tuple(images))

    def cleared(self, number: int, result: ToolResult) -> ToolResult:
        """Shorten result *number*, as it is shown, to a note of where it can be read; short ones stay as they are."""
        if number in self._cleared or (len(result.text) < _WORTH_CLEARING_CHARS and not result.blocks):
            return result
        self._cleared.add(number)
        self.shortened = True
        images = " and its images" if result.blocks else ""
        note = (
            f"[Cleared to save room: {len(self._texts[number - 1]):,} characters{images}. "
            f'{self.reader.name}(id="{number}") shows the text again.]'
        )
        return replace(result, text=note, blocks=())

    def _beginning(self, text: str) -> str:
        self.shortened = True
        end = page_end(text, 0, self._chars - _NOTE_CHARS)
        return (
            f"{text[:end]}\n[Cut: these are the first {end:,} of {len(text):,} characters. "
            f'{self.reader.name}(id="{len(self._texts)}", offset={end}) reads on, search="…" finds places.]'
        )


def tokens(result: ToolResult) -> int:
    """Estimate what *result*, as it is shown, adds to a prompt."""
    return len(result.text) // CHARS_PER_TOKEN + IMAGE_TOKENS * len(result.blocks)


def _sorted(blocks: tuple[dict[str, Any], ...]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Images that can be shown, and all else, which is told in words."""
    images = [block for block in blocks if is_image(block) and len(block["data"]) <= LONGEST_IMAGE_CHARS]
    images = images[:MOST_IMAGES]
    return images, [block for block in blocks if not any(block is image for image in images)]


def _oversized(blocks: list[dict[str, Any]]) -> bool:
    """Tell whether an image is among *blocks*: one that would be shown if it, or their number, were not too large."""
    return any(is_image(block) for block in blocks)


class ReadResult:
    """A `Tool` of the agent's own: reads what a tool returned, page by page."""

    effects: Effects | None = "none"
    timeout = 10.0
    source = "agent"
    description = (
        "Read the result of an earlier tool call that was cut or cleared: a page of it from an offset, "
        "or the places where a text is found in it."
    )

    def __init__(self, name: str, texts: list[str], chars: int) -> None:
        self.name = name
        self.circuits: tuple[Circuit, ...] = ()
        self.surely_fits = unsure
        self._texts = texts
        self._chars = chars
        self.input_schema: dict[str, Any] = {
            "type": "object",
            "properties": {
                "id": {"type": "string", "description": "The result's number, as its note says"},
                "offset": {"type": "integer", "minimum": 0, "description": "Where to begin, in characters"},
                "limit": {"type": "integer", "minimum": 1, "description": f"Characters to read, at most {chars}"},
                "search": {"type": "string", "minLength": 1, "description": "Show only the places with this text"},
            },
            "required": ["id"],
            "additionalProperties": False,
        }

    def call(
        self, arguments: dict[str, Any], run_context: RunContext, key: str, on_progress: OnProgress = unheard
    ) -> Answer:
        return self.read(arguments)

    def read(self, arguments: dict[str, Any]) -> Answer:
        """Read as the model asks: *arguments* fit the schema."""
        number, offset = str(arguments["id"]), int(arguments.get("offset", 0))
        if not (number.isascii() and number.isdigit() and len(number) < 10 and 1 <= int(number) <= len(self._texts)):
            known = f"there are 1 to {len(self._texts)}" if self._texts else "there are none yet"
            return _error(f"There is no result {short(number)!r}; {known}.")
        text = self._texts[int(number) - 1]
        if offset > len(text):
            return _error(f"Result {number} has {len(text):,} characters only.")
        chars = min(int(arguments.get("limit", self._chars)), self._chars)
        if sought := arguments.get("search"):
            return _searched(text, sought, offset, chars)
        end = page_end(text, offset, chars)
        onward = f"; offset={end} reads on" if end < len(text) else ", its end"
        return _answer(f"{text[offset:end]}\n[Characters {offset:,} to {end:,} of {len(text):,}{onward}.]")


def _searched(text: str, sought: str, offset: int, chars: int) -> Answer:
    found, more = places(text, sought, offset, chars)
    if not found:
        return _answer(f"{short(sought)!r} is not found in it from {offset:,} on.")
    return _answer(found if more is None else f"{found}\n[There is more: search again with offset={more}.]")


def _answer(text: str) -> Answer:
    return Answer(text, text)


def _error(text: str) -> Answer:
    return Answer(text, text, is_error=True)
