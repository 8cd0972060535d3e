"""
Limits of an agent's run: model calls, tokens, money, time.

None but the time depends on a clock: a run that goes on from earlier answers meets the others at the same places.
"""

from __future__ import annotations

from dataclasses import dataclass

from executor_worker.errors import BudgetExceeded, InvalidNode, MaxIterations, NodeError
from executor_worker.nodes.context import Context
from executor_worker.nodes.spec import AgentNode, OnLimit
from executor_worker.nodes.templates import short
from executor_worker.outcome import Usage

_LAST_ANSWER_S, _LAST_ANSWER_SHARE = 60.0, 0.2
_SETTLING_S, _SETTLING_SHARE = 1.0, 0.05


@dataclass(frozen=True, slots=True)
class Limits:
    """
    Attributes:
        total_tokens, usd: No further model call is made once so much was used; None: no such limit.
    """

    max_iterations: int
    total_tokens: int | None
    usd: float | None

    @classmethod
    def of(cls, node: AgentNode, context: Context) -> Limits:
        """
        Raises:
            InvalidNode: Money is limited, and there is no price of the model, or of what may stand in for it.
        """
        models = (node.llm.model or context.model, *(choice.model for choice in node.llm.fallbacks or ()))
        model = next((model for model in models if context.prices.find(model) is None), None)
        if node.budget_usd is not None and model is not None:
            raise InvalidNode(
                f"budget.usd can't be kept: the file that LLM_PRICES names has no price for {short(model)!r}"
            )
        return cls(node.max_iterations or context.max_iterations, node.budget_tokens, node.budget_usd)

    def reached(self, replies: int, usage: Usage | None) -> NodeError | None:
        """Say which limit, if any, forbids a further model call."""
        if replies >= self.max_iterations:
            return MaxIterations(f"no answer after {self.max_iterations} model calls, the node's max_iterations")
        if usage is None:
            return None
        if self.total_tokens is not None and usage.total_tokens >= self.total_tokens:
            return BudgetExceeded(f"{usage.total_tokens} tokens are used, the node's budget is {self.total_tokens}")
        if self.usd is not None and (usage.cost_usd or 0.0) >= self.usd:
            return BudgetExceeded(
                f"{usage.cost_usd or 0.0:.4g} US dollars are spent, the node's budget is {self.usd:g}"
            )
        return None


def kept_back_s(on_limit: OnLimit, left_s: float) -> float:
    """
    Say how many of the seconds that are left the work may not use, so that the run can end as the node asks.

    A last answer takes a model call; to hand in what there is takes a moment.
    """
    if on_limit == "finalize":
        return min(_LAST_ANSWER_S, left_s * _LAST_ANSWER_SHARE)
    return min(_SETTLING_S, left_s * _SETTLING_SHARE) if on_limit == "partial" else 0.0
