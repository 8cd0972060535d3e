"""`submit`: items from a file onto their stream, and with `--wait` their results back."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from executor_worker.broker.connection.link import Link
from executor_worker.broker.names import STATE_PREFIX, WORK_STREAMS
from executor_worker.broker.queue.queues import note_queues, streams_of
from executor_worker.broker.queue.submit import Results, add_items, store_state
from executor_worker.cli import jobs
from executor_worker.cli.display import print_json_line, print_table
from executor_worker.cli.exits import DONE, FAILED, USAGE, Quit
from executor_worker.cli.files import read_documents, refuse_stdin_twice
from executor_worker.cli.preflight import NOTHING, refuse_what_cannot_run, tell_of_missing_pool
from executor_worker.cli.result_lines import shower_of
from executor_worker.cli.state_files import read_state
from executor_worker.cli.unknown_fields import parsed, warn_of_unknown_fields
from executor_worker.cli.waiting import Expected, wait_for_results
from executor_worker.envelopes.queue_name import WANTED, is_queue_name, named_queue
from executor_worker.envelopes.work_item import Item, decode
from executor_worker.errors import InvalidItem, StateInvalid
from executor_worker.graph.state import GraphState
from executor_worker.json_text import loads
from executor_worker.program.wiring import connect
from executor_worker.settings import Settings

SHOWN_PROBLEMS = 20  # of a file that holds no items at all, perhaps
_PLAIN, _EVENTS = WORK_STREAMS
_THERE_IS_ONE = (
    "there is a state of the graph {} already: leave --state out and its node uses that one, or overwrite it with"
    " everything in it by --replace."
)


@dataclass(frozen=True, slots=True)
class Submission:
    """An item as it is written in the file, and as it was understood."""

    data: bytes
    item: Item
    stream: str

    @property
    def of_run(self) -> bool:
        """Tell whether it is a node of one of our own runs, which has no state document."""
        return b'"run"' in self.data and isinstance(loads(self.data).get("run"), dict)


def submit(settings: Settings, args: argparse.Namespace) -> int:
    if args.role is not None:
        return jobs.submit(settings, args)
    if args.file is None or args.task is not None or args.payload is not None:
        raise Quit(USAGE, "name a FILE; --task and --payload are for jobs of a --role.")
    refuse_stdin_twice(args.file, args.state)
    submissions = _read_items(args.file, settings.max_item_bytes)
    graphs = list(dict.fromkeys(one.item.graph_id for one in submissions))
    state = read_state(args.state, graphs) if args.state else None
    with closing(connect(settings)) as link:
        refuse_what_cannot_run(link, [None if one.of_run else one.item for one in submissions], state)
        submissions = _sent_to_queues(link, submissions, state)
        if state is not None and not store_state(link, *state, ttl_s=settings.state_ttl, replace=args.replace):
            raise Quit(FAILED, _THERE_IS_ONE.format(repr(state[0])), NOTHING)
        # Before anything is added: no result can be missed.
        results = Results(link) if args.wait else None
        entries = _add(link, submissions)
        if results is None:
            _tell(submissions, entries, as_json=args.json)
            tell_of_missing_pool(link, [one.stream for one in submissions])
            return DONE
        tell_of_missing_pool(link, [one.stream for one in submissions])
        expected = [Expected(one.item, one.stream, entry) for one, entry in zip(submissions, entries, strict=True)]
        show = shower_of(expected, as_json=args.json)
        return wait_for_results(link, results, expected, args.timeout, show)


def _read_items(name: str, max_bytes: int) -> list[Submission]:
    """
    Raises:
        Quit: Something in the file is no item; nothing has been submitted.
    """
    submissions, problems = [], []
    for number, data in enumerate(read_documents(name), 1):
        try:
            submissions.append(Submission(data, decode(data, max_bytes), _stream_of(data)))
        except InvalidItem as error:
            problems.append(f"item {number}: {error}.")
    if problems:
        more = [f"And {len(problems) - SHOWN_PROBLEMS} more."] if len(problems) > SHOWN_PROBLEMS else []
        raise Quit(FAILED, *problems[:SHOWN_PROBLEMS], *more, NOTHING)
    warn_of_unknown_fields(parsed(one.data) for one in submissions)
    return submissions


def _stream_of(data: bytes) -> str:
    """The pool takes both forms from both streams; others that read them expect each form on its own."""
    return _EVENTS if isinstance(loads(data).get("data"), dict) else _PLAIN


def _sent_to_queues(link: Link, submissions: Sequence[Submission], state: tuple[str, bytes] | None) -> list[Submission]:
    """
    Send each item to the queue that its node's config names, from the item or from the graph's state.

    Raises:
        Quit: One can't be a queue; nothing has been submitted.
    """
    graphs = {one.item.graph_id for one in submissions if one.item.config is None}
    documents = dict([state] if state else [])
    documents |= {graph: link.call("GET", STATE_PREFIX + graph) for graph in graphs - documents.keys()}
    configs = {graph: _parsed(document) for graph, document in documents.items()}
    sent = []
    for number, one in enumerate(submissions, 1):
        graph, config = configs.get(one.item.graph_id), one.item.config
        config = config if config is not None or graph is None else graph.config_of(one.item.node_id)
        queue = (config or {}).get("queue")
        if queue is not None and not is_queue_name(queue):
            raise Quit(FAILED, f"item {number}: config.queue {queue!r} must be {WANTED}.", NOTHING)
        name = named_queue(config)
        sent.append(replace(one, stream=streams_of(name)[0]) if name else one)
    return sent


def _parsed(document: bytes | None) -> GraphState | None:
    try:
        return GraphState.parse(document) if document is not None else None
    except StateInvalid:
        return None  # the pool says so


def _add(link: Link, submissions: Sequence[Submission]) -> list[str]:
    """Add the items in the file's order; return their entries' ids."""
    entries: list[str] = []
    link.batch(note_queues({one.stream for one in submissions}))
    start = 0
    while start < len(submissions):
        stream = submissions[start].stream
        end = start
        while end < len(submissions) and submissions[end].stream == stream:
            end += 1
        entries += add_items(link, [one.data for one in submissions[start:end]], stream=stream)
        start = end
    return entries


def _tell(submissions: Sequence[Submission], entries: Sequence[str], *, as_json: bool) -> None:
    rows = [
        [entry, one.stream, one.item.graph_id, one.item.node_id]
        for one, entry in zip(submissions, entries, strict=True)
    ]
    if not as_json:
        print_table(["id", "stream", "graph", "node"], rows)
        return
    for row in rows:
        print_json_line(dict(zip(("id", "stream", "graph_id", "node_id"), row, strict=True)))
