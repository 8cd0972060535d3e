"""Execution of a node, with no Redis in sight: choose the mode, run it, make every error a value."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from loguru import logger

from executor_worker.errors import Cancelled, ConfigError, InternalError, Interrupt, NodeError, Stopped, UnknownTool
from executor_worker.nodes import llm, router, spec, tool
from executor_worker.nodes.agent import loop
from executor_worker.nodes.agent.limits import Limits
from executor_worker.nodes.context import Context
from executor_worker.nodes.context_budget import ContextBudget
from executor_worker.nodes.extract import extraction
from executor_worker.nodes.journal import NOT_KEPT, Journal, started
from executor_worker.nodes.steps import Steps
from executor_worker.nodes.templates import Scope
from executor_worker.outcome import Completed, Failed, Mode, Outcome
from executor_worker.providers.base import Answering, Fallback, ModelRequest, UserTurn
from executor_worker.providers.prices import Priced, Prices
from executor_worker.run_context import RunContext
from executor_worker.tools.base import Toolbox


@dataclass(slots=True)  # not frozen: one is made for every item, which takes thrice as long then
class Task:
    """
    One node to be run.

    Attributes:
        node_type: A hint for people; the config alone decides.
        inputs: The graph's.
        outputs: Node id to output, of the nodes that have one.
        unfinished: Node id to status, of the nodes that have none yet; only for better messages.
        further, message, absent: See `Scope`.
        rules: What a router's rules see; None: it is no router.
    """

    graph_id: str
    node_id: str
    node_type: str
    config: dict[str, Any]
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    unfinished: dict[str, str] = field(default_factory=dict)
    further: dict[str, Any] = field(default_factory=dict)
    message: Any = None
    absent: Collection[str] = ()
    rules: dict[str, Any] | None = None


class Executor:
    """
    Args:
        models: Answers; no client is made before it is asked, so nodes that need no model never pay for one.
        default_model: Used if a node names none.
        max_iterations: Model calls of an agent that names no limit.
        prices: What models cost; without them no cost is told, and no budget in money can be kept.
        room: How much an agent's model is shown.
    """

    def __init__(
        self,
        *,
        models: Answering,
        tools: Toolbox,
        default_model: str,
        max_iterations: int = 10,
        prices: Prices | None = None,
        room: ContextBudget | None = None,
    ) -> None:
        self._models = models
        self._tools = tools
        self._default_model = default_model
        self._max_iterations = max_iterations
        self._prices = prices or Prices()
        self._room = room or ContextBudget()

    def execute(self, task: Task, run_context: RunContext, journal: Journal | None = None) -> Outcome:
        """
        Run *task*; whatever goes wrong is an outcome.

        A node's own `timeout` moves the run's deadline nearer.

        Args:
            journal: What earlier runs of the item have done, and where this one's steps are kept; None: nowhere.

        Raises:
            Interrupt: The run was ended from outside, for another reason than that its graph was cancelled.
        """
        shown = journal or NOT_KEPT
        steps = Steps(self._answering, run_context, shown, task.config)
        mode: Mode | None = None
        try:
            if task.rules is not None:
                mode = "router"
                return self._routed(task, task.rules, self._context(task, steps, shown, run_context))
            mode = spec.mode_of(task.config)
            node = spec.read(task.config, mode)
            if node.timeout is not None:
                run_context.deadline = min(run_context.deadline, run_context.clock() + node.timeout)
            _begin(mode, run_context, shown)
            context = self._context(task, steps, shown, run_context)
            match node:
                case spec.ToolNode():
                    output = tool.run(node, context)
                case spec.LlmNode():
                    output = llm.run(node, context)
                case spec.AgentNode():
                    with run_context.tracing.agent(task.node_id, node.llm.model or context.model):
                        output = loop.run(node, context)
            if steps.fallback is None:
                return Completed(output, mode, steps.usage)
            return _fallen_back(output, mode, steps, steps.fallback)
        except Stopped as error:
            return _failed(Cancelled(str(error)), mode, steps)
        except Interrupt:
            raise
        except UnknownTool as error:
            run_context.lack(_tools_named(task.config))
            return _failed(error, mode, steps)
        except NodeError as error:
            return _failed(error, mode, steps)
        except ConfigError as error:
            return _failed(InternalError(str(error)), mode, steps)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the worker lives on and says so
            logger.bind(mode=mode).opt(exception=error).error("node.broke")
            return _failed(InternalError(f"the node ended with an unexpected {type(error).__name__}"), mode, steps)

    def _routed(self, task: Task, rules: dict[str, Any], context: Context) -> Completed:
        """
        Raises:
            NoRoute: It has no way to go.
        """
        _begin("router", context.run_context, context.shown)
        output, errors = router.run(task.config, rules, context)
        detail: dict[str, Any] = {"edge_errors": errors} if errors else {}
        if context.steps.fallback is not None:
            detail |= context.steps.fallback.as_json()
        return Completed(output, "router", context.steps.usage, detail)

    def preview(self, task: Task) -> dict[str, Any]:
        """
        Say what running *task* would send, as JSON values, or why it can't be run; call no model and no tool.

        Tools are looked up, so that parameters can be checked against their schemas.

        Returns:
            `valid`, `mode` and what would be sent; if `valid` is false, `error` and `error_code` instead.
        """
        mode: Mode | None = None
        try:
            mode = spec.mode_of(task.config)
            node = spec.read(task.config)
            run_context = RunContext(math.inf)
            steps = Steps(self._answering, run_context, NOT_KEPT, task.config)
            return {"valid": True, "mode": mode, **_preview(node, self._context(task, steps, NOT_KEPT, run_context))}
        except NodeError as error:
            return {"valid": False, "mode": mode, "error": str(error), "error_code": error.code}

    def _answering(self) -> Answering:
        return Priced(self._models, self._prices)

    def _context(self, task: Task, steps: Steps, shown: Journal, run_context: RunContext) -> Context:
        scope = Scope(task.inputs, task.outputs, task.unfinished, task.further, task.message, task.absent)
        return Context(
            scope=scope,
            steps=steps,
            shown=shown,
            tools=self._tools,
            model=self._default_model,
            max_iterations=self._max_iterations,
            run_context=run_context,
            prices=self._prices,
            room=self._room,
        )


def _begin(mode: Mode, run_context: RunContext, shown: Journal) -> None:
    """Show that the node is run, unless something speaks against that."""
    row, now = run_context.means.row, run_context.clock()
    if run_context.deadline <= now or not row.goes_on(run_context.run, int(now * 1e9)):
        run_context.check()
    run_context.mode = mode
    row.show(mode, 0, 0, int(run_context.deadline * 1e9))
    if not shown.start_told:
        shown.tell(started())


def _tools_named(config: dict[str, Any]) -> list[str]:
    """List all tools that a node's config names; `*` is whatever there is."""
    named = [config.get("tool_name"), *(config.get("tools") or ())]
    return [name for name in named if isinstance(name, str) and name != spec.ALL_TOOLS]


