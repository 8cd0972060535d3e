"""Nodes: configs of all modes, models that answer anything, tools that return anything."""

from __future__ import annotations

import datetime
import decimal
import json
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from benchmarks.fuzz.codes import ending
from benchmarks.fuzz.items import KINDS, check
from benchmarks.fuzz.material import Material
from executor_worker.broker import Claim, Delivery, DocumentCommit, Held, JournalKeys, Kept, Settled, Settlement
from executor_worker.broker.queue.commit import Commit
from executor_worker.broker.queue.delivery import Holder
from executor_worker.errors import ModelBadResponse, ModelRejected, ModelUnavailable, ToolFailed, ToolTimeout
from executor_worker.nodes.executor import Executor, Task
from executor_worker.outcome import Completed, Outcome, Usage
from executor_worker.providers.base import ModelReply, ModelRequest, ModelTurn, StopReason, ToolCall
from executor_worker.run_context import Circuit, RunContext
from executor_worker.tools import Answer, Effects, FunctionTool, Tool
from executor_worker.tools.base import OnProgress, unheard, unsure
from executor_worker.tools.functions.marks import Mark
from executor_worker.worker.item import Settler
from executor_worker.worker.journal import RunJournal
from executor_worker.worker.kinds.document import DocumentWork
from executor_worker.worker.stages import Conclusion
from tests.unit.executor_worker.nodes.doubles import Box

SECONDS = 5.0
STOPS: tuple[StopReason, ...] = (
    "end_turn", "end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal",
    "context_window_exceeded",
)  # fmt: skip
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
SCHEMAS: tuple[dict[str, Any], ...] = (
    SCHEMA,
    {},
    {"type": "array"},
    {"$ref": "#"},
    {"type": 3},
    {"$ref": "http://localhost:1/x"},
    {"pattern": "("},
)
ERRORS = (ModelBadResponse, ModelRejected, ModelUnavailable)


def config(material: Material) -> Any:
    """A node's config of any mode, often with something wrong in it."""
    random = material.random
    model = {"model": "m", "prompt": "Say {{n}}", "system": "s", "temperature": 0.5, "max_tokens": 9}
    if material.chance(0.3):
        model["output_schema"] = random.choice(SCHEMAS)
    whole = random.choice(
        (
            {"llm_config": model},
            {**model, "timeout": 3},
            {"llm_config": model, "task": "do {{inputs.a}}", "tools": ["give", "*", "fail"], "max_iterations": 3},
            {"llm_config": model, "tools": ["*"], "on_limit": random.choice(("fail", "finalize", "partial"))},
            {"llm_config": model, "tools": ["give"], "budget": {"total_tokens": 30}, "on_uncertain": "fail"},
            {"tool_name": random.choice(("give", "echo", "fail")), "tool_params": {"a": "{{n}}"}},
            {"tool_name": "give", "tool_params": {}},
            {"tool_name": "echo", "parameters": {"a": material.value(), "b": "{{n}} {{inputs.a}}"}},
            {"tool_name": "unsafe", "tool_params": {"a": "{{n}}"}},
            {"tool_name": "foreign", "tool_params": {"a": "{{n}}"}},
            {"tool_name": "strict", "extract_params": {"from": "{{n}}", "llm_config": model}},
        )
    )
    return whole if material.chance(0.4) else material.spoilt(whole)


class RandomModel:
    """Answers whatever a model may, and some more."""

    name = "random"

    def __init__(self, material: Material) -> None:
        self.asked = 0
        self._material = material

    def complete(self, request: ModelRequest, run_context: RunContext) -> ModelReply:
        self.asked += 1
        material, random = self._material, self._material.random
        if material.chance(0.1):
            raise random.choice(ERRORS)("it said no")
        names = [*(spec.name for spec in request.tools), material.text()]
        calls = tuple(self._call(random.choice(names), number) for number in range(random.choice((0, 0, 1, 1, 2, 3))))
        text = random.choice((material.text(), '{"a": 1}', "```json\n{}\n```", "[" * 2000, '{"a": NaN}'))
        usage = Usage(random.randrange(50), random.randrange(50))
        return ModelReply(text, ModelTurn([{"type": "text", "text": text}]), random.choice(STOPS), usage, "m", calls)

    def _call(self, name: str, number: int) -> ToolCall:
        material = self._material
        if material.chance(0.1):
            return ToolCall(f"c{number}", name, None, "its arguments are not JSON")
        arguments = {"a": 1} if material.chance(0.5) else {material.text(): material.value()}
        return ToolCall("" if material.chance(0.05) else f"c{number}", name, arguments)

    def known_models(self, run_context: RunContext) -> list[str]:
        return []

    def close(self) -> None:
        return


class RandomModels:
    """The address at which the executor finds it."""

    def __init__(self, material: Material) -> None:
        self.default = RandomModel(material)
        self.complete = self.default.complete


class Loose:
    """A tool whose answers nobody has made JSON: what a foreign kind of tool might hand over."""

    def __init__(self, name: str, material: Material) -> None:
        self.name = name
        self.description, self.source = "d", "foreign"
        self.input_schema: dict[str, Any] = {"type": "object"}
        self.circuits: tuple[Circuit, ...] = ()
        self.surely_fits = unsure
        self.effects: Effects | None = None
        self.timeout = 1.0
        self._material = material

    def call(
        self, arguments: dict[str, Any], run_context: RunContext, key: str, on_progress: OnProgress = unheard
    ) -> Answer:
        material = self._material
        if material.chance(0.1):
            raise material.random.choice((ToolFailed, ToolTimeout))("it could not")
        blocks = ({"type": "image", "data": "xx", "mimeType": "image/png"},) if material.chance(0.1) else ()
        return Answer(_odd(material), material.text(), blocks=blocks, is_error=material.chance(0.1))


