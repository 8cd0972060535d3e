"""`retry` in a node's config: a failed node is run again after a while that is no worker's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.contract.wire import GROUP, WORK, Wire
from tests.kit import Stopwatch, wait_until
from tests.system.graphs.conftest import Kernel

SOON = {"max_attempts": 3, "delay": 0.05}


def failing(path: Path, times: int, **more: Any) -> dict[str, Any]:
    return {"tool_name": "fail_times", "tool_params": {"path": str(path), "times": times}, **more}


def mark(wire: Wire) -> Path:
    return wire.pool.folder / wire.new_graph()


def test_node_is_run_again_until_it_completes(wire: Wire) -> None:
    """One result, of the attempt that did it; nothing is left of the others."""
    path = mark(wire)
    data = wire.run(failing(path, 2, retry=SOON))
    assert data["output"] == 3 and data["attempt"] == 3
    wait_until(lambda: wire.redis.xpending(WORK, GROUP)["pending"] == 0)
    assert not wire.redis.exists(f"{WORK}:forgiven") and not wire.redis.hlen("dago:executor:parked")


def test_last_attempt_is_the_answer(wire: Wire) -> None:
    """With what it said, after `max_attempts` in total; without a policy there is one."""
    path = mark(wire)
    data = wire.run(failing(path, 9, retry=SOON))
    assert (data["error_code"], data["attempt"]) == ("tool_failed", 3) and "call 3 fails" in data["error"]
    assert path.stat().st_size == 3
    assert "call 1 fails" in wire.run(failing(mark(wire), 9))["error"]


@pytest.mark.parametrize(
    ("on", "calls"), [(["tool_failed"], 3), (["tool_timeout", "llm_unavailable"], 1), ([], 1)], ids=str
)
def test_only_named_codes_are_tried_again(wire: Wire, on: list[str], calls: int) -> None:
    path = mark(wire)
    wire.run(failing(path, 9, retry={**SOON, "on": on}))
    assert path.stat().st_size == calls


def test_what_would_fail_the_same_is_not_tried_again(wire: Wire) -> None:
    """Unless it is named."""
    for config in ({"tool_name": "none-such"}, failing(mark(wire), 0, tool_params={"path": "{{nothing}}", "times": 1})):
        assert wire.run({**config, "retry": {**SOON, "delay": "30s"}})["attempt"] == 1


def test_worker_is_free_while_a_node_waits(wire: Wire) -> None:
    """Both slots' nodes wait, and others run at once; the wait is kept to."""
    paths, began = [mark(wire) for _ in range(4)], Stopwatch()
    graphs = [wire.new_graph() for _ in paths]
    for graph, path in zip(graphs, paths, strict=True):
        config = failing(path, 1, retry={"max_attempts": 2, "delay": 5})
        wire.add({"graph_id": graph, "node_id": "n", "config": config, "inputs": {}})
    wait_until(lambda: wire.redis.hlen("dago:executor:parked") == 4)
    assert wire.output({"tool_name": "calculate", "tool_params": {"expression": "1"}}) == 1
    assert began.own_s() < 3.5
    for graph in graphs:
        wire.wait_result(graph)
    assert began.wall_s() >= 3.75


def test_attempts_beyond_the_deliveries_of_poison_are_run(wire: Wire) -> None:
    """A retry is no death: more attempts than MAX_DELIVERIES may be asked for."""
    data = wire.run(failing(mark(wire), 6, retry={"max_attempts": 8, "delay": 0.01, "backoff": 1}))
    assert (data["output"], data["attempt"]) == (7, 7)


@pytest.mark.parametrize(
    ("fares", "attempts", "calls"),
    [("kf.", 2, 3), ("fk.", 2, 3), ("kff.", 3, 4), ("kff.", 2, 3), ("fkf.", 2, 3), ("kkf.", 2, 4)],
)
def test_retry_after_a_worker_was_killed(wire: Wire, fares: str, attempts: int, calls: int) -> None:
    """That costs a delivery, not an attempt: as many follow as were asked for, before it or behind it."""
    path = mark(wire)
    retry = {"max_attempts": attempts, "delay": 0.05, "backoff": 1}
    data = wire.run({"tool_name": "fare", "tool_params": {"path": str(path), "fares": fares}, "retry": retry})
    assert path.stat().st_size == calls == data["attempt"]
    if fares[calls - 1] == ".":
        assert data["output"] == calls
    else:
        assert (data["error_code"], f"call {calls} fails" in data["error"]) == ("tool_failed", True)
    wait_until(lambda: wire.redis.xpending(WORK, GROUP)["pending"] == 0)
    assert not wire.redis.exists(f"{WORK}:forgiven") and not wire.redis.exists(f"{WORK}:dead")


@pytest.mark.parametrize(
    ("retry", "said"),
    [
        (3, "retry must be"),
        ({"max_attempts": 0}, "retry.max_attempts must be a whole number"),
        ({"delay": "soon"}, "retry.delay"),
        ({"on": "tool_failed"}, "retry.on must be a list"),
    ],
)
def test_wrong_policy_is_refused(wire: Wire, retry: Any, said: str) -> None:
    """Before anything is run."""
    path = mark(wire)
    code, error = wire.error(failing(path, 0, retry=retry))
    assert code == "invalid_node" and said in error
    assert not path.exists()


def test_tool_says_itself_how_it_is_tried_again(wire: Wire) -> None:
    """If its node says nothing of that; in a run too."""
    config = {"tool_name": "fail_twice", "tool_params": {"path": str(mark(wire))}}
    assert wire.output(config) == 3
    once = {**config, "tool_params": {"path": str(mark(wire))}, "retry": {"max_attempts": 1}}
    assert wire.error(once)[0] == "tool_failed"
    kernel = Kernel(wire.server)
    node = {"type": "tool", "config": {**config, "tool_params": {"path": str(mark(wire))}}}
    run = kernel.submit({"nodes": {"a": node}, "edges": []})
    assert kernel.wait(run)["output"] == 3
    kernel.link.close()


def test_graph_names_of_any_script_are_counted_too(wire: Wire) -> None:
    """As JSON escapes them: the attempts end."""
    graph, path = f"größe-{wire.new_graph()}", mark(wire)
    wire.add({"graph_id": graph, "node_id": "n", "config": failing(path, 9, retry=SOON), "inputs": {}})
    assert wire.wait_result(graph)["data"]["attempt"] == 3
    assert path.stat().st_size == 3
