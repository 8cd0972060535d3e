"""`replay`: a node's run again, from what was written down of it; nothing is settled, the result is only shown."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from types import MappingProxyType
from typing import Any

from executor_worker.broker.connection.link import Link
from executor_worker.broker.names import STATE_PREFIX
from executor_worker.broker.queue.journal import last_run
from executor_worker.cli.display import on_terminal
from executor_worker.cli.exits import FAILED, Quit
from executor_worker.cli.outcomes import print_outcome
from executor_worker.cli.tail import line
from executor_worker.errors import ModelUnavailable, StateInvalid, ToolUnavailable
from executor_worker.graph.state import GraphState
from executor_worker.json_text import loads
from executor_worker.nodes.executor import Task
from executor_worker.nodes.journal import Record, Recorded
from executor_worker.program.wiring import connect, executor_of, model_settings, require_model, tool_registry
from executor_worker.providers import Models
from executor_worker.providers.base import Answering, ModelReply, ModelRequest
from executor_worker.providers.prices import Prices
from executor_worker.run_context import Circuit, RunContext
from executor_worker.settings import Settings
from executor_worker.tools.base import Answer, Effects, OnProgress, Tool, Toolbox, unheard, unsure
from executor_worker.worker.journal import told


def replay(settings: Settings, args: argparse.Namespace) -> int:
    with closing(connect(settings)) as link:
        state = _state(link, args.graph)
        records = _records(link, state, args.graph, args.node)
    _refuse_beyond(records, args.from_step, f"{args.graph}/{args.node}")
    kept = _cut(records, args.from_step, args.model)
    task = _task(state, args.graph, args.node, kept[0]["config"] if kept else _config(records, args.model))
    journal = _Shown(kept, shown=args.steps or on_terminal(sys.stderr))
    live = args.from_step is not None or args.model is not None
    with _live(settings) if live else _offline(records) as (models, tools):
        executor = executor_of(settings, models, tools, Prices.load(settings.llm_prices))
        return print_outcome(executor.execute(task, RunContext(time.monotonic() + settings.node_timeout), journal))


def _state(link: Link, graph: str) -> GraphState:
    raw = link.call("GET", STATE_PREFIX + graph)
    if raw is None:
        raise Quit(FAILED, f"there is no state of the graph {graph!r}: without its inputs no node can be run again.")
    try:
        return GraphState.parse(raw)
    except StateInvalid as error:
        raise Quit(FAILED, f"{error}.") from None


def _records(link: Link, state: GraphState, graph: str, node: str) -> list[Record]:
    """
    Read what was written down of the node's last run, without its end.

    Raises:
        Quit: Nothing was.
    """
    try:
        found = [loads(record) for record in last_run(link, graph, node, state.metadata(node) or {})]
    except ValueError:
        raise Quit(FAILED, f"the journal of {graph}/{node} is not JSON: another program has written to it.") from None
    if not found:
        advice = "a plain tool node keeps none, and one is kept for STATE_TTL only; `once` runs a node anew."
        raise Quit(FAILED, f"there is no journal of {graph}/{node}: {advice}")
    return [record for record in found if record["step"] != "ended"]


def _refuse_beyond(records: Sequence[Record], from_step: int | None, name: str) -> None:
    """
    Raises:
        Quit: The run did not come so far: nothing would be run live, whatever --model says.
    """
    answers = sum(record["step"] == "replied" for record in records)
    if from_step is not None and from_step > answers:
        had = f"{answers} answer{'' if answers == 1 else 's'} of the model"
        raise Quit(
            FAILED, f"--from-step {from_step} is beyond the run of {name}, which has {had}; keep 0 to {answers}."
        )


def _cut(records: Sequence[Record], from_step: int | None, model: str | None) -> list[Record]:
    """Keep so many answers of the model and what came of them, as if the node had asked for *model*."""
    answers = from_step if from_step is not None else 0 if model is not None else len(records)
    if answers == 0:
        return []
    kept: list[Record] = []
    for record in records:
        if record["step"] == "replied":
            if answers == 0:
                break
            answers -= 1
        kept.append(record)
    return [{**kept[0], "config": _config(kept, model)}, *kept[1:]]


def _config(records: Sequence[Record], model: str | None) -> dict[str, Any]:
    config: dict[str, Any] = records[0]["config"]
    if model is None:
        return config
    if "extract_params" in config:
        extract = config["extract_params"]
        return {
            **config,
            "extract_params": {**extract, "llm_config": {**extract.get("llm_config", {}), "model": model}},
        }
    return {**config, "llm_config": {**(config.get("llm_config") or {}), "model": model}}


def _task(state: GraphState, graph: str, node: str, config: dict[str, Any]) -> Task:
    outputs = {name: output for name, output in state.outputs.items() if name != node}
    return Task(graph, node, "", config, state.inputs, outputs)


class _Shown(Recorded):
    """Shows what was written down and what comes now, one line a step."""

    def __init__(self, records: Sequence[Record], *, shown: bool) -> None:
        super().__init__(records)
        self._wanted = shown

    def read(self) -> list[Record]:
        for record in self.records:
            self._show(record, "journal")
        return super().read()

    def append(self, records: Sequence[Record], *, anew: bool = False) -> None:
        super().append(records, anew=anew)
        for record in records:
            self._show(record, "now")

    def _show(self, record: Record, when: str) -> None:
        event = told(record, content=True)
        if event is not None and self._wanted:
            word, text = line(*event)
            print(f"{when:<7}  {word:<5}  {text}".rstrip(), file=sys.stderr)


# -- who answers ---------------------------------------------------------------------------------------


@contextmanager
def _live(settings: Settings) -> Iterator[tuple[Answering, Toolbox]]:
    require_model(settings, os.environ)
    with ExitStack() as stack:
        tools = stack.enter_context(closing(tool_registry(settings)))
        yield stack.enter_context(closing(Models(model_settings(settings)))), tools


@contextmanager
def _offline(records: Sequence[Record]) -> Iterator[tuple[Answering, Toolbox]]:
    yield _NoModel(), _OldTools(records)


class _NoModel:
    """The model of a replay, which can't be asked: it has no answers but the journal's."""

    def complete(self, request: ModelRequest, run_context: RunContext) -> ModelReply:
        raise ModelUnavailable("the journal ends here: the run had not come any further; --from-step goes on live")


class _OldTools:
    """Tools of which only the answers are left."""

    at_hand: Mapping[str, Tool] = MappingProxyType({})

    def __init__(self, records: Sequence[Record]) -> None:
        self._names = dict.fromkeys(record["name"] for record in records if record["step"] == "sent")

    def find(self, name: str) -> Tool:
        return _OldTool(name)

    def unreached(self, name: str) -> Sequence[Circuit]:
        return ()

    def all(self) -> list[Tool]:
        return [_OldTool(name) for name in self._names]

    def close(self) -> None:
        return


class _OldTool:
    description = ""
    effects: Effects | None = None
    timeout = 1.0
    source = "journal"

    def __init__(self, name: str) -> None:
        self.name = name
        self.input_schema: dict[str, Any] = {}
        self.circuits: Sequence[Circuit] = ()
        self.surely_fits = unsure

    def call(
        self, arguments: dict[str, Any], run_context: RunContext, key: str, on_progress: OnProgress = unheard
    ) -> Answer:
        raise ToolUnavailable(f"{self.name} is not called: the run is replayed from its journal")
