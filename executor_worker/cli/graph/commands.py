"""`graph submit|list|show|follow|cancel|retry|hold|resume`: runs of the pools on this Redis, or over an API."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from executor_worker.broker.connection.link import Link
from executor_worker.broker.graphs import drive, runs
from executor_worker.cli.display import print_json, print_json_line, print_table
from executor_worker.cli.exits import DONE, FAILED, Quit
from executor_worker.cli.graph import remote
from executor_worker.cli.graph.following import follow, teller
from executor_worker.cli.graph.many import ACTIVE, OVER, each, say_none
from executor_worker.cli.graph.reading import read_request
from executor_worker.cli.graph.running import print_result, read_graph, submit_graph, teller_on_stderr
from executor_worker.envelopes.events import rfc3339
from executor_worker.json_text import loads
from executor_worker.program.wiring import connect
from executor_worker.settings import Settings

Command = Callable[[Settings, argparse.Namespace], int]


def _or_over_api(command: Command) -> Command:
    """Let the API do it where DAGO_URL names one."""

    def run(settings: Settings, args: argparse.Namespace) -> int:
        if not settings.dago_url:
            return command(settings, args)
        over_api: Command = getattr(remote, command.__name__)
        return over_api(settings, args)

    return run


@_or_over_api
def submit(settings: Settings, args: argparse.Namespace) -> int:
    """Submit a graph, and wait for its end if that is asked for."""
    request = read_request(args.file, args.input, args.inputs, settings.max_graph_bytes)
    graph = read_graph(request, settings)
    with closing(connect(settings)) as link:
        graph_id = submit_graph(link, graph, request, settings)
        if args.follow:
            show = teller()
        elif args.wait:
            show = teller_on_stderr()
        else:
            print_json_line({"graph_id": graph_id, "status": "submitted"})
            return DONE
        give_up_at = time.monotonic() + args.timeout if args.timeout else float("inf")
        for event in follow(link, graph_id, give_up_at=give_up_at, deltas=args.follow):
            show(event)
        if not drive(link, runs.require(graph_id)).ended:
            raise Quit(FAILED, f"the run {graph_id} has not ended within {args.timeout:g} s; it goes on.")
        if args.follow:
            return _status(drive(link, runs.require(graph_id)))
        return print_result(link, graph_id)


@_or_over_api
def listing(settings: Settings, args: argparse.Namespace) -> int:
    """List runs, newest first."""
    with closing(connect(settings)) as link:
        wanted = runs.Filter(status=args.status or "", name=args.name or "", q=args.query or "")
        found = drive(link, runs.listing(wanted, limit=args.limit))
    if args.json:
        for head in found.runs:
            print_json_line(as_json(head))
        return DONE
    if not found.runs:
        say_none(args)
    rows = [
        (
            head.graph_id,
            head.status,
            head.name,
            rfc3339(head.submitted_at_ms / 1000),
            head.total,
            head.completed,
            head.failed,
        )
        for head in found.runs
    ]
    print_table(
        ("run", "status", "name", "submitted", "nodes", "completed", "failed"), rows, spare=("name", "submitted")
    )
    return DONE


@_or_over_api
def show(settings: Settings, args: argparse.Namespace) -> int:
    """Show a run and its nodes."""
    with closing(connect(settings)) as link:
        head = drive(link, runs.require(args.id))
        if args.json:
            print_json(loads(drive(link, runs.document(args.id)) or b"null"))
            return DONE
        views = drive(link, runs.nodes(args.id)) or []
    print(f"{head.graph_id}  {'stopping' if head.stopping else head.status}  {head.name}".rstrip())
    if head.error:
        print(f"{head.error.get('error_code')}: {head.error.get('error')}")
    rows = [
        (view.id, view.type, view.status, view.attempt, _took(view), ", ".join(view.waiting_for[:5]) or view.error)
        for view in views
    ]
    print_table(("node", "type", "status", "attempt", "took", "why"), rows, spare=("attempt", "type"))
    return DONE


@_or_over_api
def follow_run(settings: Settings, args: argparse.Namespace) -> int:
    """Show a run's events as they come, until it ends."""
    with closing(connect(settings)) as link:
        tell = print_json_line if args.json else teller()
        for event in follow(link, args.id, deltas=True):
            tell(event)
        return _status(drive(link, runs.require(args.id)))


@_or_over_api
def cancel(settings: Settings, args: argparse.Namespace) -> int:
    """Cancel runs, named or by a filter."""
    with closing(connect(settings)) as link:
        return each(
            args,
            "cancelled",
            ACTIVE,
            _found(link, args),
            lambda graph_id: _cancelled(drive(link, runs.cancel(graph_id))),
        )


@_or_over_api
def retry(settings: Settings, args: argparse.Namespace) -> int:
    """Begin failed or cancelled runs again, named or by a filter."""
    with closing(connect(settings)) as link:
        return each(
            args, "retried", OVER, _found(link, args), lambda graph_id: _retried(drive(link, runs.retry(graph_id)))
        )


@_or_over_api
def hold(settings: Settings, args: argparse.Namespace) -> int:
    """Let nothing new of runs start."""
    with closing(connect(settings)) as link:
        return each(args, "held", (), _found(link, args), lambda graph_id: as_json(drive(link, runs.hold(graph_id))))


@_or_over_api
def resume(settings: Settings, args: argparse.Namespace) -> int:
    """Let held runs go on."""
    with closing(connect(settings)) as link:
        return each(
            args, "going on", (), _found(link, args), lambda graph_id: as_json(drive(link, runs.resume(graph_id)))
        )


def _found(link: Link, args: argparse.Namespace) -> Callable[[str], list[str]]:
    since_ms = -max(int(args.since * 1000), 1) if getattr(args, "since", None) else None

    def of_status(status: str) -> list[str]:
        wanted = runs.Filter(status=status, code=args.code or "", since_ms=since_ms)
        found: list[str] = []
        cursor = ""
        while True:
            page = drive(link, runs.listing(wanted, limit=100, cursor=cursor))
            found += [head.graph_id for head in page.runs]
            if page.next_cursor is None:
                return found
            cursor = page.next_cursor

    return of_status


def _cancelled(done: runs.Cancelled) -> dict[str, Any]:
    return {
        "graph_id": done.graph_id,
        "status": "cancelled",
        "cancelled_at": rfc3339(done.cancelled_at_ms / 1000),
        "stopped": {"running": done.running, "queued": done.queued},
    }


def _retried(done: runs.Retried) -> dict[str, Any]:
    return {"graph_id": done.graph_id, "status": "running", "epoch": done.epoch, "kept": done.kept, "again": done.again}


def as_json(head: runs.Head) -> dict[str, Any]:
    """A run as a line of a list."""

    def at(ms: int | None) -> str | None:
        return rfc3339(ms / 1000) if ms else None

    nodes = {"total": head.total, "completed": head.completed, "failed": head.failed, "running": head.running}
    return {
        "graph_id": head.graph_id,
        "status": head.status,
        "name": head.name,
        "submitted_at": at(head.submitted_at_ms),
        "started_at": at(head.started_at_ms),
        "completed_at": at(head.completed_at_ms),
        "nodes": nodes,
        "labels": head.labels,
        "cost_usd": head.cost_usd,
    }


def _status(head: runs.Head) -> int:
    return DONE if head.status == "completed" else FAILED


def _took(view: runs.NodeView) -> str | None:
    if not view.started_at_ms or not view.completed_at_ms:
        return None
    return f"{(view.completed_at_ms - view.started_at_ms) / 1000:.2f}s"
