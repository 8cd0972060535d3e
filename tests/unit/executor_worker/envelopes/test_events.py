"""What goes out on the result streams and into the state."""

from __future__ import annotations

import json
import os
import random

import pytest

from executor_worker.envelopes.events import completed_event, event, failed_event, node_entry, rfc3339
from executor_worker.outcome import Completed, Failed, Usage


def test_a_completed_event_has_the_contracts_shape() -> None:
    """Names outside and inside, the output as it is."""
    facts = {"worker_id": "w.1", "mode": "llm", "attempt": 1, "duration_ms": 2.5, "usage": {"input_tokens": 1}}
    read = json.loads(completed_event("g", "e", "n", {"big": 2**70, "list": []}, facts, 1.5))
    ident = read.pop("id")
    assert read == {
        "type": "node.completed",
        "timestamp": "1970-01-01T00:00:01.500Z",
        "graph_id": "g",
        "execution_id": "e",
        "node_id": "n",
        "data": {"graph_id": "g", "node_id": "n", "output": {"big": 2**70, "list": []}, **facts},
    }
    assert ident != json.loads(completed_event("g", "e", "n", None, {}, 1.5))["id"]


def test_a_failed_event_says_why() -> None:
    """A sentence and a code."""
    read = json.loads(failed_event("g", "e", "n", "it broke: \ud800", "internal", {"attempt": 2}, 0))
    assert read["type"] == "node.failed"
    data = {
        "graph_id": "g",
        "node_id": "n",
        "output": None,
        "error": "it broke: \ud800",
        "error_code": "internal",
        "retriable": True,
        "attempt": 2,
    }
    assert read["data"] == data


@pytest.mark.parametrize("output", [object(), {1, 2}, float("nan") * 1j, b"x"])
def test_an_output_that_is_no_json_is_refused(output: object) -> None:
    """Whoever made it has to answer for it."""
    with pytest.raises(ValueError, match="JSON"):
        completed_event("g", "e", "n", output, {}, 0)


def test_node_entries() -> None:
    """What stands in a graph's state."""
    times = {"started_at": 0.0, "completed_at": 1.0}
    done = node_entry(node_id="n", outcome=Completed([1], "tool"), metadata={"work_id": "w"}, **times)
    assert done == {
        "node_id": "n",
        "status": "completed",
        "output": [1],
        "error": None,
        "started_at": "1970-01-01T00:00:00.000Z",
        "completed_at": "1970-01-01T00:00:01.000Z",
        "metadata": {"work_id": "w"},
    }
    failed = node_entry(node_id="n", outcome=Failed("no", "cancelled", usage=Usage()), metadata={}, **times)
    assert (failed["status"], failed["output"], failed["error"]) == ("failed", None, "no")
    assert failed["metadata"] == {"error_code": "cancelled"}


def test_times_are_utc_with_z() -> None:
    """RFC 3339 as the contract has it."""
    assert rfc3339(1767225600.9996) == "2026-01-01T00:00:00.999Z"


def test_a_time_that_no_calendar_has_is_the_last_one() -> None:
    """An entry's id, which its producer may choose, can say any."""
    assert rfc3339((2**64 - 1) / 1000).startswith("9999-12-31T23:59:59.")


def test_ids_differ_in_each_process_whatever_a_tool_seeds() -> None:
    """Workers are forks of one process."""

    def ident() -> str:
        random.seed(1)
        return str(json.loads(event("node.started", "g", "e", "n", {}, 0.0))["id"])

    mine, (reader, writer) = ident(), os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, ident().encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 100).decode()
    assert len({mine, theirs, ident()}) == 3 and len(theirs) == 32
    os.close(reader)
    os.close(writer)
