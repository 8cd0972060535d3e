"""The nine documented routing cases, a router's spellings, and what a model's answer means."""

from __future__ import annotations

from typing import Any

import pytest

from executor_worker.graph.problems import Problems
from executor_worker.graph.router import Decision, NeedsModel, NoRoute, Routing, answered, decide, unanswered
from executor_worker.graph.router_config import read
from executor_worker.graph.scopes import condition_scope

Config = dict[str, Any]


def rules(**targets: str) -> list[Config]:
    return [{"condition": condition, "target": target} for condition, target in targets.items()]


def routing_of(config: Config) -> Routing:
    problems = Problems()
    routing = read(config, None, problems)
    assert not list(problems)
    return routing


def route(config: Config, inputs: Config, answer: str | None = None) -> tuple[str, str] | None:
    """Decide as a worker does: the rules, then the model, where one is there and *answer* is what it says."""
    routing = routing_of(config)
    decision: Decision | NeedsModel | NoRoute = decide(routing, condition_scope(inputs, {}, "g"))
    if isinstance(decision, NeedsModel):
        decision = answered(routing, answer) if answer is not None else unanswered(routing, "llm call failed: down")
    return (decision.target, decision.path) if isinstance(decision, Decision) else None


K1 = {
    "mode": "deterministic",
    "rules": rules(
        **{
            "state.priority == 'critical'": "emergency_handler",
            "state.score > 0.9": "premium_flow",
            "state.category == 'refund' && state.amount > 100": "manager_approval",
        }
    ),
    "fallback": "standard_flow",
}
K2 = {
    "mode": "llm",
    "llm_config": {
        "prompt_template": "Classify: {{state.message}}",
        "routes": {"technical": "tech_support_queue", "billing": "billing_department", "general": "general_inquiry"},
    },
    "fallback": "human_review",
}
K3 = {
    "mode": "llm",
    "llm_config": {
        "prompt_template": "Approve? {{message}}",
        "routes": {"yes": "approval_flow", "no": "rejection_flow", "unclear": "human_review"},
    },
    "fallback": "fallback_flow",
}
K4 = {
    "mode": "hybrid",
    "fast_rules": rules(
        **{
            "state.message.contains('refund')": "refund_flow",
            "state.priority == 'critical'": "urgent_queue",
            "state.verified == false": "verification_required",
        }
    ),
    "llm_fallback": {
        "prompt_template": "{{state.message}}",
        "routes": {"technical": "tech_support", "billing": "billing_dept", "general": "general_inquiry"},
    },
    "fallback": "default_handler",
}
K5 = {
    "mode": "hybrid",
    "fast_rules": rules(
        **{
            "state.message.contains('refund') || state.message.contains('charge')": "billing_team",
            "state.message.contains('bug') || state.message.contains('error')": "engineering_team",
            "state.customer.lifetime_value > 10000": "vip_support",
        }
    ),
    "llm_fallback": {
        "prompt_template": "{{message}}",
        "routes": {
            "technical": "engineering_team",
            "billing": "billing_team",
            "account": "account_management",
            "general": "general_support",
        },
    },
    "fallback": "general_support",
}
K6 = {
    "rules": rules(
        **{
            "state.risk_score > 0.9": "immediate_removal",
            "state.risk_score > 0.7": "manual_review_high",
            "state.risk_score > 0.5": "manual_review_low",
            "state.user.trusted == true": "auto_approve",
        }
    ),
    "fallback": "default_review",
}
K7 = {
    "mode": "llm",
    "prompt_template": "Which lead is {{company}}?",
    "routes": {
        "enterprise": "enterprise_sales",
        "mid-market": "mid_market_sales",
        "small-business": "smb_sales",
        "not-qualified": "nurture_campaign",
    },
    "fallback": "general_sales",
}
K8 = {
    "rules": rules(
        **{
            "state.amount > 10000": "cfo_approval",
            "state.amount > 5000 && state.department == 'engineering'": "vp_engineering_approval",
            "state.amount > 1000": "manager_approval",
            "state.amount <= 1000": "auto_approve",
        }
    ),
    "fallback": "manual_review",
}
K9 = {
    "rules": rules(**{"state.priority == 'high'": "urgent_handler", "state.score > 0.8": "premium_flow"}),
    "fallback": "default_handler",
}

