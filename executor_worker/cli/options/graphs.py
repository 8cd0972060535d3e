"""The command `graph`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from executor_worker.cli.options.common import add, add_json, group, typed
from executor_worker.settings.kinds import duration, whole

if TYPE_CHECKING:
    from executor_worker.cli.options.common import Commands

_GRAPH = """\
  executor-worker graph run examples/graphs/research.yaml -i topic="tidal power"
  executor-worker graph validate graph.yaml && executor-worker graph draw graph.yaml
  executor-worker graph submit graph.json --wait
  executor-worker graph list --status running
  executor-worker graph follow 01938a5c-1f5e-7c44-9d1e-2c6fd2b7a000"""


def graph(commands: Commands) -> None:
    actions = group(commands, "graph", "run graphs, look at their runs, tell them what to do", _GRAPH)
    count = typed(whole(1, 1024, 4))
    about = "run one graph to its end, here and now, with a pool and a Redis of its own; print its result as JSON"
    parser = add(actions, "run", about, "graph.running:run")
    _add_graph(parser)
    parser.add_argument("--redis", metavar="ADDR", help="run it there instead of in a private Redis")
    parser.add_argument("--workers", type=count, default=4, metavar="N", help="slots of its pool (4)")
    about = "tell all that is wrong with a graph, each problem with its place and what to do"
    parser = add(actions, "validate", about, "graph.checking:validate")
    parser.add_argument(
        "file", metavar="FILE", help="a graph, or an object of graph and inputs; JSON or YAML; - is stdin"
    )
    add_json(parser, "print the report as JSON on a terminal too")
    parser = add(actions, "draw", "draw a graph as text", "graph.checking:draw", needs="nothing")
    parser.add_argument("file", metavar="FILE", help="as for validate")
    parser.add_argument("--svg", metavar="F", help="write it as a picture there instead")
    parser = add(actions, "submit", "submit a graph to the pools on this Redis", "graph.commands:submit")
    _add_graph(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--wait", action="store_true", help="wait for its end and print its result as JSON")
    how.add_argument("--follow", action="store_true", help="show what happens until it ends, one line a step")
    seconds = typed(duration(0.0, "5m"))
    parser.add_argument("--timeout", type=seconds, metavar="TIME", help="give up waiting after, e.g. 90s or 5m")
    parser = add(actions, "list", "list runs, newest first", "graph.commands:listing")
    parser.add_argument("--status", metavar="S", help="only submitted, running, completed, failed or cancelled ones")
    parser.add_argument("--name", metavar="NAME", help="only those of graphs with this name")
    parser.add_argument("--query", metavar="TEXT", help="only those with this text in id, name or labels")
    parser.add_argument("--limit", type=typed(whole(1, 10**6, 100)), default=20, metavar="N", help="at most so many")
    add_json(parser, "print JSON lines")
    parser = add(actions, "show", "show a run and its nodes", "graph.commands:show")
    parser.add_argument("id", metavar="ID", help="as `graph list` shows it")
    add_json(parser, "print the whole state as JSON")
    parser = add(
        actions, "follow", "show what happens in a run until it ends, one line a step", "graph.commands:follow_run"
    )
    parser.add_argument("id", metavar="ID", help="as `graph list` shows it")
    add_json(parser, "print the events as JSON lines")
    parser = add(actions, "cancel", "cancel runs: nothing of them starts any more", "graph.commands:cancel")
    _add_runs(parser)
    about = "begin failed or cancelled runs again: what has completed stays"
    _add_runs(add(actions, "retry", about, "graph.commands:retry"))
    for name, about in (("hold", "let nothing new of runs start"), ("resume", "let held runs go on")):
        parser = add(actions, name, about, f"graph.commands:{name}")
        parser.add_argument("ids", metavar="ID", nargs="+", help="as `graph list` shows it")


def _add_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", metavar="ID", nargs="*", help="as `graph list` shows it")
    parser.add_argument("--status", metavar="S", help="instead of ids: all with this status")
    parser.add_argument("--code", metavar="C", help="instead of ids: all that have failed with this error code")
    about = "instead of ids: all that were submitted since, e.g. 90s or 1h"
    parser.add_argument("--since", type=typed(duration(0.0, "1h")), metavar="TIME", help=about)
    parser.add_argument("--dry-run", action="store_true", help="only show which")


def _add_graph(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", help="a graph as JSON or YAML, alone or as {graph, inputs}; - for stdin"
    )
    about = "an input; VALUE is JSON where it parses, else text"
    parser.add_argument("-i", "--input", metavar="NAME=VALUE", action="append", default=[], help=about)
    parser.add_argument("--inputs", metavar="FILE", help="inputs as JSON or YAML")
