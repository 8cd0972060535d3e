"""Commands for what has failed, is held back or is to be done again."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from executor_worker.cli.options.common import add, add_json, group, typed
from executor_worker.settings.kinds import duration, whole

if TYPE_CHECKING:
    from executor_worker.cli.options.common import Commands

_DEAD = """\
  executor-worker dead list
  executor-worker dead show 1700000000000-0
  executor-worker dead requeue 1700000000000-0 1700000000001-0
  executor-worker dead requeue --all
  executor-worker dead drop 1700000000000-0
  executor-worker dead drop --all"""
_FAILED = """\
  executor-worker failed list --code llm_refused --since 1h
  executor-worker failed show my-graph my-node
  executor-worker failed retry my-graph my-node other-node
  executor-worker failed retry --code llm_refused --all"""
_THROTTLE = """\
  executor-worker throttle list
  executor-worker throttle clear anthropic/claude-sonnet-5-5
  executor-worker throttle clear --all   what waits is taken at once; a provider that still refuses says so again"""
_REPLAY = """\
  executor-worker replay my-graph my-node --steps
  executor-worker replay my-graph my-node --from-step 2 --model claude-opus-5-5"""


def dead(commands: Commands) -> None:
    actions = group(commands, "dead", "look after the items that could not be run", _DEAD)
    parser = add(actions, "list", "list the dead letters", "dead:listing")
    parser.add_argument("--limit", type=typed(whole(1, 10**9, 100)), default=1000, metavar="N", help="at most so many")
    add_json(parser)
    parser = add(actions, "show", "print one dead letter as JSON", "dead:show")
    parser.add_argument("id", metavar="ID", help="as `dead list` shows it")
    parser = add(actions, "requeue", "put dead letters back on their stream", "dead:requeue")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("ids", metavar="ID", nargs="*", default=[], help="as `dead list` shows it")
    which.add_argument("--all", action="store_true", help="all there are now")
    parser = add(actions, "drop", "delete dead letters for good", "dead:drop")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("ids", metavar="ID", nargs="*", default=[], help="as `dead list` shows it")
    which.add_argument("--all", action="store_true", help="all there are now")


def failed(commands: Commands) -> None:
    actions = group(commands, "failed", "find nodes that have failed, and run them again", _FAILED)
    parser = add(actions, "list", "list failed nodes, as long as their graphs' states are kept", "failed:listing")
    parser.add_argument("--graph", dest="of_graph", metavar="G", help="of this graph only")
    _add_which(parser)
    parser.add_argument("--limit", type=typed(whole(1, 10**9, 100)), default=1000, metavar="N", help="at most so many")
    add_json(parser)
    parser = add(actions, "show", "print what is known of one as JSON", "failed:show")
    parser.add_argument("graph", metavar="GRAPH", help="the graph's id")
    parser.add_argument("node", metavar="NODE", help="the node's id")
    parser = add(actions, "retry", "run failed nodes again; of a run of ours: the run", "failed:retry")
    parser.add_argument("graph", metavar="GRAPH", nargs="?", help="the graph's id")
    parser.add_argument("nodes", metavar="NODE", nargs="*", help="its nodes")
    parser.add_argument("--all", action="store_true", help="all that have failed, of whatever graph")
    _add_which(parser)


def throttle(commands: Commands) -> None:
    actions = group(commands, "throttle", "see which models are held back, and let them go on", _THROTTLE)
    add_json(add(actions, "list", "list what is held back: since when, why, until when", "throttle:listing"))
    parser = add(actions, "clear", "hold nothing back any more", "throttle:lift")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("names", metavar="NAME", nargs="*", default=[], help="as `throttle list` shows it")
    which.add_argument("--all", action="store_true", help="all there are now")


def replay(commands: Commands) -> None:
    about = "run a node again from what was written down of its last run, offline or going on from a step"
    parser = add(commands, "replay", about, "replay:replay", _REPLAY)
    parser.add_argument("graph", metavar="GRAPH", help="the graph's id")
    parser.add_argument("node", metavar="NODE", help="the node's id")
    count = typed(whole(0, 10**6, 2))
    parser.add_argument(
        "--from-step", type=count, metavar="N", help="keep N answers of the model, and go on live: tools are called"
    )
    parser.add_argument("--model", metavar="M", help="go on with this model (with --from-step; else from the start)")
    parser.add_argument("--steps", action="store_true", help="show each step on stderr, also in a pipe")


def _add_which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--code", metavar="C", help="with this error code only, as llm_refused")
    parser.add_argument("--since", type=typed(duration(0.0, "1h")), metavar="TIME", help="failed no longer ago")
