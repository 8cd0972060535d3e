"""What those who write tools see of them: where one raised or stood, and what it had to say."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.wire import Json, Wire
from tests.kit import RedisServer
from tests.kit.paths import SERVERS

SHOP = """
import asyncio, logging, threading, time
from executor_worker.tools import ToolContext, log, tool
from shop import stock

logger = logging.getLogger(__name__)

@tool
def order(item: str) -> int:
    return stock.take(item)  # line 10

@tool
async def order_later(item: str) -> int:
    await asyncio.sleep(0)
    return stock.take(item)

@tool(timeout=4)
def search(what: str) -> str:
    while True:
        time.sleep(0.01)  # line 20

@tool(timeout=4)
async def search_later(what: str) -> str:
    await asyncio.sleep(60)  # line 24

@tool(isolate=True)
def order_apart(item: str) -> int:
    log.info("apart", item=item)
    return stock.take(item)

@tool
def report(context: ToolContext) -> str:
    while True:
        context.progress(1)
        time.sleep(0.01)

@tool
def speak(mark: str) -> str:
    log.debug("not asked for %s", mark)
    log.info("said %s", mark, pieces=3, node="mine", level="high")
    logger.warning("warned %s", mark, extra={"pieces": 4})
    logging.getLogger("shop.deep.down").info("deep %s", mark)
    try:
        stock.take("nothing")
    except KeyError:
        log.exception("excepted %s", mark)
        logger.exception("excepted by logging %s", mark)
    thread = threading.Thread(target=lambda: log.info("threaded %s", mark))
    thread.start()
    thread.join()
    return "done"
"""
STOCK = """
def take(item):
    try:
        return {}[item]
    except LookupError as error:
        raise KeyError(f"no {item} in stock") from error  # line 6
"""


@pytest.fixture(scope="module")
def shop(start: Callable[..., Wire], shared_redis: RedisServer, room: Path) -> Wire:
    (room / "shop").mkdir()
    (room / "shop" / "__init__.py").touch()
    (room / "shop" / "tools.py").write_text(SHOP)
    (room / "shop" / "stock.py").write_text(STOCK)
    hanging = {"command": sys.executable, "args": [str(SERVERS / "odd.py")], "tools": {"hang": {"timeout": 4}}}
    (room / "mcp.json").write_text(json.dumps({"mcpServers": {"odd": hanging}}))
    settings = {"TOOL_MODULES": "shop.tools", "PYTHONPATH": str(room), "MCP_CONFIG": str(room / "mcp.json")}
    return start(shared_redis, workers=1, **settings)


def failed(wire: Wire, config: Json) -> Json:
    """Run a node that fails; its line in the log."""
    return wire.pool.wait_event("node.failed", graph=wire.run(config)["graph_id"])


@pytest.mark.parametrize("name", ["order", "order_later", "order_apart"])
def test_a_failed_node_says_where_its_tool_raised(shop: Wire, name: str) -> None:
    """File and line of the innermost frame of the user's package, and the sentence; functions of each kind."""
    line = failed(shop, {"tool_name": name, "tool_params": {"item": "tea"}})
    assert line["where"] == "shop/stock.py:6"
    assert line["error"] == f"""tool {name} raised KeyError: 'no tea in stock'"""
    assert line["code"] == "tool_failed"


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({"tool_name": "search", "tool_params": {"what": "x"}}, "shop/tools.py:20"),
        ({"tool_name": "search_later", "tool_params": {"what": "x"}}, "shop/tools.py:24"),
        ({"tool_name": "search", "tool_params": {"what": "x"}, "timeout": 2}, "shop/tools.py:20"),
        ({"tool_name": "report", "timeout": 2}, "shop/tools.py:"),
        ({"tool_name": "hang", "tool_params": {}}, "tool:hang"),
        ({"tool_name": "hang", "tool_params": {}, "timeout": 2}, "tool:hang"),
        ({"llm_config": {"prompt": '{"script": [{"delay_s": 60, "reply": "x"}]}'}, "timeout": 2}, "llm"),
    ],
)
def test_a_node_ended_by_a_time_limit_says_where_it_stood(shop: Wire, config: Json, where: str) -> None:
    """The tool's limit or the node's; in a function, at a server, at the model."""
    line = failed(shop, config)
    assert line["code"] == ("node_timeout" if "timeout" in config else "tool_timeout")
    assert line["where"].startswith(where)


def test_what_is_no_tools_fault_has_no_place(shop: Wire) -> None:
    """The reason stays in the event: it may quote a payload."""
    assert not {"where", "error"} & failed(shop, {"tool_name": "order", "tool_params": {"thing": "x"}}).keys()
    assert not {"where", "error"} & failed(shop, {"tool_name": "nobody"}).keys()


def test_a_model_that_is_told_goes_on_and_the_author_is_told_too(shop: Wire) -> None:
    """At level info."""
    script = json.dumps(
        {"script": [{"tool_calls": [{"name": "order", "arguments": {"item": "tea"}}]}, {"reply": "no"}]}
    )
    data = shop.run({"llm_config": {"prompt": script}, "tools": ["order"]})
    assert data["output"]["result"] == "no"
    line = shop.pool.wait_event("tool.failed", graph=data["graph_id"])
    assert (line["level"], line["tool"], line["where"]) == ("info", "order", "shop/stock.py:6")


def test_what_a_tool_says_is_logged_with_its_item(shop: Wire) -> None:
    """By our logger and by Python's, in threads and packages beside it, at the level asked for; no field hides ours."""
    mark = uuid.uuid4().hex[:8]
    graph = shop.run({"tool_name": "speak", "tool_params": {"mark": mark}})["graph_id"]
    shop.pool.wait_event("tool.said", said=f"threaded {mark}")
    lines = {line["said"].removesuffix(f" {mark}"): line for line in shop.pool.seen("tool.said", graph=graph)}
    assert {said: line["level"] for said, line in lines.items()} == {
        "said": "info",
        "warned": "warn",
        "deep": "info",
        "excepted": "error",
        "excepted by logging": "error",
        "threaded": "info",
    }
    for line in lines.values():
        assert (line["node"], line["slot"], line["tool"]) == ("n", 1, "speak")
    assert (lines["said"]["pieces"], lines["said"]["node_"], lines["said"]["level_"]) == (3, "mine", "high")
    assert lines["warned"]["pieces"] == 4
    assert lines["warned"]["logger"] == "shop.tools"
    for said in ("excepted", "excepted by logging"):
        assert lines[said]["error_type"] == "KeyError"
        assert "stock.py" in lines[said]["trace"]


def test_an_isolated_tool_speaks_too(shop: Wire) -> None:
    """Through its worker, so with the same fields."""
    graph = shop.run({"tool_name": "order_apart", "tool_params": {"item": "tea"}})["graph_id"]
    line = shop.pool.wait_event("tool.said", graph=graph)
    assert (line["said"], line["item"], line["slot"], line["tool"]) == ("apart", "tea", 1, "order_apart")


def test_library_logs_stay_what_they_were(shop: Wire) -> None:
    """Nothing is told twice."""
    assert not [line for line in shop.pool.seen("library.warning") if "shop" in str(line.get("logger"))]