def _odd(material: Material) -> Any:
    """A value that a function may return."""
    circle: list[Any] = []
    circle.append(circle)
    odd: tuple[Callable[[], Any], ...] = (
        object, lambda: float("nan"), lambda: b"\xff", lambda: {1: {2, 3}}, lambda: circle, lambda: {("a",): 1},
        lambda: datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC), lambda: decimal.Decimal("1.10"), lambda: range(3),
        lambda: (number for number in range(2)), lambda: Answer, lambda: {"a": [float("inf")]}, lambda: "x" * 100_000,
    )  # fmt: skip
    return material.value() if material.chance(0.6) else material.random.choice(odd)()


def tools(material: Material) -> tuple[Tool, ...]:
    """Functions as authors write them, and a foreign kind."""

    def give() -> Any:
        return _odd(material)

    def echo(a: Any = None, b: Any = None) -> Any:
        return [a, b]

    def strict(a: int) -> int:
        return a

    def fail(a: Any = None) -> None:
        kinds = (ValueError, RecursionError, SystemExit, KeyboardInterrupt, MemoryError, StopIteration, UnicodeError)
        raise material.random.choice(kinds)(material.text())

    unsafe = FunctionTool(echo, Mark("unsafe", None, "unsafe", None))
    return (*(FunctionTool(one) for one in (give, echo, strict, fail)), unsafe, Loose("foreign", material))


class Keys:
    """A journal as Redis keeps it: bytes."""

    def __init__(self) -> None:
        self.kept: dict[str, list[bytes]] = {}

    def read(self, *keys: str) -> list[list[bytes]]:
        return [list(self.kept.get(key, ())) for key in keys]

    def append(
        self,
        key: str,
        before: int,
        records: Sequence[bytes],
        events: Sequence[bytes] = (),
        log: Sequence[tuple[str, bytes]] = (),
    ) -> Kept:
        assert all(json.loads(event) for event in events)
        self.kept[key] = [*([] if before < 0 else self.kept.get(key, [])), *records]
        return Kept.kept

    def tell(self, event: bytes) -> None:
        assert json.loads(event)


def run(task: Task, models: RandomModels, box: Box, keys: Keys) -> Outcome:
    """Execute with a journal, as a worker does."""
    run_context = RunContext(time.monotonic() + SECONDS)
    journal = RunJournal(
        work_of(_Once()), lambda: cast("JournalKeys", keys), run_context, lambda _: False, "w.1", content=True
    )
    executor = Executor(models=models, tools=box, default_model="m", max_iterations=4)
    return executor.execute(task, run_context, journal)


def case(material: Material) -> str:
    """Run a node, settle what came of it, and run it again from what was written down."""
    given = config(material)
    inputs = {"a": material.value(), material.text(): material.value(1)}
    outputs = {"n": material.value(), material.text(): material.value(1)}
    models, box, keys = RandomModels(material), Box(tools(material)), Keys()
    task = Task("g", "n", "", given, inputs, outputs)
    outcome = run(task, models, box, keys)
    told = ending(outcome)
    settle(outcome)
    if isinstance(outcome, Completed) and outcome.mode != "tool" and not _out_of_time(outcome):
        asked = models.default.asked
        again = run(task, models, box, keys)
        assert models.default.asked == asked, "no answer of a model is paid twice"
        assert isinstance(again, Completed), again
        assert _said(again) == _said(outcome), "it ends as it did"
    return told


def _out_of_time(outcome: Completed) -> bool:
    """Tell whether it is a part only: with more time the next run goes on."""
    return bool(outcome.output.get("stop_reason") == "node_timeout")


def _said(outcome: Completed) -> Any:
    return {name: outcome.output.get(name) for name in ("content", "result", "parsed", "iterations", "stop_reason")}


class _Once:
    """Takes the first commit."""

    def __init__(self) -> None:
        self.commit: DocumentCommit | None = None
        self.untold: list[bytes] = []

    def settle(self, held: Held, commit: Commit, *, take_next: bool) -> Settlement:
        assert isinstance(commit, DocumentCommit)
        self.commit = commit
        return Settlement(Settled.settled)


def work_of(holder: _Once) -> DocumentWork:
    """An item whose graph's state is empty."""
    delivery = Delivery(Held("executor.work", "1-1", 1, "w.1"), {b"data": b"{}"}, "document")
    claim = Claim(delivery, cast("Holder", holder))
    return DocumentWork(claim, claim.held, 1, 0.0, 0.0, "g", "n", watched="dago:state:g", state=b"{}")


def settle(outcome: Outcome) -> None:
    """Whatever came of it can be written, or is a failure that can."""
    holder = _Once()
    work = work_of(holder)
    settler = Settler(KINDS, "w.1", lambda _: False, wall=lambda: 1.0)
    result = settler.settle(work, Conclusion(outcome), lambda: False)
    assert holder.commit is not None
    check(holder.commit, None, work, result.conclusion)
