"""A function tool whose calls run in a process of their own, which can be ended whatever it is stuck in."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from executor_worker import json_text
from executor_worker.errors import NodeError, NodeTimeout, ToolFailed, ToolTimeout, ToolUnavailable, ToolUncertain
from executor_worker.run_context import RunContext
from executor_worker.tools.base import Answer, Log, OnProgress, silent, unheard
from executor_worker.tools.functions.functions import FunctionTool
from executor_worker.tools.isolation.launcher import Launcher, NeverRead

_BOOT_SECONDS = 30.0
_POLL_SECONDS = 0.1
# A call that is overdue is interrupted in its own process first; one that takes no notice is killed so much later.
_NOTICE_SECONDS = 0.3
_TRIES = 2
_LARGEST_RESULT = 64 * 1024 * 1024  # bytes
_CHUNK = 1 << 18  # bytes

_ERRORS: dict[str, type[NodeError]] = {
    kind.code: kind for kind in (ToolFailed, ToolTimeout, ToolUnavailable, ToolUncertain, NodeTimeout)
}


class Isolation:
    """The shared part of a worker's isolated tools: the process they are forked from, started when first needed."""

    def __init__(self, modules: Sequence[str], log: Log = silent) -> None:
        self._modules = tuple(modules)
        self._log = log
        self._launcher: Launcher | None = None

    def launcher(self) -> Launcher:
        """
        Raises:
            ToolFailed: There is no room for a process.
        """
        if self._launcher is not None and not self._launcher.alive:
            self.kill()
        self._launcher = self._launcher or Launcher(self._modules)
        return self._launcher

    def start(self) -> None:
        """Start it, if it does not run; what is wrong with it, the call will say."""
        with suppress(ToolFailed):
            self.launcher()

    def prepare(self) -> None:
        """Start it and wait for it, so that nothing of this is part of a call's own time."""
        with suppress(ToolFailed):
            self.launcher().ready(_BOOT_SECONDS)

    def kill(self) -> None:
        """End the call in progress, with all it has started."""
        launcher, self._launcher = self._launcher, None
        if launcher is not None:
            launcher.kill()

    def close(self) -> None:
        launcher, self._launcher = self._launcher, None
        if launcher is not None:
            launcher.close()


class IsolatedTool:
    """See `Tool`."""

    def __init__(self, tool: FunctionTool, isolation: Isolation) -> None:
        self.name = tool.name
        self.description = tool.description
        self.input_schema = tool.input_schema
        self.retry = tool.retry
        self.circuits = tool.circuits
        self.surely_fits = tool.surely_fits
        self.effects = tool.effects
        self.timeout = tool.timeout
        self.source = f"{tool.source} (isolated)"
        self._memory_mb = tool.memory_mb
        self._log = tool.log
        self._isolation = isolation

    def prepare(self) -> None:
        """Make ready what a call needs, before its time begins to run."""
        self._isolation.prepare()

    def call(
        self, arguments: dict[str, Any], run_context: RunContext, key: str, on_progress: OnProgress = unheard
    ) -> Answer:
        """Run it in a process of its own; see `Tool.call`."""
        for _ in range(_TRIES):
            with suppress(NeverRead):
                return self._call_once(arguments, run_context, key, on_progress)
            self._isolation.kill()
            self._isolation.prepare()
        raise ToolFailed(f"tool {self.name} was not begun: each process for isolated tools died before it")

    def _call_once(
        self, arguments: dict[str, Any], run_context: RunContext, key: str, on_progress: OnProgress
    ) -> Answer:
        run_context.check()
        began = time.monotonic()
        left = run_context.left()
        request = {
            "tool": self.name,
            "arguments": arguments,
            "key": key,
            "timeout": self.timeout,
            "left": left,
            "memory_mb": self._memory_mb,
        }
        call = _Call(self._isolation.launcher(), run_context, self._log, on_progress)
        overdue = False
        try:
            call.make(_as_json(request, self.name), began + min(self.timeout, left) + _NOTICE_SECONDS)
        except _Overdue:
            overdue = True
            raise ToolTimeout(f"tool {self.name} did not end within {self.timeout:g} s and was killed") from None
        finally:
            call.close()
            if not call.ended:
                self._isolation.kill()
                self._log("warn", "tool.killed", tool=self.name, after_s=round(time.monotonic() - began, 1))
            if overdue:
                self._isolation.start()  # for the next call: it has its modules to import first
            if call.output_dropped:
                self._log("warn", "tool.output_dropped", tool=self.name, bytes=call.output_dropped)
        return _answer(call, self.name)


