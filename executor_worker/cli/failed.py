"""`failed`: nodes that have failed, as long as their graphs' states are kept, and how to run them again."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Any

from executor_worker.broker.connection.link import Link
from executor_worker.broker.graphs import RunError, drive, runs
from executor_worker.broker.queue.failed import FailedNode, NotRetried, failed_nodes, put_up_again
from executor_worker.cli.display import one_line, print_json, print_table
from executor_worker.cli.exits import DONE, FAILED, USAGE, Quit
from executor_worker.envelopes.events import rfc3339
from executor_worker.program.wiring import connect
from executor_worker.settings import Settings


def listing(settings: Settings, args: argparse.Namespace) -> int:
    with closing(connect(settings)) as link:
        every = _matching(link, args)
        found = list(islice(every, args.limit))
        if next(every, None) is not None:
            print(f"there are more than these {args.limit}; --limit shows them", file=sys.stderr)
    found.sort(key=lambda one: one.failed_at)
    if args.json:
        print_json([_described(one) for one in found])
        return DONE
    if not found:
        print("no node that is kept has failed", file=sys.stderr)
    columns = ["graph", "node", "failed at", "code", "error"]
    print_table(columns, [[*_row(one), one_line(one.error, 100)] for one in found])
    return DONE


def show(settings: Settings, args: argparse.Namespace) -> int:
    with closing(connect(settings)) as link:
        found = _find(link, args.graph, args.node)
    print_json(_described(found) | {"state": found.entry})
    return DONE


def retry(settings: Settings, args: argparse.Namespace) -> int:
    if args.all == bool(args.graph) or bool(args.graph) != bool(args.nodes):
        raise Quit(USAGE, "name a graph and its nodes, or --all, with --code for one kind of failure.")
    with closing(connect(settings)) as link:
        chosen = list(_matching(link, args)) if args.all else [_find(link, args.graph, node) for node in args.nodes]
        wrong = [said for said in _retried(link, chosen, settings.state_ttl) if said]
    if args.all and not chosen:
        print("no node that is kept has failed so", file=sys.stderr)
    if wrong:
        raise Quit(FAILED, *wrong)
    return DONE


def _retried(link: Link, chosen: list[FailedNode], ttl_s: float) -> Iterator[str]:
    """Put each up again and print it; a run is retried once. Answers what went wrong with one, a sentence."""
    again: set[str] = set()
    for one in chosen:
        if one.graph_id in again:
            continue
        try:
            if one.is_run:
                again.add(one.graph_id)
                retried = drive(link, runs.retry(one.graph_id))
                print(f"{one.graph_id} runs again: epoch {retried.epoch}, {retried.again} nodes", flush=True)
            else:
                entry = put_up_again(link, one, ttl_s=ttl_s)
                print(f"{one.graph_id} {one.node_id} is put up again as {entry}", flush=True)
        except (NotRetried, RunError) as error:
            yield f"{one.graph_id} {one.node_id} can't be retried: {error}."


def _matching(link: Link, args: argparse.Namespace) -> Iterator[FailedNode]:
    since = time.time() - args.since if args.since else 0.0
    for one in failed_nodes(link, getattr(args, "of_graph", None)):
        if (not args.code or one.code == args.code) and one.failed_at >= since:
            yield one


def _find(link: Link, graph: str, node: str) -> FailedNode:
    for one in failed_nodes(link, graph):
        if one.node_id == node:
            return one
    raise Quit(FAILED, f"the graph {graph!r} has no failed node {node!r} whose state is kept; see `failed list`.")


def _row(one: FailedNode) -> list[Any]:
    return [one.graph_id, one.node_id, rfc3339(one.failed_at) if one.failed_at else None, one.code]


def _described(one: FailedNode) -> dict[str, Any]:
    names = ("graph_id", "node_id", "failed_at", "error_code")
    return dict(zip(names, _row(one), strict=True)) | {"error": one.error, "run": one.is_run}
