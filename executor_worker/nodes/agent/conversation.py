"""
An agent's conversation: what was said so far, and how much of it the model is still shown.

What is cut or cleared depends on the answers and their usage alone, on no clock and no chance: a run that goes on
from its answers comes to the same conversation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from executor_worker.nodes.agent.shown_results import ReadResult, Results, tokens
from executor_worker.nodes.context_budget import ContextBudget
from executor_worker.providers.base import ModelReply, ToolResult, ToolTurn, Turn, UserTurn

KEPT_TURNS = 3
"""The newest turns of results, which are not cleared while there is room."""


class Conversation:
    """
    Args:
        turns: What it begins with.
        names: Of the node's tools.

    Attributes:
        turns: As the model is shown them.
    """

    def __init__(self, turns: Iterable[Turn], room: ContextBudget, names: Collection[str]) -> None:
        self.turns: list[Turn] = list(turns)
        self._room = room
        self._results = Results(room.result_chars, names)
        self._tokens = 0

    @property
    def reader(self) -> ReadResult:
        """The tool to read results with."""
        return self._results.reader

    @property
    def shortened(self) -> bool:
        """Tell whether there is anything that the model is not shown."""
        return self._results.shortened

    def take(self, reply: ModelReply) -> None:
        self.turns.append(reply.turn)
        self._tokens = reply.usage.prompt_tokens + reply.usage.output_tokens

    def answer(self, results: Iterable[ToolResult]) -> None:
        """Answer the calls of the model's last turn."""
        shown = tuple(self._results.shown(result) for result in results)
        self.turns.append(ToolTurn(shown))
        self._tokens += sum(map(tokens, shown))

    def say(self, text: str) -> None:
        """Tell the model something, beside the results it waits for if there are some: the roles alternate then."""
        last = self.turns[-1]
        if isinstance(last, ToolTurn):
            self.turns[-1] = replace(last, text=f"{last.text}\n\n{text}" if last.text else text)
        else:
            self.turns.append(UserTurn(text))

    def make_room(self) -> None:
        """Clear old results where the next prompt would be larger than it should be."""
        if self._tokens > self._room.context_tokens:
            self._clear(KEPT_TURNS)

    def shorten(self) -> bool:
        """Clear all but the newest results, or those too: the prompt was too long. False: there is nothing to clear."""
        return self._clear(1) or self._clear(0)

    def _clear(self, kept: int) -> bool:
        """Clear all results but those of the newest *kept* turns, all at once: a provider's cache is lost only once."""
        positions = [position for position, turn in enumerate(self.turns) if isinstance(turn, ToolTurn)]
        number, changed = 0, False
        for position in positions[: len(positions) - kept]:
            turn = self.turns[position]
            assert isinstance(turn, ToolTurn)
            results = []
            for result in turn.results:
                number += 1
                results.append(self._results.cleared(number, result))
            changed = changed or any(new is not old for new, old in zip(results, turn.results, strict=True))
            self.turns[position] = replace(turn, results=tuple(results))
        return changed