def _fallen_back(output: Any, mode: Mode, steps: Steps, fallback: Fallback) -> Completed:
    """Say which model has answered and why, for it was not the one asked for; a tool's output stays the tool's."""
    told = fallback.as_json()
    return Completed(output if mode == "tool" else {**output, **told}, mode, steps.usage, told)


def _failed(error: NodeError, mode: Mode | None, steps: Steps) -> Failed:
    """Name the cause, what it has cost, and what an agent had done by then."""
    detail: dict[str, Any] = {}
    if mode == "agent" and steps.replies:
        detail = {"iterations": steps.replies, "tool_calls": [made.as_json() for made in steps.made]}
    return Failed(str(error), error.code, mode, steps.usage, detail, error.where, error.retry)


def _preview(node: spec.Node, context: Context) -> dict[str, Any]:
    match node:
        case spec.ToolNode():
            found, params = tool.prepare(node, context)
            shown: dict[str, Any] = {"tool_name": node.tool, "tool_source": found.source, "tool_params": params}
            if node.extract is not None:
                shown["extract_params"] = _shown(extraction(node.extract, node.tool, found, context))
            return shown
        case spec.LlmNode():
            return _shown(llm.prepare(node, context)[0])
        case spec.AgentNode():
            request, tools, _ = loop.prepare(node, context)
            limits = {"max_iterations": Limits.of(node, context).max_iterations, "on_limit": node.on_limit}
            return _shown(request) | {"tools": sorted(tools)} | limits


def _shown(request: ModelRequest) -> dict[str, Any]:
    shown = {
        "model": request.model,
        "system": request.system,
        "prompt": "".join(turn.text for turn in request.turns if isinstance(turn, UserTurn)),
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "output_schema": request.output_schema,
        "fallbacks": [str(choice) if choice.provider else choice.model for choice in request.fallbacks] or None,
    }
    return {name: value for name, value in shown.items() if value is not None}
