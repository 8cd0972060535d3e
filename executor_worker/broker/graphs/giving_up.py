"""Giving up of a run whose keys another program has changed so that it can't be read or written."""

from __future__ import annotations

import re
from dataclasses import dataclass

from executor_worker.broker.connection.command import Word
from executor_worker.broker.connection.replies import NewerLayout
from executor_worker.broker.graphs.records import mirrored
from executor_worker.broker.graphs.source import GIVE_UP
from executor_worker.broker.names import MARKERS, RESETS, run_key
from executor_worker.broker.queue.commit import Terms
from executor_worker.broker.queue.delivery import Held
from executor_worker.errors import StateInvalid, StreamRefused
from executor_worker.json_text import dumps

_NAMELESS = "WRONGTYPE Operation"
_AROUND = re.compile(r"\ARedis does not do what it is asked: | script: [0-9a-f]{40}.*\Z", re.DOTALL)
_UNREADABLE = re.compile(r"user_script:\d+: ")


@dataclass(frozen=True, slots=True)
class Damage:
    """
    The damage to a run's keys.

    Attributes:
        said: By Redis: which key holds what, or what can't be read.
    """

    said: str

    @property
    def sure(self) -> bool:
        """Tell whether it is the run's: else its keys have to be looked at first."""
        return _NAMELESS not in self.said

    @property
    def error(self) -> str:
        """Say it to who submitted the run."""
        return f"the keys of the run were changed by another program: {self.said}"


def damage_of(error: StreamRefused, graph_id: str) -> Damage | None:
    """Tell by a script's refusal whether keys of the run are damaged; as `damage` in lua/lib/runs/start.lua does."""
    text = str(error)
    if isinstance(error, NewerLayout) or not (graph_id in text or _NAMELESS in text or _UNREADABLE.search(text)):
        return None
    return Damage(_AROUND.sub("", text))


@dataclass(frozen=True, slots=True)
class GiveUpCommit:
    """
    The commit that ends a damaged run and settles an item of it.

    Attributes:
        node: Whose item it is; "": a step.
    """

    graph_id: str
    node: str
    damage: Damage

    script = GIVE_UP

    def words(self, held: Held, terms: Terms) -> tuple[list[Word], list[Word]]:
        """KEYS and ARGV of runs/give_up.lua; see `Commit`."""
        why = {"error": self.damage.error, "error_code": StateInvalid.code}
        told = {**why, "retriable": False}
        mirror = mirrored("node.failed", self.graph_id, self.node, {"output": None, **told})
        keys: list[Word] = [held.stream, MARKERS, RESETS, run_key(self.graph_id)]
        words: list[Word] = [
            terms.group, held.consumer, held.entry, held.count, b"1" if self.damage.sure else b"",
            dumps({"node_id": self.node or None, **why}), self.node, dumps({**told, "handled": False}), mirror,
        ]  # fmt: skip
        return keys, words