CASES: list[tuple[str, Config, Config, str | None, str, str]] = [
    ("K1", K1, {"priority": "critical", "score": 0.95}, None, "emergency_handler", "fast"),
    ("K1", K1, {"priority": "low", "score": 0.95}, None, "premium_flow", "fast"),
    ("K1", K1, {"score": 0.95}, None, "premium_flow", "fast"),
    (
        "K1",
        K1,
        {"priority": "low", "score": 0.5, "category": "refund", "amount": 150},
        None,
        "manager_approval",
        "fast",
    ),
    (
        "K1",
        K1,
        {"priority": "low", "score": 0.5, "category": "refund", "amount": 100},
        None,
        "standard_flow",
        "fallback",
    ),
    ("K1", K1, {}, None, "standard_flow", "fallback"),
    ("K2", K2, {"message": "x"}, "technical", "tech_support_queue", "slow"),
    ("K2", K2, {"message": "x"}, "  Billing\n", "billing_department", "slow"),
    ("K2", K2, {"message": "x"}, "This is a technical issue", "tech_support_queue", "slow"),
    ("K2", K2, {"message": "x"}, "none of these", "human_review", "fallback"),
    ("K2", K2, {"message": "x"}, None, "human_review", "fallback"),
    ("K3", K3, {"message": "x"}, "YES", "approval_flow", "slow"),
    ("K3", K3, {"message": "x"}, "unknown", "fallback_flow", "fallback"),
    ("K3", K3, {"message": "x"}, "unclear, not sure", "human_review", "slow"),
    ("K4", K4, {"message": "I want a refund"}, None, "refund_flow", "fast"),
    ("K4", K4, {"message": "hi", "priority": "critical"}, None, "urgent_queue", "fast"),
    ("K4", K4, {"message": "hi", "priority": "low", "verified": False}, None, "verification_required", "fast"),
    ("K4", K4, {"message": "app crashes", "priority": "low", "verified": True}, "technical", "tech_support", "slow"),
    ("K4", K4, {"message": "app crashes", "priority": "low", "verified": True}, "other", "default_handler", "fallback"),
    ("K4", K4, {"message": "app crashes", "priority": "low", "verified": True}, None, "default_handler", "fallback"),
    ("K4", K4, {"verified": False}, None, "verification_required", "fast"),
    ("K5", K5, {"message": "double charge"}, None, "billing_team", "fast"),
    ("K5", K5, {"message": "error 500"}, None, "engineering_team", "fast"),
    ("K5", K5, {"message": "hello", "customer": {"lifetime_value": 20000}}, None, "vip_support", "fast"),
    ("K5", K5, {"message": "hello", "customer": {"lifetime_value": 5}}, "account", "account_management", "slow"),
    ("K5", K5, {"message": "refund after a bug"}, None, "billing_team", "fast"),
    ("K6", K6, {"risk_score": 0.95}, None, "immediate_removal", "fast"),
    ("K6", K6, {"risk_score": 0.9}, None, "manual_review_high", "fast"),
    ("K6", K6, {"risk_score": 0.7}, None, "manual_review_low", "fast"),
    ("K6", K6, {"risk_score": 0.5, "user": {"trusted": True}}, None, "auto_approve", "fast"),
    ("K6", K6, {"risk_score": 0.2, "user": {"trusted": False}}, None, "default_review", "fallback"),
    ("K6", K6, {"risk_score": 0.2}, None, "default_review", "fallback"),
    ("K7", K7, {"company": "x"}, "Mid-Market", "mid_market_sales", "slow"),
    ("K7", K7, {"company": "x"}, "no idea", "general_sales", "fallback"),
    ("K8", K8, {"amount": 20000}, None, "cfo_approval", "fast"),
    ("K8", K8, {"amount": 6000, "department": "engineering"}, None, "vp_engineering_approval", "fast"),
    ("K8", K8, {"amount": 6000, "department": "sales"}, None, "manager_approval", "fast"),
    ("K8", K8, {"amount": 6000}, None, "manager_approval", "fast"),
    ("K8", K8, {"amount": 1000}, None, "auto_approve", "fast"),
    ("K8", K8, {}, None, "manual_review", "fallback"),
    ("K8", K8, {"amount": "x"}, None, "manual_review", "fallback"),
    ("K9", K9, {"priority": "high"}, None, "urgent_handler", "fast"),
    ("K9", K9, {"priority": "low", "score": 0.9}, None, "premium_flow", "fast"),
    ("K9", K9, {"priority": "low", "score": 0.8}, None, "default_handler", "fallback"),
]


@pytest.mark.parametrize(("case", "config", "inputs", "answer", "target", "path"), CASES)
def test_documented_case(case: str, config: Config, inputs: Config, answer: str | None, target: str, path: str) -> None:
    assert route(config, inputs, answer) == (target, path)


def test_a_rule_that_raises_is_skipped_and_told() -> None:
    decision = decide(routing_of(K1), condition_scope({"score": 0.95}, {}, "g"))
    assert isinstance(decision, Decision)
    assert [(error.rule.number, error.message) for error in decision.errors] == [(0, "there is no 'priority'")]
    assert decision.reasoning == "matched rule 1: state.score > 0.9"
    assert decision.output() == {
        "target": "premium_flow",
        "mode": "deterministic",
        "path": "fast",
        "reasoning": "matched rule 1: state.score > 0.9",
    }


