"""Small real counterparts of a model, a tool and a toolbox: they answer as told and remember what came."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from executor_worker.errors import UnknownTool
from executor_worker.outcome import Usage
from executor_worker.providers.base import ModelReply, ModelRequest, ModelTurn, StopReason, ToolCall
from executor_worker.run_context import NO_POOL, Circuit, RunContext
from executor_worker.tools.base import Answer, Effects, OnProgress, Tool, unheard, unsure


def reply(
    text: str = "", *calls: ToolCall, stop: StopReason | None = None, tokens: tuple[int, int] = (10, 5)
) -> ModelReply:
    """What a model answers; `raw` is the turn as some provider might have sent it."""
    reason: StopReason = stop or ("tool_use" if calls else "end_turn")
    raw = [{"type": "text", "text": text}, *({"type": "tool_use", "id": call.id, "name": call.name} for call in calls)]
    return ModelReply(text, ModelTurn(raw), reason, Usage(*tokens), "model-1", calls)


def call(name: str, arguments: dict[str, Any] | None = None, call_id: str = "c1", problem: str = "") -> ToolCall:
    return ToolCall(call_id, name, None if problem else (arguments or {}), problem)


class ScriptedModel:
    """Answers in the order it was given; an exception is raised, a function is called with the request."""

    name = "scripted"

    def __init__(self, *answers: ModelReply | BaseException | Callable[[ModelRequest], ModelReply]) -> None:
        self._answers = list(answers)
        self.requests: list[ModelRequest] = []

    def complete(self, request: ModelRequest, run_context: RunContext) -> ModelReply:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, ModelReply) else answer(request)

    def known_models(self, run_context: RunContext) -> list[str]:
        return []

    def close(self) -> None:
        return


class FunctionTool:
    """Calls *body* with the arguments; what it returns is the value, unless it is an `Answer` already."""

    def __init__(
        self,
        name: str,
        body: Callable[..., Any] = lambda **arguments: arguments,
        schema: dict[str, Any] | None = None,
        *,
        timeout: float = 300.0,
        effects: Effects | None = None,
    ) -> None:
        self.name = name
        self.description = f"What {name} does"
        self.input_schema = schema or {"type": "object"}
        self.circuits: tuple[Circuit, ...] = ()
        self.surely_fits = unsure
        self.effects = effects
        self.timeout = timeout
        self.source = "double"
        self.calls: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self._body = body

    def call(
        self, arguments: dict[str, Any], run_context: RunContext, key: str, on_progress: OnProgress = unheard
    ) -> Answer:
        self.calls.append(arguments)
        self.keys.append(key)
        value = self._body(**arguments)
        if isinstance(value, Answer):
            return value
        return Answer(value, value if isinstance(value, str) else json.dumps(value, default=str))


class Box:
    """Holds the tools it was given; names in *missing* raise the error there."""

    def __init__(self, tools: Iterable[Tool] = (), missing: dict[str, Exception] | None = None) -> None:
        self.tools = {tool.name: tool for tool in tools}
        self.at_hand = {name: tool for name, tool in self.tools.items() if not missing}
        self._missing = missing or {}

    def find(self, name: str) -> Tool:
        if name in self._missing:
            raise self._missing[name]
        if name not in self.tools:
            raise UnknownTool(f"no tool is called {name!r}; known: {', '.join(self.tools)}")
        return self.tools[name]

    def unreached(self, name: str) -> Sequence[Circuit]:
        return ()

    def all(self) -> list[Tool]:
        return list(self.tools.values())

    def close(self) -> None:
        return


class SeenRunContext(RunContext):
    """Remembers what a run showed and counted."""

    def __init__(self, seconds: float = 1000.0, clock: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__(clock() + seconds, "run-1", clock)
        self.means = self
        self.row = self.recorder = self
        self.breakers = NO_POOL
        self.phases: list[tuple[str, float, str]] = []
        self.models: list[tuple[str, Usage | None]] = []
        self.tools: list[tuple[str, bool]] = []
        self.shown: list[tuple[str, int, int]] = []

    # As its row: it says of nothing that it may go on, so the run asks its context.

    def goes_on(self, run: int, now_ns: int) -> bool:
        return False

    def may_begin(self, run: int, now_ns: int) -> bool:
        return False

    def show(self, mode: str, step: int, steps: int, ends_ns: int) -> None:
        self.shown.append((mode, step, steps))

    def enter(self, phase: str, deadline_ns: int, on_deadline: str = "node_timeout") -> None:
        self.phases.append((phase, round(deadline_ns / 1e9 - self.clock(), 6), on_deadline))

    # As its recorder.

    def count(self, name: str, *labels: str) -> None:
        (tool,) = labels
        if name == "dago_tool_failures_total":
            assert self.tools.pop() == (tool, True)
        self.tools.append((tool, name == "dago_tool_executions_total"))

    def observe(self, name: str, value: float, *labels: str) -> None:
        assert (name, value >= 0) == ("dago_tool_duration_seconds", True)

    def model_called(self, model: str, seconds: float, usage: Usage | None) -> None:
        self.models.append((model, usage))
