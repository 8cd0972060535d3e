"""Outputs of megabytes on their way through scripts: which make no text of them that need not be made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from executor_worker.broker import COMPLETED_STREAM, Claim, Consumer, Link, Settled
from executor_worker.broker.graphs import drive, runs
from executor_worker.broker.graphs.deciding import TOLD_AGAIN, Deciding
from executor_worker.broker.graphs.documents import write_document
from executor_worker.broker.graphs.past_outputs import MOST_BYTES
from executor_worker.broker.graphs.settling import NodeCommit, StepCommit
from executor_worker.broker.graphs.source import RUNS
from executor_worker.broker.graphs.stepping import step
from executor_worker.broker.graphs.taken import TakenNode, TakenStep, read_on, taken_of
from executor_worker.broker.names import run_key
from executor_worker.broker.queue.document import DOCUMENTS
from executor_worker.broker.queue.source import Sources
from executor_worker.errors import TemplateError
from executor_worker.graph.definition import Graph
from executor_worker.outcome import Completed
from executor_worker.worker.kinds.run_draft import decided_node
from executor_worker.worker.output import rendered
from orchestrator.service import detail
from tests.kit import RedisServer
from tests.system.broker.graphs.play import Client

MIB = 1024 * 1024
WORK = {"type": "tool", "config": {"tool_name": "x"}}


def reads(*names: str) -> dict[str, Any]:
    """A node that names others' outputs."""
    return {"type": "tool", "config": {"tool_name": "x", "tool_params": {name: "{{" + name + "}}" for name in names}}}


class Worker:
    """A hand that works runs off: each node returns the text it is given."""

    def __init__(self, link: Link, consumer: Consumer) -> None:
        self.link, self.consumer = link, consumer
        self.seen: dict[str, dict[str, Any]] = {}

    def submit(self, nodes: Mapping[str, Any], edges: str, **more: Any) -> str:
        ways = [{"from": way.partition(">")[0], "to": way.partition(">")[2]} for way in edges.split()]
        graph = Graph.read({"nodes": nodes, "edges": ways, **more})
        return drive(self.link, runs.submit(runs.Submission(graph, {"q": "q"}, runs.new_graph_id()), rendered)).graph_id

    def work_off(self, outputs: Mapping[str, Any]) -> None:
        claim = self.consumer.take()
        while claim is not None:
            taken = taken_of(claim.delivery.brought)
            if isinstance(taken, TakenStep):
                claim = self._step(claim, taken)
                continue
            drive(self.link, read_on(taken))
            self.seen[taken.node] = {name: end.output for name, end in taken.seen.past.items()}
            claim = self.end(claim, taken, outputs.get(taken.node, taken.node))

    def end(self, claim: Claim, node: TakenNode, output: Any) -> Claim | None:
        decided = decided_node(node, Completed(output, "tool"), {"worker_id": "w.1", "mode": "tool"})
        commit = NodeCommit(node.graph_id, node.node, node.epoch, node.attempt, decided)
        deciding = Deciding(node.graph_id, rendered, local={node.node: decided})
        while True:
            answer = self.consumer.settle(claim.held, commit, take_next=True)
            if answer.ending is not Settled.judge:
                assert answer.ending is Settled.settled
                return answer.next
            drive(self.link, deciding.decide(answer.seen))
            commit.more = deciding.words()

    def _step(self, claim: Claim, taken: TakenStep) -> Claim | None:
        held = claim.held
        if taken.what == "render":
            drive(self.link, write_document(taken.graph_id, 60))
            return self.consumer.settle(held, StepCommit(), take_next=True).next
        drive(self.link, step(taken.graph_id, rendered, consumer=held.consumer, entry=held.entry, count=held.count))
        return self.consumer.take()


@pytest.fixture
def worker(link: Link, consumer: Callable[..., Consumer]) -> Worker:
    """A worker of runs."""
    return Worker(link, consumer("w.1", sources=Sources(RUNS, DOCUMENTS)))


def stored(db: Client, run: str) -> dict[str, Any]:
    """The document that programs of others read."""
    document: dict[str, Any] = json.loads(db.get(f"dago:state:{run}"))
    return document