def test_the_schemas_form_is_the_same_router() -> None:
    schemas = {
        "routes": [
            {"condition": "state.priority == 'high'", "target": "urgent_handler", "description": "urgent first"},
            {"condition": "state.score > 0.8", "target": "premium_flow"},
        ],
        "default_route": "default_handler",
    }
    assert (
        routing_of(schemas).targets == routing_of(K9).targets == ("urgent_handler", "premium_flow", "default_handler")
    )
    assert route(schemas, {"priority": "low", "score": 0.9}) == ("premium_flow", "fast")
    assert route(schemas, {}) == ("default_handler", "fallback")


def test_a_higher_priority_is_asked_first_and_equal_ones_in_order() -> None:
    routes = [
        {"condition": "true", "target": "plain"},
        {"condition": "true", "target": "high", "priority": 5},
        {"condition": "true", "target": "also_high", "priority": 5},
    ]
    assert route({"routes": routes}, {}) == ("high", "fast")
    assert [rule.target for rule in routing_of({"routes": routes}).rules] == ["high", "also_high", "plain"]


def test_a_route_without_condition_is_always_taken() -> None:
    assert route({"routes": [{"target": "only"}]}, {}) == ("only", "fast")


def test_nothing_matched_and_no_fallback_is_no_route() -> None:
    config = {"rules": rules(**{"state.x": "a"})}
    decision = decide(routing_of(config), condition_scope({"x": False}, {}, "g"))
    assert isinstance(decision, NoRoute)
    assert decision.reason == "no rules matched"


@pytest.mark.parametrize(
    ("config", "mode"),
    [
        ({"rules": rules(true="a")}, "deterministic"),
        ({"fast_rules": rules(true="a"), "llm_fallback": K4["llm_fallback"]}, "hybrid"),
        ({"llm_config": K2["llm_config"]}, "llm"),
        ({"prompt_template": "x", "routes": {"a": "b"}}, "llm"),
        ({"rules": rules(true="a"), "prompt_template": "x", "routes": {"a": "b"}}, "hybrid"),
        ({"fallback": "a"}, "deterministic"),
    ],
)
def test_without_a_mode_the_fields_say_it(config: Config, mode: str) -> None:
    assert routing_of(config).mode == mode


def test_what_a_model_is_asked_with_stands_with_its_prompt_or_beside_it() -> None:
    within = {"llm_config": {"prompt_template": "x", "routes": {"a": "b"}, "model": "m"}, "temperature": 0}
    beside = {"prompt_template": "x", "routes": {"a": "b"}, "model": "m", "temperature": 0}
    for config in (within, beside):
        model = routing_of(config).model
        assert model is not None and model.settings == {"model": "m", "temperature": 0}


@pytest.mark.parametrize(
    ("labels", "answer", "label"),
    [
        (("yes", "no"), "No.", "no"),
        (("yes", "no"), "yes and no", None),
        (("yes", "no"), "unknown", None),
        (("yes", "no"), "", None),
        (("qualified", "not-qualified"), "This lead is not-qualified", "not-qualified"),
        (("qualified", "not-qualified"), "qualified", "qualified"),
        (("Tech Support",), "please: tech support!", "Tech Support"),
        (("c++",), "c++", "c++"),
        (("straße",), "STRASSE", "straße"),
    ],
)
def test_an_answer_means_the_only_label_that_stands_in_it(
    labels: tuple[str, ...], answer: str, label: str | None
) -> None:
    model = routing_of({"prompt_template": "x", "routes": dict.fromkeys(labels, "node")}).model
    assert model is not None and model.label_of(answer) == label


@pytest.mark.parametrize(
    ("config", "pointer", "code"),
    [
        ({}, "", "router_without_targets"),
        ({"mode": "fuzzy", "fallback": "a"}, "/mode", "unknown_value"),
        ({"mode": "llm", "fallback": "a"}, "/mode", "missing"),
        ({"mode": "hybrid", "fast_rules": rules(true="a")}, "/mode", "missing"),
        ({"mode": "deterministic", "fallback": "a"}, "/mode", "missing"),
        ({"llm_config": {"routes": {"a": "b"}}, "fallback": "a"}, "/llm_config/prompt_template", "missing"),
        ({"llm_config": {"prompt_template": "x"}, "fallback": "a"}, "/llm_config/routes", "missing"),
        ({"rules": [{"condition": "true"}], "fallback": "a"}, "/rules/0/target", "missing"),
        ({"rules": [{"target": "a"}], "fallback": "a"}, "/rules/0/condition", "missing"),
        ({"rules": "all", "fallback": "a"}, "/rules", "wrong_type"),
        ({"fallback": 3, "rules": rules(true="a")}, "/fallback", "wrong_type"),
        ({"prompt_template": "x", "routes": {"Yes": "a", "yes": "b"}}, "/routes/yes", "bad_label"),
    ],
)
def test_what_is_wrong_with_a_router_is_told_with_its_place(config: Config, pointer: str, code: str) -> None:
    problems = Problems()
    read(config, None, problems)
    assert (pointer, code) in {(problem.pointer, problem.code) for problem in problems}
    assert all(problem.fix for problem in problems)
