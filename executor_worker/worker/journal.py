"""One item's journal: its run's steps, kept in Redis where its next run finds them, and shown as they happen."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from executor_worker.broker import JournalKeys, Kept, own_journal
from executor_worker.broker.connection.advice import advice_of
from executor_worker.envelopes.events import event
from executor_worker.errors import Abandoned, StreamError, StreamRefused
from executor_worker.json_text import dumps, loads
from executor_worker.nodes.journal import Record, ended, report
from executor_worker.outcome import Failed
from executor_worker.run_context import RunContext
from executor_worker.telemetry import logs
from executor_worker.worker.deltas import Deltas
from executor_worker.worker.stages import Conclusion, Work

T = TypeVar("T")

LAST_RECORD = dumps(ended())


@dataclass(slots=True)
class RunJournal:
    """
    Named by the item's envelope id, so that it is found again when the item is put up a second time; else by
    its entry. If another writes under that id, or what was there is lost, it goes on under its entry.

    Args:
        open_keys: Gives access to journals; asked only if there is something to keep, or to tell at once.
        pause: Called after each lost reply with the number of tries so far; waits, and answers False to give up.
        deltas: Shows progress to clients that listen as well; None: nothing does.
        content: Events tell prompts, arguments and results too.
        start_told: See `nodes.journal.Journal`.

    Attributes:
        written_as: The key under which the run was written down; None until it was.
    """

    _work: Work
    _open_keys: Callable[[], JournalKeys]
    _run_context: RunContext
    _pause: Callable[[int], bool]
    _worker_id: str
    _deltas: Deltas | None = None
    content: bool = False
    start_told: bool = False
    _wall: Callable[[], float] = time.time
    # Most runs of a tool's node keep nothing: what that needs is not made for them.
    written_as: str | None = field(default=None, init=False)
    _opened: JournalKeys | None = field(default=None, init=False)
    _key: str = field(default="", init=False)  # until it is read
    _own: str = field(default="", init=False)
    _written: Sequence[bytes] = field(default=(), init=False)

    @property
    def _keys(self) -> JournalKeys:
        if self._opened is None:
            self._opened = self._open_keys()
        return self._opened

    def read(self) -> list[Record]:
        """See `nodes.journal.Journal`."""
        self._own, self._key = _names(self._work)
        keys = list(dict.fromkeys((self._own, self._key)))
        found = dict(zip(keys, self._insist(lambda: self._keys.read(*keys)), strict=True))
        self._key = next((key for key in keys if found[key]), self._key)
        self._written = found[self._key]
        try:
            records = [loads(record) for record in self._written]
        except ValueError:
            logs.error("journal.unreadable", advice="another program has written to it: the run begins anew")
            return [{"step": "unreadable"}]
        if records and records[-1]["step"] != "ended":
            steps = [record["step"] for record in records]
            resumed = {"model_calls": steps.count("replied"), "tool_calls": steps.count("answered")}
            logs.info("node.resumed", attempt=self._work.attempt, **resumed)
            self._run_context.tracing.resumed(str(records[0].get("traceparent", "")))
            self._keys.tell(self._event("node.resumed", resumed))
        return records

    def append(self, records: Sequence[Record], *, anew: bool = False) -> None:
        """See `nodes.journal.Journal`; what was kept before is read by then."""
        packed = [dumps(self._traced(record)) for record in records]
        news = [said for record in records if (said := told(record, content=self.content)) is not None]
        if anew:
            self._written = []
        kept = self._append(self._key, -1 if anew else len(self._written), packed, news)
        self._written = [*self._written, *packed]
        if kept is Kept.other:
            self._key = self._own
            kept = self._append(self._key, -1, self._written, news)
        if kept is not Kept.kept:
            raise Abandoned("the item was taken over")
        self.written_as = self._key

    def tell(self, record: Record) -> None:
        """See `nodes.journal.Journal`."""
        step, news = record["step"], told(record, content=self.content)
        if news is None:
            return
        try:
            said = self._event(*news)
        except ValueError:  # no JSON: its reader will say so
            return
        if step in ("sent", "answered"):
            self._work.claim.tell_with_result(said)
        else:
            self._keys.tell(said)
        if self._deltas is not None and step == "progressed":
            self._deltas.progress(news[1])

    def _traced(self, record: Record) -> Record:
        """Let a run's beginning name its span, for a run that goes on from it."""
        traceparent = self._run_context.tracing.item_traceparent if record["step"] == "began" else ""
        return {**record, "traceparent": traceparent} if traceparent else record

    def _append(
        self, key: str, before: int, records: Sequence[bytes], news: Sequence[tuple[str, dict[str, Any]]]
    ) -> Kept:
        events = [self._event(*said) for said in news]
        # A run's log has it from the script that started the node.
        log = [(kind, dumps({"attempt": self._work.attempt, **data})) for kind, data in news if kind != "node.started"]
        return self._insist(lambda: self._keys.append(key, before, records, events, log))

    def _insist(self, act: Callable[[], T]) -> T:
        tries, refused = 0, False
        while True:
            try:
                return act()
            except StreamError as error:
                if isinstance(error, StreamRefused) and not refused:
                    refused = True
                    logs.error("journal.refused", **advice_of(error, "the run waits until Redis takes it"))
                tries += 1
                if not self._pause(tries):
                    raise Abandoned(f"the run's journal can't be reached: {error}") from error
                self._run_context.check()

    def _event(self, kind: str, data: dict[str, Any]) -> bytes:
        work, now = self._work, self._wall()
        known = {"graph_id": work.graph_id, "node_id": work.node_id, "worker_id": self._worker_id}
        return event(kind, *work.names, {**known, "attempt": work.attempt, **data}, now)


