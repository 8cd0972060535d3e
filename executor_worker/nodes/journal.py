"""
The journal of a run: records of its steps, from which a later run of the same item goes on (`steps.py` does).

    began      the item's name then, the node's config, and how the conversation was opened
    replied    a model's answer with its blocks as they were, and what it cost
    sent       a tool call is about to be made
    unsent     it was not: the item waits, and it is made later
    answered   what came of it, as the run was told: an answer, or an error with its code
    ended      the run's outcome is settled: its next run begins anew

They are data, not code: a resumed run asks for answers in the order of its own calls, and nothing else has to
be the same. A tool call is named `<model calls before it>.<position in its turn>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

from executor_worker.errors import NodeError, ToolFailed, ToolTimeout, ToolUnavailable, ToolUncertain, UnknownTool
from executor_worker.nodes.templates import short
from executor_worker.outcome import Usage
from executor_worker.providers.base import ModelReply, ModelRequest, UserTurn
from executor_worker.tools.base import Answer

Record: TypeAlias = dict[str, Any]
Config: TypeAlias = dict[str, Any]

_FORM = 1
_ERRORS: dict[str, type[NodeError]] = {
    error.code: error for error in (ToolFailed, ToolTimeout, ToolUnavailable, ToolUncertain, UnknownTool)
}


class Journal(Protocol):
    """
    The journal as nodes see it: it keeps records, and is told progress.

    Attributes:
        content: What was said is shown too.
        start_told: Watchers know already that the run has begun, or there are none.
    """

    content: bool
    start_told: bool

    def read(self) -> list[Record]:
        """
        Read what earlier runs of this item have kept, oldest first.

        Raises:
            Abandoned: It can't be read, and the item must be given back.
            NodeTimeout, Cancelled: From the run context, while waiting for Redis.
        """
        ...

    def append(self, records: Sequence[Record], *, anew: bool = False) -> None:
        """
        Keep *records* in one step; when this returns they are not lost any more.

        Args:
            anew: What was kept before is of no use; these take its place.

        Raises:
            Abandoned: The item went to another worker, nothing was kept; or it must be given back.
            NodeTimeout, Cancelled: From the run context, while waiting for Redis.
        """
        ...

    def tell(self, record: Record) -> None:
        """
        Show *record* to the run's watchers; it is not kept, and this never fails.

        A call, and what came of it, is shown with the run's end: a reader that watches has seen the beginning.
        """
        ...


class Unkept:
    """Keeps nothing and shows nothing: for runs that no other process can go on with."""

    content = False
    start_told = True

    def read(self) -> list[Record]:
        return []

    def append(self, records: Sequence[Record], *, anew: bool = False) -> None:
        return

    def tell(self, record: Record) -> None:
        return


NOT_KEPT = Unkept()


class Recorded:
    """Has been read already, and keeps what is added: for replays."""

    content = False
    start_told = True

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = list(records)

    def read(self) -> list[Record]:
        return list(self.records)

    def append(self, records: Sequence[Record], *, anew: bool = False) -> None:
        self.records = [*([] if anew else self.records), *records]

    def tell(self, record: Record) -> None:
        return


class History:
    """
    The history of an item: what its earlier runs have done.

    Attributes:
        outdated: There are records, but of a run that has ended, or of another config: they don't count.
        changed: It is the config that is another one.
    """

    def __init__(self, records: Sequence[Record], config: Config) -> None:
        first = records[0] if records else {}
        over = bool(records) and records[-1]["step"] == "ended"
        self.changed = bool(records) and not over and (first.get("form"), first.get("config")) != (_FORM, config)
        self.outdated = over or self.changed
        usable = bool(records) and not self.outdated
        self._began = first if usable else None
        steps = records[1:] if usable else []
        self._replied = [record for record in steps if record["step"] == "replied"]
        self._sent = _sent(steps)
        self._answered = {record["call"]: record for record in steps if record["step"] == "answered"}

    @property
    def begun(self) -> bool:
        return self._began is not None

    @property
    def key(self) -> str | None:
        """The beginning of the calls' idempotency keys; None if nothing was begun."""
        return self._began["key"] if self._began is not None else None

    @property
    def replies(self) -> int:
        """Answers of the model that need not be paid again."""
        return len(self._replied)

    def opened(self, request: ModelRequest) -> ModelRequest:
        """Open *request* as the conversation was opened then: what its templates name may have changed since."""
        prompt = (self._began or {}).get("prompt")
        if prompt is None:
            return request
        turns = (UserTurn(prompt), *request.turns[1:])
        return replace(request, turns=turns, system=(self._began or {}).get("system"))

    def reply(self, index: int) -> ModelReply | None:
        """The model's answer of that number, from 0; None if it has to be asked."""
        return ModelReply.of_json(self._replied[index]) if index < len(self._replied) else None

    def sent(self, call: str) -> bool:
        return call in self._sent

    def answered(self, call: str) -> Record | None:
        """Find how that tool call ended, for `answer` and `seconds`; None if its end is unknown."""
        return self._answered.get(call)


