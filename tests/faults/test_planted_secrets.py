"""Secrets in every place where one may be given, and everything done to have them logged."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.faults.stage import Stage
from tests.kit import PROGRAM, RedisServer

pytestmark = pytest.mark.cold

PLANTED = {
    "REDIS_PASS": "redis-plant/1",
    "LLM_API_KEY": "llm-plant-2",
    "HEALTH_TOKEN": "health-plant-3",
    "url": "url-plant@4",
    "header": "header-plant-5",
    "API_TOOLS_URL": "rest-plant-6",
    "OTEL_EXPORTER_OTLP_HEADERS": "otel-plant-7",
}


def test_no_planted_secret_is_in_any_line(
    start_server: Callable[..., RedisServer], make_stage: Callable[[RedisServer], Stage]
) -> None:
    """At level debug: servers and a model that are not reached, a tool whose error quotes them all, a bad reload."""
    stage = make_stage(start_server("redis", password=PLANTED["REDIS_PASS"]))
    nobody = "127.0.0.1:1"
    config = stage.journal.folder / "mcp.json"
    server = {"url": f"http://{nobody}/mcp", "headers": {"Authorization": f"Bearer {PLANTED['header']}"}}
    config.write_text(json.dumps({"mcpServers": {"guarded": server}}))
    pool = stage.pool(
        LOG_LEVEL="debug",
        LLM_PROVIDER="openai",
        LLM_MODEL="m",
        LLM_MAX_RETRIES="0",
        LLM_BASE_URL=f"http://u:{quote(PLANTED['url'], safe='')}@{nobody}/v1",
        LLM_API_KEY=PLANTED["LLM_API_KEY"],
        HEALTH_TOKEN=PLANTED["HEALTH_TOKEN"],
        MCP_SERVERS=f"one=http://u:{quote(PLANTED['url'], safe='')}@{nobody}/mcp?token={PLANTED['url']}",
        MCP_CONFIG=str(config),
        API_TOOLS_URL=f"http://u:{PLANTED['API_TOOLS_URL']}@{nobody}",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://u:{quote(PLANTED['url'], safe='')}@{nobody}",
        OTEL_EXPORTER_OTLP_HEADERS=f"authorization=Bearer {PLANTED['OTEL_EXPORTER_OTLP_HEADERS']}",
        OTEL_EXPORTER_OTLP_TIMEOUT="1",
        OTEL_BSP_SCHEDULE_DELAY="50",
        BLURTED=" ".join(PLANTED.values()),
    )
    stage.push("blurt", "broken")
    assert stage.result("broken", 40)["data"]["error_code"] == "tool_failed"
    asked = {"graph_id": "asked", "node_id": "n", "config": {"llm_config": {"prompt": "p"}}, "inputs": {}}
    stage.push_raw(json.dumps(asked).encode())
    assert stage.result("asked", 40)["data"]["error_code"].startswith("llm_")
    line = pool.wait_event("library.warning", seconds=30, logger="blurt")
    assert (line["graph"], line["node"], line["error_type"]) == ("broken", "n", "RuntimeError")
    assert line["said"].count("***") == len(PLANTED), line
    subprocess.run([str(PROGRAM), "ctl", "reload"], env={**pool.env}, cwd=pool.folder, check=True, timeout=60)
    pool.wait_event("pool.reloaded", seconds=60)
    pool.wait_event("traces.unsent", seconds=40)
    said = json.dumps(pool.events)
    assert not [name for name, secret in PLANTED.items() if secret in said or quote(secret, safe="") in said]