def recall(work: Work, conclusion: Conclusion, keys: JournalKeys) -> Conclusion:
    """
    Add what a run that was ended with its worker had cost and done, as far as Redis can be asked.

    The outcome stands in any case.
    """
    outcome = conclusion.outcome
    if not isinstance(outcome, Failed):
        return conclusion
    names = list(dict.fromkeys(_names(work)))
    with suppress(StreamError, ValueError, KeyError, TypeError):
        for name, found in zip(names, keys.read(*names), strict=True):
            records = [loads(record) for record in found]
            if not records or records[-1]["step"] == "ended":
                continue
            usage, done = report(records)
            detail = {**outcome.detail, **(done if work.mode == "agent" else {})}
            # A dead item's journal does not end: the run goes on from there when it is put up again.
            journal = name if conclusion.dead_reason is None else None
            return replace(conclusion, outcome=replace(outcome, usage=usage, detail=detail), journal=journal)
    return conclusion


def _names(work: Work) -> tuple[str, str]:
    """The journal that is named by its entry, and the one by the item's own name; the same if it has none."""
    return own_journal(work.held.stream, work.held.entry), work.journal_key


def told(record: Record, *, content: bool) -> tuple[str, dict[str, Any]] | None:
    """The event that tells of *record*: its type and its data."""
    match record["step"]:
        case "started":
            return "node.started", {}
        case "progressed":
            return "node.progress", {name: record[name] for name in ("name", "done", "total")}
        case "replied":
            return "llm.called", _reply(record, content)
        case "sent":
            about = {"call": record["call"], "name": record["name"]}
            return "tool.sent", {**about, "arguments": record["arguments"]} if content else about
        case "answered":
            about = {"call": record["call"], "name": record["name"], "ok": record["ok"]}
            if not record["ok"] or content:
                about |= _picked(record, *(("error_code", "text", "error") if content else ("error_code",)))
            about["duration_ms"] = round(record["seconds"] * 1000)
            return "tool.called", about
    return None


def _reply(record: Record, content: bool) -> dict[str, Any]:
    usage = {name: record["usage"][name] for name in ("input_tokens", "output_tokens")}
    asked = [call["name"] for call in record["tool_calls"]]
    data = _picked(record, "model", "stop_reason", *(("text",) if content else ()))
    return data | {"usage": usage, "tools": asked} | _duration(record)


def _duration(record: Record) -> dict[str, Any]:
    return {"duration_ms": round(record["seconds"] * 1000)}


def _picked(record: Record, *names: str) -> dict[str, Any]:
    return {name: record[name] for name in names if name in record}