def _sent(steps: Sequence[Record]) -> set[str]:
    """Name the tool calls that were sent, in order: some only after they had waited."""
    calls: set[str] = set()
    for record in steps:
        if record["step"] == "sent":
            calls.add(record["call"])
        elif record["step"] == "unsent":
            calls.discard(record["call"])
    return calls


def started() -> Record:
    """Only told, as is `progressed`."""
    return {"step": "started"}


def progressed(name: str, done: float, total: float | None) -> Record:
    return {"step": "progressed", "name": name, "done": done, "total": total}


def began(key: str, config: Config, opening: ModelRequest | None) -> Record:
    """
    Args:
        key: What the calls' idempotency keys begin with; stays so when the item is put up again.
        config: A node that was changed on purpose is another one; and a replay needs it.
        opening: The first request; None if no model is asked first.
    """
    record: Record = {"step": "began", "form": _FORM, "key": key, "config": config}
    if opening is not None and opening.turns and isinstance(opening.turns[0], UserTurn):
        record |= {"system": opening.system, "prompt": opening.turns[0].text}
    return record


def replied(reply: ModelReply, seconds: float) -> Record:
    return {"step": "replied", **reply.as_json(), "seconds": round(seconds, 3)}


def sent(call: str, name: str, arguments: dict[str, Any]) -> Record:
    return {"step": "sent", "call": call, "name": name, "arguments": arguments}


def unsent(call: str) -> Record:
    return {"step": "unsent", "call": call}


def answered(call: str, name: str, answer: Answer, seconds: float, *, with_value: bool) -> Record:
    """
    Args:
        with_value: The run wants the answer as a value, not as a model reads it.
    """
    record: Record = {"step": "answered", "call": call, "name": name, "ok": not answer.is_error}
    record |= {"seconds": round(seconds, 3), "text": answer.text, "blocks": list(answer.blocks)}
    return {**record, "value": answer.value} if with_value else record


def failed(call: str, name: str, error: NodeError, seconds: float) -> Record:
    return {
        "step": "answered",
        "call": call,
        "name": name,
        "ok": False,
        "error": str(error),
        "error_code": error.code,
        "seconds": round(seconds, 3),
    }


def ended() -> Record:
    return {"step": "ended"}


def report(records: Sequence[Record]) -> tuple[Usage | None, dict[str, Any]]:
    """
    Add up what a run has cost and done that left nothing but its records.

    Returns:
        Usage (None if no model has answered), and what a failed agent's result tells besides.
    """
    usage: Usage | None = None
    calls: dict[str, dict[str, Any]] = {}
    replies = 0
    for record in records:
        match record["step"]:
            case "replied":
                replies += 1
                usage = usage or Usage()
                usage.add(Usage(**record["usage"]))
            case "sent":
                calls[record["call"]] = {"name": short(record["name"], 128), "ok": False, "duration_ms": 0}
            case "unsent":
                calls.pop(record["call"], None)
            case "answered":
                made = {"ok": record["ok"], "duration_ms": round(record["seconds"] * 1000)}
                calls[record["call"]] = {"name": short(record["name"], 128), **made}
    return usage, {"iterations": replies, "tool_calls": list(calls.values())} if replies else {}


def answer(record: Record) -> Answer:
    """
    Raises:
        ToolError: The call had ended with it.
    """
    if "error_code" in record:
        raise _ERRORS.get(record["error_code"], ToolFailed)(record["error"])
    return Answer(record.get("value"), record["text"], tuple(record["blocks"]), not record["ok"])
