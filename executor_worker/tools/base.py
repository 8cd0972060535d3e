"""The interface of a tool: a name, a schema, and a call that answers with a value or raises a `ToolError`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias
from urllib.parse import quote

import orjson

from executor_worker.run_context import Circuit, RunContext

Effects = Literal["none", "idempotent", "unsafe"]
OnOpen = Literal["wait", "fail"]
"""What a call does while its tool, or the server that has it, is held back."""
OnProgress: TypeAlias = Callable[[float, float | None], None]
"""Told how far a call says it has got, of how much in all."""


def unheard(done: float, total: float | None) -> None:
    """Discard how far a call has got."""


def key_header(key: str) -> dict[str, str]:
    """The header that carries a call's idempotency key, whatever characters the item's id has brought into it."""
    return {"Idempotency-Key": quote(key, safe="/:.-_~@+=,;!*()", errors="surrogatepass")}


class Log(Protocol):
    """The log that a tool room reports to: level, event in the past tense, fields."""

    def __call__(self, level: str, event: str, /, **fields: Any) -> None: ...


def unsure(arguments: Any) -> bool:
    """Say of no arguments that they fit: for tools whose schema alone can tell."""
    return False


def silent(level: str, event: str, /, **fields: Any) -> None:
    """Report nothing: for those who hand in no log."""


@dataclass(slots=True)  # not frozen: one is made for every item, which takes thrice as long then
class ToolContext:
    """
    The context of a call, for the function: annotate a parameter with this type to get it.

    Attributes:
        key: Names this call; the same when it is made again after a crash. Hand it to APIs that take idempotency keys.
        deadline: When the call's time is up, in seconds on `time.monotonic`.
    """

    key: str
    deadline: float
    _run_context: RunContext
    _name: str
    _log: Log
    _on_progress: OnProgress = unheard

    def left(self) -> float:
        """Seconds until the call's time is up."""
        return self.deadline - time.monotonic()

    @property
    def trace_headers(self) -> dict[str, str]:
        """Headers that let the called server go on with the item's trace; empty if nothing is traced."""
        return self._run_context.tracing.headers

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Say how far it has got; a cancelled or overdue item ends here."""
        self._log("debug", "tool.progressed", tool=self._name, done=done, total=total, message=message)
        self._on_progress(done, total)
        self._run_context.check()


@dataclass(slots=True, eq=False)
class Answer:
    """
    The answer of a tool.

    Attributes:
        value: What a tool node's output is: any JSON value (MCP: structured content as it is, else the text where
            all is text, else the blocks).
        text: The same for a model to read; written only when one does.
        blocks: Images, links and the like for a model, MCP content blocks; empty if `text` says all.
        is_error: The tool itself said that it failed; `text` is then its message.
        is_json: *value* is surely a JSON value: it need not be looked through again.
    """

    value: Any
    _text: str | None = None  # None: the value as `as_text` writes it
    blocks: tuple[dict[str, Any], ...] = ()
    is_error: bool = False
    is_json: bool = False

    @property
    def text(self) -> str:
        if self._text is None:
            self._text = as_text(self.value)
        return self._text


def as_text(value: Any) -> str:
    """Write a JSON value for a model to read: a string as it is, all else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # integers over 64 bits, lone surrogates
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Tool(Protocol):
    """
    Attributes:
        effects: What it declares a repeated call to do; None if it declares nothing.
        timeout: Seconds for one call.
        circuits: With what it is held back; empty, for a tool that goes to ever other places: it never is.
        surely_fits: Tells at once whether arguments fit the schema; if not, they have to be looked at more closely.
        source: For people, e.g. `mcp everything`, `function tools.py`, `built-in`, `rest`.
    """

    name: str
    description: str
    input_schema: dict[str, Any]
    effects: Effects | None
    timeout: float
    source: str

    @property
    def circuits(self) -> Sequence[Circuit]: ...
    @property
    def surely_fits(self) -> Callable[[Any], bool]: ...

    def call(
        self, arguments: dict[str, Any], run_context: RunContext, key: str, on_progress: OnProgress = unheard
    ) -> Answer:
        """
        Call it once, right after `run_context.check()`; *arguments* were validated against the schema, *key* is the
        call's idempotency key.

        Raises:
            ToolFailed: It could not be called or broke; also output that is not JSON.
            ToolTimeout: No answer within min(timeout, watch.left()).
            ToolUnavailable: Its server can't be reached; the call was not sent.
            ToolUncertain: The connection was lost after the call was sent: it may have happened.
            NodeTimeout, Cancelled, Abandoned: From `watch.check()`.
        """
        ...


class Toolbox(Protocol):
    """
    All tools of this process, looked up by exact name: MCP first, then functions.

    Attributes:
        at_hand: Those for which no server has to be asked, and no process made ready; `find` has all.
    """

    @property
    def at_hand(self) -> Mapping[str, Tool]: ...

    def find(self, name: str) -> Tool:
        """
        Raises:
            UnknownTool: No tool has that name; lists the nearest known ones.
            ToolUnavailable: It may belong to a server that was never reached.
        """
        ...

    def unreached(self, name: str) -> Sequence[Circuit]:
        """Say, without waiting, which server was never reached and may have a tool of that name; empty: none."""
        ...

    def all(self) -> list[Tool]:
        """Every tool that can be reached now, by name; unreachable servers are left out (and logged)."""
        ...

    def close(self) -> None: ...
