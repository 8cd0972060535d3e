"""The dashboard's and the alerts' queries, against what `/metrics` of a pool that has seen everything really says."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from executor_worker.client import DagoClient
from tests.contract.conftest import WITH_TOOLS
from tests.contract.wire import Wire
from tests.kit import Pool, RedisServer, need, wait_until
from tests.kit.counterparts import PATHS
from tests.system.deploy.conftest import DEPLOY, read_yaml, said_by
from tests.system.orchestrator.graphs import doubling

ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
FROM_PROMETHEUS = {"job", "instance"}  # labels it puts on whatever it scrapes; `up` is its own too
NOT_SEEN = {"code"}  # of answers: the queries ask for errors that did not happen
AWAY = {"MCP_SERVERS": "away=http://127.0.0.1:1/mcp"}
Series = dict[str, list[dict[str, str]]]


def dashboard_queries() -> list[str]:
    boards = [json.loads(path.read_text()) for path in sorted((DEPLOY / "grafana").glob("*.json"))]
    assert len(boards) == len({board["uid"] for board in boards}) == 2
    panels = [panel for board in boards for panel in board["panels"]]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    listed = [one for board in boards for one in board["templating"]["list"] if one["type"] == "query"]
    variables = [one["query"]["query"] for one in listed]
    return queries + [re.sub(r"label_values\((.*), \w+\)", r"\1", text) for text in variables]


def alert_queries() -> list[str]:
    need("check-jsonschema")
    return [rule["expr"] for group in read_yaml(ALERTS)[0]["groups"] for rule in group["rules"]]


def matching(operator: str, value: str, seen: list[str]) -> list[str]:
    return [one for one in seen if (one == value if operator == "=" else re.fullmatch(value, one))]


def unknown_in(query: str, series: Series) -> list[str]:
    """What in *query* matches no series: metrics, labels in selectors and their values, labels summed by."""
    wrong = []
    for name, selector in re.findall(r"\b(dago_\w+|up\b)(?:\{([^}]*)\})?", query):
        if name != "up" and name not in series:
            wrong.append(name)
            continue
        for label, operator, value in re.findall(r'(\w+)(=~?)"([^"]*)"', selector):
            seen = [labels[label] for labels in series.get(name, []) if label in labels]
            if label not in FROM_PROMETHEUS and not (seen if label in NOT_SEEN else matching(operator, value, seen)):
                wrong.append(f"{name}{{{label}{operator}{value}}}")
    for by, name in re.findall(r"by \(([^)]*)\) \((?:\w+\()?(dago_\w+)", query):
        have = {label for labels in series.get(name, []) for label in labels} | FROM_PROMETHEUS
        wrong += [f"{name} by {label}" for label in by.split(", ") if label not in have]
    return wrong


def read_series(pool: Pool) -> Series:
    series: Series = {}
    for page in (pool.get("/metrics").text, httpx2.get(f"{pool.api_url}/metrics", timeout=60).text):
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                series.setdefault(sample.name, []).append(dict(sample.labels))
    return series


def scripted(**rule: str) -> dict[str, str]:
    """A model call with a certain end."""
    return {"prompt": json.dumps({"script": [rule]}), "model": "m"}


@pytest.fixture
def series(executor: Callable[..., Pool], redis_server: RedisServer, tmp_path: Path) -> Series:
    """Of a pool with an API: nodes of each kind, well and badly, runs, a lost worker, and what is no item."""
    prices = tmp_path / "prices.json"
    prices.write_text('{"m": {"input": 1, "output": 2}}')
    pool = executor(
        redis_server,
        command=("run", "--api"),
        workers=2,
        LLM_MAX_RETRIES="0",
        LLM_PRICES=str(prices),
        **AWAY,
        **WITH_TOOLS,
    )
    wire = Wire(redis_server, pool)
    wire.output({"tool_name": "renamed"})
    wire.error({"tool_name": "complain", "tool_params": {"message": "no"}})
    wire.error({"tool_name": "away.search"})
    wire.output({"llm_config": scripted(reply="x")})
    wire.error({"llm_config": scripted(error="401")})
    wire.wait_letter(wire.add(b"no item"))
    with DagoClient(pool.api_url) as dago:
        assert dago.wait(dago.submit_graph(doubling(), {"x": 1}), 20)["status"] == "completed"
    os.kill(pool.worker_pid(1), signal.SIGKILL)
    needed = {"dago_worker_restarts_total", "dago_queue_depth", "dago_items_dead_total", "dago_llm_failures_total"}
    needed |= {"dago_graphs_completed_total", "dago_graphs_submitted_total", "dago_api_requests_total"}
    return wait_until(lambda: found if needed <= set(found := read_series(pool)) else {}, 15, "all was counted")


def test_every_query_finds_its_series(series: Series) -> None:
    """Each metric, each label, each value that the dashboard and the alerts ask for is there."""
    queries = dashboard_queries() + alert_queries()
    assert len(queries) > 30
    assert {query: wrong for query in queries if (wrong := unknown_in(query, series))} == {}


def test_a_wrong_query_is_noticed() -> None:
    """A misspelt metric, label, value or grouping is found."""
    series: Series = {"dago_x_total": [{"kind": "a"}]}
    assert unknown_in('sum by (kind, job) (rate(dago_x_total{kind="a", job="j"}[5m]))', series) == []
    assert unknown_in("dago_y_total", series) == ["dago_y_total"]
    assert unknown_in('dago_x_total{sort="a"}', series) == ["dago_x_total{sort=a}"]
    assert unknown_in('dago_x_total{kind="b"}', series) == ["dago_x_total{kind=b}"]
    assert unknown_in('dago_x_total{kind=~"b|c"}', series) == ["dago_x_total{kind=~b|c}"]
    assert unknown_in("sum by (sort) (rate(dago_x_total[5m]))", series) == ["dago_x_total by sort"]


def test_prometheus_takes_the_page_and_the_rules(executor: Callable[..., Pool], redis_server: RedisServer) -> None:
    """Its own checker: the pages' format, the rules' syntax, and when each alert fires."""
    need("promtool")
    pool = executor(redis_server, command=("run", "--api"))
    for page in (pool.get("/metrics").text, httpx2.get(f"{pool.api_url}/metrics", timeout=60).text):
        # Of the original's names one ends as only histograms' should.
        lines = [line for line in page.splitlines(keepends=True) if "dago_worker_count" not in line]
        said_by(PATHS["promtool"], "check", "metrics", stdin="".join(lines))
    assert "26 rules found" in said_by(PATHS["promtool"], "check", "rules", ALERTS)
    assert "SUCCESS" in said_by(PATHS["promtool"], "test", "rules", ALERTS.with_name("alerts.test.yaml"))


def test_every_dashboard_query_is_promql(tmp_path: Any) -> None:
    """Grafana's variables filled in, Prometheus understands each."""
    need("promtool")
    filled = [query.replace("$__rate_interval", "5m").replace("$", "") for query in dashboard_queries()]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(filled)]
    path = tmp_path / "queries.yaml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    said_by(PATHS["promtool"], "check", "rules", path)


def test_every_alert_has_its_section() -> None:
    """In the runbook, with what to do and when it is over; no section is left of one that is gone."""
    runbook = (DEPLOY.parent / "docs" / "OPERATIONS.md").read_text()
    alerts = re.search(r"^## Alerts\n(.*?)^## ", runbook, re.MULTILINE | re.DOTALL)
    assert alerts
    sections = dict(section.split("\n", 1) for section in alerts[1].split("\n### ")[1:])
    assert sections.keys() == set(re.findall(r"alert: (\w+)", ALERTS.read_text()))
    assert [name for name, text in sections.items() if "**Do**" not in text or "**Over**" not in text] == []
