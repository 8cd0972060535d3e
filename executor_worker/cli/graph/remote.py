"""The same commands over an API, where DAGO_URL names one."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any

import httpx2

from executor_worker.cli.display import print_json, print_json_line, print_table
from executor_worker.cli.exits import DONE, FAILED, Quit
from executor_worker.cli.graph.following import teller
from executor_worker.cli.graph.many import ACTIVE, OVER, each, say_none
from executor_worker.cli.graph.reading import read_request
from executor_worker.cli.graph.running import teller_on_stderr
from executor_worker.client import DagoClient, DagoError, DagoUnavailable
from executor_worker.settings import Settings

PAGE = 100
_NOT_THERE = "Start one there (`executor-worker serve`), or correct DAGO_URL; without it Redis itself is asked."
_HANGS = (
    "See whether it hangs or is overloaded (its /live answers at once if not), whether a proxy stands before it, and"
    " whether DAGO_URL names an API at all; without it Redis itself is asked."
)


def submit(settings: Settings, args: argparse.Namespace) -> int:
    """Submit a graph, and wait for its end if that is asked for."""
    request = read_request(args.file, args.input, args.inputs)
    with _client(settings) as dago:
        try:
            graph_id = dago.submit_graph(request.graph, request.inputs)
        except DagoUnavailable:
            raise
        except DagoError as error:
            raise Quit(FAILED, *_problems(error)) from None
        if not (args.follow or args.wait):
            print_json_line({"graph_id": graph_id, "status": "submitted"})
            return DONE
        show = teller() if args.follow else teller_on_stderr()
        first: SimpleQueue[Any] = SimpleQueue()
        # Side by side: events may be long in coming, or not be read any more.
        told = _beside(first, lambda: _tell(dago.events(graph_id, deltas=args.follow), show))
        _beside(first, lambda: dago.wait(graph_id, args.timeout))
        if isinstance(result := first.get(), Exception):
            raise result
        told.join()
    if not args.follow:
        print_json(result)
    return DONE if result["status"] == "completed" else FAILED


def _beside(first: SimpleQueue[Any], do: Callable[[], object]) -> threading.Thread:
    """Call *do* in a thread that ends with the process; what it answers, if not None, or raises goes into *first*."""

    def run() -> None:
        try:
            answer = do()
        except Exception as error:  # noqa: BLE001  # raised again by who looks into it
            answer = error
        if answer is not None:
            first.put(answer)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def _tell(events: Iterable[dict[str, Any]], show: Callable[[dict[str, Any]], None]) -> None:
    with suppress(DagoError, httpx2.HTTPError, RuntimeError):  # who waits for the end is told what is wrong
        for event in events:
            show(event)


def listing(settings: Settings, args: argparse.Namespace) -> int:
    """List runs, newest first."""
    wanted = {"status": args.status, "name": args.name, "q": args.query}
    with _client(settings) as dago:
        found = _all(dago, wanted, args.limit)
    if args.json:
        for run in found:
            print_json_line(run)
        return DONE
    if not found:
        say_none(args)
    rows = [
        (
            run["graph_id"],
            run["status"],
            run["name"] or "",
            run["submitted_at"],
            run["nodes"]["total"],
            run["nodes"]["completed"],
            run["nodes"]["failed"],
        )
        for run in found
    ]
    names = ("run", "status", "name", "submitted", "nodes", "completed", "failed")
    print_table(names, rows, spare=("name", "submitted"))
    return DONE


def show(settings: Settings, args: argparse.Namespace) -> int:
    """Show a run and its nodes."""
    with _client(settings) as dago:
        run = dago.get_graph(args.id)
    if args.json:
        print_json(run)
        return DONE
    print(f"{run['graph_id']}  {run['status']}  {run['name'] or ''}".rstrip())
    if run["error"]:
        print(run["error"])
    states = run["node_states"]
    rows = [
        (node["id"], node["type"], node["status"], ", ".join(node["waiting_for"][:5]) or states[node["id"]]["error"])
        for node in run["nodes"]
    ]
    print_table(("node", "type", "status", "why"), rows, spare=("type",))
    return DONE


def follow_run(settings: Settings, args: argparse.Namespace) -> int:
    """Show a run's events as they come, until it ends."""
    tell = print_json_line if args.json else teller()
    with _client(settings) as dago:
        for event in dago.events(args.id, deltas=True):
            tell(event)
        return DONE if dago.get_status(args.id)["status"] == "completed" else FAILED


def cancel(settings: Settings, args: argparse.Namespace) -> int:
    """Cancel runs, named or by a filter."""
    with _client(settings) as dago:
        return each(args, "cancelled", ACTIVE, _found(dago, args), dago.cancel)


def retry(settings: Settings, args: argparse.Namespace) -> int:
    """Begin failed or cancelled runs again, named or by a filter."""
    with _client(settings) as dago:
        return each(args, "retried", OVER, _found(dago, args), dago.retry)


def hold(settings: Settings, args: argparse.Namespace) -> int:
    """Let nothing new of runs start."""
    with _client(settings) as dago:
        return each(args, "held", (), _found(dago, args), dago.hold)


def resume(settings: Settings, args: argparse.Namespace) -> int:
    """Let held runs go on."""
    with _client(settings) as dago:
        return each(args, "going on", (), _found(dago, args), dago.resume)


@contextmanager
def _client(settings: Settings) -> Iterator[DagoClient]:
    """
    Open the API of DAGO_URL.

    Raises:
        Quit: Nothing answers there.
    """
    try:
        with DagoClient(settings.dago_url, settings.dago_token or None) as dago:
            yield dago
    except DagoUnavailable as error:
        if error.status:  # it has answered, and says itself what it lacks
            raise
        raise Quit(FAILED, f"{error}. {_HANGS if error.timed_out else _NOT_THERE}") from None


def _found(dago: DagoClient, args: argparse.Namespace) -> Callable[[str], list[str]]:
    since = f"{args.since:.3f}s" if getattr(args, "since", None) else None

    def of_status(status: str) -> list[str]:
        wanted = {"status": status, "code": args.code, "since": since}
        return [run["graph_id"] for run in _all(dago, wanted, sys.maxsize)]

    return of_status


def _all(dago: DagoClient, wanted: dict[str, Any], most: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while len(found) < most:
        page = dago.list(min(most - len(found), PAGE), cursor, **wanted)
        found += page["graphs"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    return found


def _problems(error: DagoError) -> list[str]:
    """All that is wrong with a graph, a sentence each; else what the API has said."""
    problems = error.details.get("errors", []) if isinstance(error.details, dict) else []
    told = [f"{one['pointer'] or '/'}: {one['message']}. {one['fix']}" for one in problems]
    return told or [f"{str(error).rstrip('.')}."]