class _Overdue(Exception):
    """The call did not end in time."""


class _Call:
    """
    One call under way.

    Attributes:
        ended: Whether its process is gone, with all it has started.
        problem: How it ended, if that was no good end.
        outcome: What it said in the end, as JSON; empty if it said nothing.
    """

    def __init__(self, launcher: Launcher, run_context: RunContext, log: Log, on_progress: OnProgress) -> None:
        self.ended = False
        self.problem: str | None = None
        self.outcome = b""
        self._launcher = launcher
        self._run_context = run_context
        self._log = log
        self._on_progress = on_progress
        self._unread = bytearray()
        self._pipe, self._others_end = os.pipe()
        os.set_blocking(self._pipe, False)

    @property
    def output_dropped(self) -> int:
        return self._launcher.output_dropped

    def make(self, request: bytes, deadline: float) -> None:
        """
        Make the call and wait for its end.

        Raises:
            _Overdue: *deadline* (`time.monotonic`) has come.
            ToolFailed: It can't be made, or answers with more than fits.
            NeverRead: It was not begun; another process may make it.
            NodeTimeout, Cancelled, Abandoned: From `watch.check()`, asked ten times a second.
        """
        while not self._launcher.ready(self._pause(deadline)):
            pass
        try:
            self._launcher.send(request, self._others_end)
            self._let_go()
            while not self._launcher.wait(self._pause(deadline), self._pipe):
                self._read()
            self.problem = self._launcher.status()
        except NeverRead:
            self.ended = True
            raise
        self.ended = True
        self._read()

    def close(self) -> None:
        self._let_go()
        os.close(self._pipe)

    def _pause(self, deadline: float) -> float:
        """Return how long to wait before this is asked again."""
        self._run_context.check()
        left = deadline - time.monotonic()
        if left <= 0:
            raise _Overdue
        return min(left, _POLL_SECONDS)

    def _read(self) -> None:
        with suppress(BlockingIOError):
            while chunk := os.read(self._pipe, _CHUNK):
                *lines, rest = chunk.split(b"\n")
                for line in lines:
                    self._heard(bytes(self._unread) + line)
                    self._unread.clear()
                self._unread += rest
                if len(self._unread) > _LARGEST_RESULT:
                    raise ToolFailed(f"output of more than {_LARGEST_RESULT >> 20} MiB")

    def _heard(self, line: bytes) -> None:
        if line.startswith(b'{"log"'):
            level, event, fields = json_text.loads(line)["log"]
            self._log(level, event, **fields)
        elif line.startswith(b'{"progress"'):
            self._on_progress(*json_text.loads(line)["progress"])
        else:
            self.outcome = line

    def _let_go(self) -> None:
        end, self._others_end = self._others_end, -1
        if end >= 0:
            os.close(end)


def _as_json(request: dict[str, Any], name: str) -> bytes:
    try:
        return json_text.dumps(request)
    except ValueError as error:
        raise ToolFailed(f"the arguments of tool {name} can't be handed over: {error}") from error


def _answer(call: _Call, name: str) -> Answer:
    if call.problem or not call.outcome:
        raise ToolFailed(f"tool {name} gave no result: {call.problem or 'its process ended'}")
    said = json_text.loads(call.outcome)
    if "value" in said:
        return Answer(said["value"], is_json=True)
    error = _ERRORS.get(said["error"], ToolFailed)(said["said"])
    error.where, error.trace = said["where"], said["trace"]
    raise error