END = {"type": "end"}
SHAPES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "one": ({"a": WORK}, "", {}),
    "a chain": ({"a": WORK, "b": WORK, "c": WORK}, "a>b b>c", {}),
    "several last": ({"a": WORK, "b": WORK, "c": WORK}, "a>b a>c", {}),
    "an end of one": ({"s": {"type": "start"}, "a": WORK, "e": END}, "s>a a>e", {}),
    "an end of many": ({"s": {"type": "start"}, "a": WORK, "b": WORK, "e": END}, "s>a s>b a>e b>e s>e", {}),
    "an end that is named": ({"a": WORK, "b": WORK, "e": END, "c": reads("e")}, "a>e b>e e>c", {}),
    "ends in a row": ({"a": WORK, "e": END, "f": END}, "a>e e>f", {}),
    "its own": ({"a": WORK, "b": WORK, "e": END}, "a>e b>e", {"output": {"e": "{{e}}", "b": "{{b}}"}}),
    "pages": ({f"n{at}": WORK for at in range(130)}, "", {}),
}


@pytest.mark.parametrize("size", [3, 9_000, 200_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_document_is_what_its_run_has_come_to(db: Client, worker: Worker, link: Link, shape: str, size: int) -> None:
    """Of outputs of all sizes, put together of short texts and long ones, by the script or a worker."""
    nodes, edges, more = SHAPES[shape]
    run = worker.submit(nodes, edges, **more)
    texts = {name: f"{name}é" * (size // 3 + at) for at, name in enumerate(nodes)}
    large = ("n0", "n7", "n129")
    worker.work_off(texts if shape != "pages" else {name: texts[name] if name in large else name for name in nodes})
    document, result = stored(db, run), json.loads(drive(link, runs.result(run)))
    assert document["status"] == result["status"] == "completed"
    assert document["output"] == result["output"]
    assert document["node_states"] == result["result"]
    assert list(document["node_states"]) == list(nodes)
    assert (
        db.memory_usage(f"dago:state:{run}", samples=0) < 1.3 * db.strlen(f"dago:state:{run}") + 4096
        or shape == "pages"
    )
    told = {event["node_id"]: event["data"] for event in completions(db)}
    assert {name: one["output"] for name, one in told.items()} == {
        name: state["output"] for name, state in result["result"].items()
    }


def completions(db: Client) -> list[dict[str, Any]]:
    """What others are told of nodes."""
    return [json.loads(fields[b"data"]) for _, fields in db.xrange(COMPLETED_STREAM)]


@pytest.mark.parametrize("named", [False, True])
def test_an_end_tells_a_large_output_once(db: Client, worker: Worker, link: Link, named: bool) -> None:
    """Its parents have told theirs; what is named by others is stored, what is not is made of theirs by who reads."""
    nodes = {"a": WORK, "b": WORK, "e": END, **({"c": reads("e")} if named else {})}
    run = worker.submit(nodes, "a>e b>e" + " e>c" * named)
    outputs = {"a": "a" * (TOLD_AGAIN // 2), "b": "b" * (TOLD_AGAIN // 2)}
    worker.work_off(outputs)
    told = {event["node_id"]: event["data"] for event in completions(db)}
    assert told["a"]["output"] == outputs["a"] and told["b"]["output"] == outputs["b"]
    assert told["e"]["output"] is None and told["e"]["output_bytes"] == len(json.dumps(outputs, separators=(",", ":")))
    assert json.loads(drive(link, runs.result(run)))["result"]["e"]["output"] == outputs
    assert db.hexists(f"{run_key(run)}:outputs", "e") is named
    if named:
        assert worker.seen["c"] == {"e": outputs}


def test_outputs_that_are_large_together_are_read_beside_the_script(worker: Worker, link: Link, db: Client) -> None:
    """Few small ones come along; else the worker reads them, in pages."""
    names = [f"n{at}" for at in range(5)]
    few = reads("n0", "n1")
    worker.submit(
        {**dict.fromkeys(names, WORK), "few": few, "all": reads(*names)},
        " ".join([*(f"{name}>all" for name in names), "n0>few", "n1>few"]),
    )
    outputs = {name: name * 40_000 for name in names}
    db.config_resetstat()
    worker.work_off(outputs)
    assert worker.seen["all"] == outputs
    assert worker.seen["few"] == {name: outputs[name] for name in ("n0", "n1")}


def test_a_node_that_names_too_much_fails_and_says_so(db: Client, worker: Worker, link: Link) -> None:
    """One that a worker runs and one that none does: nothing of it is read."""
    names = [f"n{at}" for at in range(MOST_BYTES // MIB + 2)]
    join, rule = reads(*names), " && ".join(f"size(nodes.{name}) > 1" for name in names)
    router = {"type": "router", "config": {"rules": [{"condition": rule, "target": "x"}], "fallback": "x"}}
    nodes = {**dict.fromkeys(names, WORK), "join": join, "r": {**router, "on_failure": "continue"}, "x": WORK}
    edges = [*(f"{name}>join" for name in names), *(f"{name}>r" for name in names), "r>x"]
    run = worker.submit(nodes, " ".join(edges), failure="finish")
    before = db.info("memory")["used_memory_peak"]
    with pytest.raises(TemplateError, match=r"names outputs of 66 MiB in all, of 66 nodes; at most 64 MiB are"):
        worker.work_off(dict.fromkeys(names, "x" * MIB))
    state = drive(link, runs.node(run, "r"))
    assert state is not None and state.view.status == "failed"
    assert state.view.error is not None and "at most 64 MiB" in state.view.error
    about = drive(link, runs.node(run, "join"))
    assert about is not None
    shown = drive(link, detail.of(run, about, lambda config, seen: config))
    assert shown["rendered"] is None and "at most 64 MiB" in shown["rendering_error"]
    assert db.info("memory")["used_memory_peak"] - before < 3 * len(names) * MIB, (
        "stored, told, and not read by a script"
    )


def test_the_output_of_a_run_that_names_too_much_is_null(db: Client, worker: Worker, link: Link) -> None:
    """It has ended well, and all outputs are there for who asks for them."""
    names = [f"n{at}" for at in range(MOST_BYTES // MIB + 2)]
    run = worker.submit(dict.fromkeys(names, WORK), "", output={name: "{{" + name + "}}" for name in names})
    worker.work_off(dict.fromkeys(names, "x" * MIB))
    about = drive(link, runs.head(run))
    assert about is not None and about.status == "completed"
    assert db.hget(run_key(run), "result") == b"null"


BARE = """
redis.call('XADD', KEYS[1], '*', 'data', '{' .. ARGV[1] .. '}')
redis.call('HSET', KEYS[2], 'a', ARGV[1])
redis.call('SETRANGE', KEYS[3], #ARGV[1], ARGV[1])
redis.call('SETRANGE', KEYS[3], 0, ARGV[1])
"""


def thread_ms(server: RedisServer, act: Callable[[], Any]) -> float:
    """How long *act* has kept the server's main thread."""
    spent = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/schedstat")
    before = int(spent.read_text().split()[0])
    act()
    return (int(spent.read_text().split()[0]) - before) / 1e6


@pytest.mark.parametrize("edges", ["", "a>b", "a>e"])
def test_a_settle_makes_one_text_of_an_output(
    db: Client, worker: Worker, shared_server: RedisServer, edges: str
) -> None:
    """The event that has it: each other one, or a search, would take as long as the script is given it in."""
    nodes = {name: node for name, node in {"a": WORK, "b": WORK, "e": END}.items() if name == "a" or name in edges}
    output = "x" * (MIB - 8_000)  # the largest that a script still writes a document of
    settles, bare = [], []
    for _ in range(7):
        db.delete(COMPLETED_STREAM, "bare:1", "bare:2", "bare:3")
        worker.submit(nodes, edges)
        claim = worker.consumer.take()
        assert claim is not None
        taken = taken_of(claim.delivery.brought)
        assert isinstance(taken, TakenNode)
        settles.append(thread_ms(shared_server, lambda: worker.end(claim, taken, output)))  # noqa: B023
        worker.work_off({})
        bare.append(thread_ms(shared_server, lambda: db.eval(BARE, 3, "bare:1", "bare:2", "bare:3", output)))
    assert min(settles) < 2 * min(bare) + 1, "what is not about the output is the 1 ms"
