"""`dead`: the items that could not be run, and what becomes of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

from executor_worker.broker.connection.link import Link
from executor_worker.broker.graphs import drive, runs
from executor_worker.broker.queue.dead_letters import Letter, find, letters
from executor_worker.broker.queue.dead_letters import drop as drop_letter
from executor_worker.broker.queue.dead_letters import requeue as requeue_letter
from executor_worker.broker.queue.queues import known_streams
from executor_worker.broker.queue.router_work import with_letters
from executor_worker.cli.display import LONGEST, one_line, print_json, print_table
from executor_worker.cli.exits import DONE, FAILED, Quit
from executor_worker.envelopes.role_job import readable
from executor_worker.envelopes.work_item import names_in
from executor_worker.json_text import loads
from executor_worker.program.place_limits import known_role_streams
from executor_worker.program.wiring import connect
from executor_worker.settings import Settings


def listing(settings: Settings, args: argparse.Namespace) -> int:
    with closing(connect(settings)) as link:
        every = letters(link, streams=_streams(settings, link))
        found = list(islice(every, args.limit))
        if next(every, None) is not None:
            print(f"there are more than these {args.limit}; --limit shows them", file=sys.stderr)
    if args.json:
        print_json([_described(letter) for letter in found])
        return DONE
    if not found:
        print("there are no dead letters", file=sys.stderr)
    columns = ["id", "stream", "failed at", "reason", "runs", "graph", "node", "error"]
    print_table(columns, [_row(letter) for letter in found])
    return DONE


def show(settings: Settings, args: argparse.Namespace) -> int:
    with closing(connect(settings)) as link:
        for letter in _find(settings, link, args.id):
            data = {name: readable(value) for name, value in letter.job.items()} if letter.flat else None
            print_json(_described(letter) | {"data": data or _json_or_text(letter.data)} | _kept(letter))
    return DONE


def requeue(settings: Settings, args: argparse.Namespace) -> int:
    with closing(connect(settings)) as link:

        def put_back(letter: Letter) -> str | None:
            graph_id = _run_of(letter)
            if graph_id is None:
                return requeue_letter(link, letter, ttl_s=settings.state_ttl)
            return _retried(link, letter, graph_id)

        if args.all:
            found = list(letters(link, streams=_streams(settings, link)))
            return _with_all(found, lambda letter: _requeued(letter, put_back))

        def put_back_all(ident: str) -> None:
            for letter in _find(settings, link, ident):
                _requeued(letter, put_back)

        return _each(args.ids, put_back_all)


def drop(settings: Settings, args: argparse.Namespace) -> int:
    with closing(connect(settings)) as link:

        def delete(letter: Letter) -> None:
            if drop_letter(link, letter):
                print(f"{letter.id} dropped", flush=True)

        if args.all:
            return _with_all(list(letters(link, streams=_streams(settings, link))), delete)

        def delete_all(ident: str) -> None:
            for letter in _find(settings, link, ident):
                delete(letter)

        return _each(args.ids, delete_all)


def _run_of(letter: Letter) -> str | None:
    """Answer the run whose node the letter's item is; None if it is no run's."""
    try:
        item = loads(letter.data)
    except ValueError:
        return None
    graph_id = item.get("graph_id") if isinstance(item, dict) and isinstance(item.get("run"), dict) else None
    return graph_id if isinstance(graph_id, str) else None


def _retried(link: Link, letter: Letter, graph_id: str) -> str:
    """
    Begin the run again, as a retry of it does, and put the letter away.

    Raises:
        RunError: It can't be retried: it goes on, has completed, or is gone.
    """
    retried = drive(link, runs.retry(graph_id))
    drop_letter(link, letter)
    return f"epoch {retried.epoch} of run {graph_id}"


def _with_all(found: Sequence[Letter], act: Callable[[Letter], object]) -> int:
    """Act on all there were when we looked; what another has taken meanwhile is no failure."""
    for letter in found:
        act(letter)
    if not found:
        print("there are no dead letters", file=sys.stderr)
    return DONE


def _requeued(letter: Letter, put_back: Callable[[Letter], str | None]) -> None:
    entry = put_back(letter)
    if entry is not None:
        print(f"{letter.id} is back on {letter.stream} as {entry}", flush=True)


def _each(idents: Sequence[str], act: Callable[[str], object]) -> int:
    """Act on each, even if one before was not found; then say which were not."""
    missing = []
    for ident in idents:
        try:
            act(ident)
        except NotFound as error:
            missing.append(str(error))
    if missing:
        raise Quit(FAILED, *missing)
    return DONE


class NotFound(Quit):
    """There is no such dead letter."""

    def __init__(self, ident: str) -> None:
        super().__init__(FAILED, f"there is no dead letter {ident!r}; see `executor-worker dead list`.")


def _streams(settings: Settings, link: Link) -> tuple[str, ...]:
    """All streams whose items may be dead: those of graphs, of routers and of roles."""
    return *known_streams(link), *with_letters(link), *known_role_streams(settings, link)


def _find(settings: Settings, link: Link, ident: str) -> list[Letter]:
    found = find(link, ident, streams=_streams(settings, link))
    if not found:
        raise NotFound(ident)
    return found


def _names(letter: Letter) -> tuple[str | None, str | None]:
    """Graph and node of an item; of a job the queue, and its id."""
    if letter.flat:
        return letter.stream.rpartition(":")[2], letter.job.get("jobId", b"").decode("utf-8", "replace")
    return names_in(letter.data)


def _row(letter: Letter) -> list[Any]:
    graph_id, node_id = _names(letter)
    facts = [letter.text("failed_at"), letter.text("reason"), letter.text("deliveries")]
    return [letter.id, letter.stream, *facts, graph_id, node_id, one_line(letter.text("error"), LONGEST)]


def _described(letter: Letter) -> dict[str, Any]:
    graph_id, node_id = _names(letter)
    return {
        "id": letter.id,
        "stream": letter.stream,
        "original_id": letter.text("original_id"),
        "graph_id": graph_id or None,
        "node_id": node_id or None,
        "reason": letter.text("reason"),
        "error": letter.text("error"),
        "deliveries": _number(letter.text("deliveries")),
        "consumer": letter.text("consumer"),
        "failed_at": letter.text("failed_at"),
        "bytes": len(letter.data),
    }


def _kept(letter: Letter) -> dict[str, Any]:
    """Return what an entry without `data` held."""
    return {"fields": _json_or_text(letter.fields["fields"])} if "fields" in letter.fields else {}


def _json_or_text(data: bytes) -> Any:
    try:
        return loads(data)
    except ValueError:
        return data.decode("utf-8", "backslashreplace")


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None
