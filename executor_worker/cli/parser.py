"""The command line as people see it: commands, options, help and examples."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from executor_worker.settings.kinds import Kind, duration, span, whole
from executor_worker.version import program_version

PROGRAM = "executor-worker"
_ABOUT = """\
Runs the nodes of agent graphs: takes them from a Redis stream, calls models and tools,
writes the results back."""
_EXAMPLES = """\
start here:
  executor-worker demo                  see it work: no Redis, no key, no network
  executor-worker once agent.json       run one node from a file, without Redis
  executor-worker check                 is everything set as it should be?
  executor-worker run --workers 4       work for real
  executor-worker --redis staging:6379 status

Settings come from the environment, then from the file that ENV_FILE or --env-file names (default .env).
Results go to stdout, logs to stderr.

Without a command: run where stdin is no terminal, this help where it is one.

exit status: 0 done, 1 failed, 2 wrong usage or a missing file, 78 wrong settings"""

_RUN = """\
  executor-worker run --workers 4
  executor-worker run --embedded        with a private Redis, gone at the end
  executor-worker run --embedded --api  the whole system, HTTP on 127.0.0.1:8080
  REDIS_ADDR=rediss://redis.example.com:6380 executor-worker run

signals: TERM or INT drain, HUP read the settings again, TTIN and TTOU one slot more or fewer"""
_SERVE = """\
  executor-worker serve                 HTTP on 127.0.0.1:8080; the same as dago
  API_TOKENS=ci:submit:a-long-random-word DAGO_HTTP_HOST=0.0.0.0 executor-worker serve

signals: as of run"""
_WORK = """\
  executor-worker work

signals: TERM or Ctrl-C finish the item in hand and leave; QUIT or a second Ctrl-C give it back"""
_DEMO = """\
  executor-worker demo
  executor-worker demo --resume"""
_ONCE = """\
  executor-worker once examples/tool_example.json
  executor-worker once node.json --state state.json
  executor-worker once node.json --dry-run          render and validate, call nothing
  echo '{"config": {"tool_name": "calculate", "tool_params": {"expression": "6*7"}}}' | executor-worker once -"""
_SUBMIT = """\
  executor-worker submit item.json
  executor-worker submit items.jsonl --wait
  executor-worker submit item.json --state state.json --wait --timeout 5m
  jq -c '.nodes[]' plan.json | executor-worker submit -
  executor-worker submit --role manager --task "Plan the release" --wait"""
_JOB = """\
  executor-worker job 5e2d3c1a-8f0b-4c55-9f55-0a9b6f1c2d3e
  executor-worker job job-17 --wait
  executor-worker job job-17 --cancel

exit status: 1 where it has failed, or nothing is known of it"""
_HISTORY = """\
  executor-worker history migrate       make its tables, or bring them up to date
  executor-worker history prune --older 90d
  executor-worker history write         what waits is written now; pools do that by themselves"""
_STATUS = """\
  executor-worker status
  executor-worker status --all
  executor-worker status --json | jq '.workers[] | select(.state == "busy")'"""
_TOP = """\
  executor-worker top                   q or Ctrl-C leaves"""
_HEALTH = """\
  executor-worker health                for a container's health check: asks neither a port nor Redis

exit status: 0 well, degraded or draining; 1 unhealthy, or no pool of this user here"""
_DEAD = """\
  executor-worker dead list
  executor-worker dead show 1700000000000-0
  executor-worker dead requeue 1700000000000-0 1700000000001-0
  executor-worker dead requeue --all
  executor-worker dead drop 1700000000000-0"""
_FAILED = """\
  executor-worker failed list --code llm_refused --since 1h
  executor-worker failed show my-graph my-node
  executor-worker failed retry my-graph my-node other-node
  executor-worker failed retry --code llm_refused --all"""
_THROTTLE = """\
  executor-worker throttle list
  executor-worker throttle clear anthropic/claude-sonnet-5-5
  executor-worker throttle clear --all   what waits is taken at once; a provider that still refuses says so again"""
_CTL = """\
  executor-worker ctl reload            returns when the settings are checked, fails when they are bad
  executor-worker ctl scale 8
  executor-worker ctl status --json | jq -r .said
  executor-worker ctl --socket /run/executor-worker/ctl.sock drain

The pool is found by CTL_SOCKET, RUNTIME_DIRECTORY or WORKER_ID, as it finds its own place."""
_CTL_ACTIONS = {
    "drain": "take no new items, finish what is held, leave",
    "reload": "read the settings file again, check it, then replace the workers one by one",
    "pause": "stop taking items",
    "resume": "take items again",
    "stacks": "show where every worker stands: its stack",
    "status": "show what the supervisor knows of its workers",
}
_TOOLS = """\
  executor-worker tools list
  executor-worker tools call calculate --params '{"expression": "6*7"}'"""
_REPLAY = """\
  executor-worker replay my-graph my-node --steps
  executor-worker replay my-graph my-node --from-step 2 --model claude-opus-5-5"""
_TAIL = """\
  executor-worker tail
  executor-worker tail my-graph --from-start
  executor-worker tail --failed
  executor-worker tail my-graph --node my-node --outputs
  executor-worker tail --json | jq 'select(.type == "llm.called").data.usage'"""
_GRAPH = """\
  executor-worker graph run examples/graphs/research.yaml -i topic="tidal power"
  executor-worker graph validate graph.yaml && executor-worker graph draw graph.yaml
  executor-worker graph submit graph.json --wait
  executor-worker graph list --status running
  executor-worker graph follow 01938a5c-1f5e-7c44-9d1e-2c6fd2b7a000"""
_CHECK = """\
  executor-worker check
  executor-worker check && executor-worker run"""

_UNIT = """\
  executor-worker unit > /etc/systemd/system/executor-worker.service
  executor-worker unit --env > /etc/executor-worker/settings.env
  executor-worker unit --api > /etc/systemd/system/dago.service
  executor-worker unit --pool fast > /etc/systemd/system/executor-worker@fast.service

Then: systemctl daemon-reload && systemctl enable --now executor-worker"""
_COMPLETION = """\
  eval "$(executor-worker completion bash)"       in ~/.bashrc; zsh alike
  executor-worker completion fish | source        in ~/.config/fish/config.fish"""
_MAN = """\
  executor-worker man | man -l -
  executor-worker man > /usr/local/share/man/man1/executor-worker.1"""

if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def build_parser() -> argparse.ArgumentParser:
    """
    Build the whole command line.

    The namespace has `entry`, the command's `module:function` in this package: it is imported when it is
    called, so that `--help` and `status` need not wait a second for the models' SDKs. And `needs`, what is
    done before that: `nothing`, `settings`, or for a `pool` also its log file. And `forks`: it needs Linux.
    """
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {program_version()}")
    parser.add_argument("--env-file", metavar="FILE", help="before any command: the settings file, instead of ENV_FILE")
    about = "before any command: the Redis it is about, instead of REDIS_ADDR"
    parser.add_argument("--redis", dest="redis_addr", metavar="ADDR", type=_address, help=about)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for add in (
        *(_run, _serve, _work, _demo, _once, _submit, _job, _history, _status, _top, _tail),
        *(_graph, _health, _ctl, _dead, _failed, _throttle, _replay, _tools, _check),
        *(_unit, _completion, _man),
    ):
        add(commands)
    return parser


def _run(commands: _Commands) -> None:
    about = "run the pool: a supervisor in the foreground with N workers"
    parser = _add(commands, "run", about, "run:run", _RUN, needs="pool", forks=True)
    count = _typed(span(1, 1024, 4))
    parser.add_argument("--workers", type=count, metavar="N", help="slots, or 2-20; instead of WORKERS")
    parser.add_argument("--embedded", action="store_true", help="start a private Redis, for trying things out")
    parser.add_argument("--api", action="store_true", help="serve the orchestrator's API too, as API=1 does")


def _serve(commands: _Commands) -> None:
    about = "serve the orchestrator's API, without workers"
    parser = _add(commands, "serve", about, "run:serve", _SERVE, needs="pool")
    parser.add_argument("--embedded", action="store_true", help="start a private Redis, for trying things out")


def _work(commands: _Commands) -> None:
    about = "run one worker in the foreground, without a supervisor"
    _add(commands, "work", about, "run:work", _WORK, needs="pool", forks=True)


def _demo(commands: _Commands) -> None:
    about = "show it all at work, with nothing set up"
    parser = _add(commands, "demo", about, "demo.demo:demo", _DEMO, needs="nothing", forks=True)
    parser.add_argument(
        "--resume", action="store_true", help="an agent whose worker is killed five times, and that goes on each time"
    )


def _once(commands: _Commands) -> None:
    about = "run one node from a JSON file, without Redis; print the outcome as JSON"
    parser = _add(commands, "once", about, "once:once", _ONCE)
    parser.add_argument("file", metavar="FILE", help="the item, as on the work stream; - for stdin")
    _add_state(parser, "the graph state that inputs and other nodes' outputs come from")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="render and validate only, call nothing")
    how.add_argument(
        "--record", metavar="FILE", help="write down what model and tools answered; LLM_PROVIDER=replay answers from it"
    )


def _submit(commands: _Commands) -> None:
    parser = _add(commands, "submit", "put items on the work stream", "submit:submit", _SUBMIT)
    about = "a JSON object, an array, or JSON lines; - for stdin"
    parser.add_argument("file", metavar="FILE", nargs="?", help=about)
    _add_state(parser, "a graph state to store first; refused where there is one already")
    parser.add_argument("--replace", action="store_true", help="with --state: overwrite the state that is there")
    parser.add_argument("--role", metavar="ROLE", help="jobs for that role's queue instead of items; prints their ids")
    parser.add_argument("--task", metavar="TEXT", help="with --role: the job's task")
    parser.add_argument("--payload", metavar="JSON", help="with --role: its payload")
    parser.add_argument("--wait", action="store_true", help="show each result when it comes; in a pipe as a JSON line")
    seconds = _typed(duration(0.0, "5m"))
    parser.add_argument("--timeout", type=seconds, metavar="TIME", help="with --wait: give up after, e.g. 90s or 5m")
    _add_json(parser, "print what was put where, or with --wait each result, as JSON lines")


def _job(commands: _Commands) -> None:
    parser = _add(commands, "job", "show what has become of a role's job", "jobs:job", _JOB)
    parser.add_argument("id", metavar="ID", help="its jobId")
    parser.add_argument("--wait", action="store_true", help="until it has ended")
    parser.add_argument("--cancel", action="store_true", help="end it where it runs, don't run it where it waits")
    seconds = _typed(duration(0.0, "5m"))
    parser.add_argument("--timeout", type=seconds, metavar="TIME", help="with --wait: give up after, e.g. 90s or 5m")


def _history(commands: _Commands) -> None:
    actions = _group(commands, "history", "look after the database that ended jobs are kept in", _HISTORY)
    _add(actions, "migrate", "make its tables, or bring them up to date", "history:migrate")
    parser = _add(actions, "prune", "delete what has ended long ago; prints how much", "history:prune")
    age = _typed(duration(0.0, "90d"))
    parser.add_argument("--older", type=age, metavar="TIME", required=True, help="ended longer ago, e.g. 90d")
    parser = _add(actions, "write", "write what waits in Redis; prints how much", "history:write")
    parser.add_argument("--follow", action="store_true", help="go on until stdin ends, as pools do")


def _status(commands: _Commands) -> None:
    parser = _add(commands, "status", "show the pool and the streams at a glance", "status.status:status", _STATUS)
    _add_all(parser)
    _add_pool(parser)
    _add_json(parser)


def _top(commands: _Commands) -> None:
    parser = _add(commands, "top", "show the pool and the streams live", "status.top:top", _TOP)
    _add_all(parser)
    _add_pool(parser)


def _tail(commands: _Commands) -> None:
    parser = _add(commands, "tail", "show runs as they happen, one line a step", "tail:tail", _TAIL)
    parser.add_argument("graph", metavar="GRAPH", nargs="?", help="only this graph's")
    parser.add_argument("--from-start", action="store_true", help="what is still kept comes first")
    parser.add_argument("--no-follow", action="store_true", help="with --from-start: leave when that is shown")
    parser.add_argument("--node", metavar="NODE", help="only this node's")
    parser.add_argument("--failed", action="store_true", help="only nodes that have failed, and why")
    parser.add_argument("--outputs", action="store_true", help="show what nodes gave as well")
    _add_json(parser, "print the events as JSON lines")


def _ctl(commands: _Commands) -> None:
    parser = _add(
        commands, "ctl", "tell the running pool what to do, as signals do, and hear what came of it", "", _CTL
    )
    parser.add_argument("--socket", metavar="PATH", help="where it takes commands, or @name; instead of CTL_SOCKET")
    _add_pool(parser)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    for name, about in _CTL_ACTIONS.items():
        parser = _add(actions, name, about, "ctl:command", needs="nothing")
        _add_json(parser)
        if name == "stacks":
            kind = _typed(whole(1, 10**6, 3))
            parser.add_argument(
                "--slot", dest="argument", type=kind, default="", metavar="N", help="of this slot alone"
            )
    about = "have N slots from now on, or as many as there is work for between two, until the next reload"
    parser = _add(actions, "scale", about, "ctl:command", needs="nothing")
    parser.add_argument("argument", type=_typed(span(1, 1024, 4)), metavar="N", help="slots, or 2-20")
    _add_json(parser)
    about = "have all processes log from LEVEL on, at once, until the next reload"
    parser = _add(actions, "level", about, "ctl:command", needs="nothing")
    levels = ("debug", "info", "warn", "error")
    parser.add_argument("argument", choices=levels, metavar="LEVEL", help="debug, info, warn or error")
    _add_json(parser)


def _health(commands: _Commands) -> None:
    about = "say whether the pool that runs here is well, by the exit status too"
    _add_pool(_add(commands, "health", about, "health:health", _HEALTH, needs="nothing"))


def _dead(commands: _Commands) -> None:
    actions = _group(commands, "dead", "look after the items that could not be run", _DEAD)
    parser = _add(actions, "list", "list the dead letters", "dead:listing")
    parser.add_argument("--limit", type=_typed(whole(1, 10**9, 100)), default=1000, metavar="N", help="at most so many")
    _add_json(parser)
    parser = _add(actions, "show", "print one dead letter as JSON", "dead:show")
    parser.add_argument("id", metavar="ID", help="as `dead list` shows it")
    parser = _add(actions, "requeue", "put dead letters back on their stream", "dead:requeue")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("ids", metavar="ID", nargs="*", default=[], help="as `dead list` shows it")
    which.add_argument("--all", action="store_true", help="all there are now")
    parser = _add(actions, "drop", "delete dead letters for good", "dead:drop")
    parser.add_argument("ids", metavar="ID", nargs="+", help="as `dead list` shows it")


def _failed(commands: _Commands) -> None:
    actions = _group(commands, "failed", "find nodes that have failed, and run them again", _FAILED)
    parser = _add(actions, "list", "list failed nodes, as long as their graphs' states are kept", "failed:listing")
    parser.add_argument("--graph", dest="of_graph", metavar="G", help="of this graph only")
    _add_which(parser)
    parser.add_argument("--limit", type=_typed(whole(1, 10**9, 100)), default=1000, metavar="N", help="at most so many")
    _add_json(parser)
    parser = _add(actions, "show", "print what is known of one as JSON", "failed:show")
    parser.add_argument("graph", metavar="GRAPH", help="the graph's id")
    parser.add_argument("node", metavar="NODE", help="the node's id")
    parser = _add(actions, "retry", "run failed nodes again; of a run of ours: the run", "failed:retry")
    parser.add_argument("graph", metavar="GRAPH", nargs="?", help="the graph's id")
    parser.add_argument("nodes", metavar="NODE", nargs="*", help="its nodes")
    parser.add_argument("--all", action="store_true", help="all that have failed, of whatever graph")
    _add_which(parser)


def _add_which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--code", metavar="C", help="with this error code only, as llm_refused")
    parser.add_argument("--since", type=_typed(duration(0.0, "1h")), metavar="TIME", help="failed no longer ago")


def _throttle(commands: _Commands) -> None:
    actions = _group(commands, "throttle", "see which models are held back, and let them go on", _THROTTLE)
    _add_json(_add(actions, "list", "list what is held back: since when, why, until when", "throttle:listing"))
    parser = _add(actions, "clear", "hold nothing back any more", "throttle:lift")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("names", metavar="NAME", nargs="*", default=[], help="as `throttle list` shows it")
    which.add_argument("--all", action="store_true", help="all there are now")


def _replay(commands: _Commands) -> None:
    about = "run a node again from what was written down of its last run, offline or going on from a step"
    parser = _add(commands, "replay", about, "replay:replay", _REPLAY)
    parser.add_argument("graph", metavar="GRAPH", help="the graph's id")
    parser.add_argument("node", metavar="NODE", help="the node's id")
    count = _typed(whole(0, 10**6, 2))
    parser.add_argument(
        "--from-step", type=count, metavar="N", help="keep N answers of the model, and go on live: tools are called"
    )
    parser.add_argument("--model", metavar="M", help="go on with this model (with --from-step; else from the start)")
    parser.add_argument("--steps", action="store_true", help="show each step on stderr, also in a pipe")


def _tools(commands: _Commands) -> None:
    actions = _group(commands, "tools", "list and call tools as the workers see them", _TOOLS)
    parser = _add(actions, "list", "list all tools that can be reached", "tools:listing")
    _add_json(parser)
    parser = _add(actions, "call", "call one tool and print what it returns as JSON", "tools:call")
    parser.add_argument("name", metavar="NAME", help="as `tools list` shows it")
    parser.add_argument("--params", metavar="JSON", default="{}", help="its parameters, a JSON object; - for stdin")


def _graph(commands: _Commands) -> None:
    actions = _group(commands, "graph", "run graphs, look at their runs, tell them what to do", _GRAPH)
    count = _typed(whole(1, 1024, 4))
    about = "run one graph to its end, here and now, with a pool and a Redis of its own; print its result as JSON"
    parser = _add(actions, "run", about, "graph.running:run")
    _add_graph(parser)
    parser.add_argument("--redis", metavar="ADDR", help="run it there instead of in a private Redis")
    parser.add_argument("--workers", type=count, default=4, metavar="N", help="slots of its pool (4)")
    about = "tell all that is wrong with a graph, each problem with its place and what to do"
    parser = _add(actions, "validate", about, "graph.checking:validate")
    parser.add_argument(
        "file", metavar="FILE", help="a graph, or an object of graph and inputs; JSON or YAML; - is stdin"
    )
    _add_json(parser, "print the report as JSON on a terminal too")
    parser = _add(actions, "draw", "draw a graph as text", "graph.checking:draw", needs="nothing")
    parser.add_argument("file", metavar="FILE", help="as for validate")
    parser.add_argument("--svg", metavar="F", help="write it as a picture there instead")
    parser = _add(actions, "submit", "submit a graph to the pools on this Redis", "graph.commands:submit")
    _add_graph(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--wait", action="store_true", help="wait for its end and print its result as JSON")
    how.add_argument("--follow", action="store_true", help="show what happens until it ends, one line a step")
    seconds = _typed(duration(0.0, "5m"))
    parser.add_argument("--timeout", type=seconds, metavar="TIME", help="give up waiting after, e.g. 90s or 5m")
    parser = _add(actions, "list", "list runs, newest first", "graph.commands:listing")
    parser.add_argument("--status", metavar="S", help="only submitted, running, completed, failed or cancelled ones")
    parser.add_argument("--name", metavar="NAME", help="only those of graphs with this name")
    parser.add_argument("--query", metavar="TEXT", help="only those with this text in id, name or labels")
    parser.add_argument("--limit", type=_typed(whole(1, 10**6, 100)), default=20, metavar="N", help="at most so many")
    _add_json(parser, "print JSON lines")
    parser = _add(actions, "show", "show a run and its nodes", "graph.commands:show")
    parser.add_argument("id", metavar="ID", help="as `graph list` shows it")
    _add_json(parser, "print the whole state as JSON")
    parser = _add(
        actions, "follow", "show what happens in a run until it ends, one line a step", "graph.commands:follow_run"
    )
    parser.add_argument("id", metavar="ID", help="as `graph list` shows it")
    _add_json(parser, "print the events as JSON lines")
    parser = _add(actions, "cancel", "cancel runs: nothing of them starts any more", "graph.commands:cancel")
    _add_runs(parser)
    about = "begin failed or cancelled runs again: what has completed stays"
    _add_runs(_add(actions, "retry", about, "graph.commands:retry"))
    for name, about in (("hold", "let nothing new of runs start"), ("resume", "let held runs go on")):
        parser = _add(actions, name, about, f"graph.commands:{name}")
        parser.add_argument("ids", metavar="ID", nargs="+", help="as `graph list` shows it")


def _add_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", metavar="ID", nargs="*", help="as `graph list` shows it")
    parser.add_argument("--status", metavar="S", help="instead of ids: all with this status")
    parser.add_argument("--code", metavar="C", help="instead of ids: all that have failed with this error code")
    about = "instead of ids: all that were submitted since, e.g. 90s or 1h"
    parser.add_argument("--since", type=_typed(duration(0.0, "1h")), metavar="TIME", help=about)
    parser.add_argument("--dry-run", action="store_true", help="only show which")


def _add_graph(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", help="a graph as JSON or YAML, alone or as {graph, inputs}; - for stdin"
    )
    about = "an input; VALUE is JSON where it parses, else text"
    parser.add_argument("-i", "--input", metavar="NAME=VALUE", action="append", default=[], help=about)
    parser.add_argument("--inputs", metavar="FILE", help="inputs as JSON or YAML")


def _check(commands: _Commands) -> None:
    about = "look at settings, Redis, model, tools and paths; one line each: ok, or what to do"
    parser = _add(commands, "check", about, "checks.check:check", _CHECK, needs="nothing")
    _add_json(parser)


def _unit(commands: _Commands) -> None:
    about = "print a unit for systemd, its settings file or its drop-in, as this version has them"
    parser = _add(commands, "unit", about, "unit:unit", _UNIT, needs="nothing")
    about = "for one of several pools on this host; %%i: the template of all of them"
    parser.add_argument("--pool", metavar="NAME", help=about)
    about = "for the orchestrator's API alone (`serve`); with --pool: for that pool with the API in it"
    parser.add_argument("--api", action="store_true", help=about)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--env", action="store_true", help="print the settings file: every setting, explained")
    what.add_argument("--drop-in", action="store_true", help="print the drop-in that hands secrets over")


def _completion(commands: _Commands) -> None:
    about = "print what makes a shell complete commands and options"
    parser = _add(commands, "completion", about, "completion:completion", _COMPLETION, needs="nothing")
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh or fish")


def _man(commands: _Commands) -> None:
    about = "print the manual page, in roff"
    _add(commands, "man", about, "completion:man", _MAN, needs="nothing")


def _add(
    commands: _Commands,
    name: str,
    about: str,
    entry: str,
    examples: str = "",
    needs: str = "settings",
    *,
    forks: bool = False,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(entry=entry, needs=needs, forks=forks, command=name)
    return parser


def _group(commands: _Commands, name: str, about: str, examples: str) -> _Commands:
    parser = _add(commands, name, about, "", examples)
    return parser.add_subparsers(title="actions", metavar="ACTION", required=True)


def _add_all(parser: argparse.ArgumentParser) -> None:
    about = "every pool on this Redis with its workers, from the registry, instead of the one on this machine"
    parser.add_argument("--all", action="store_true", help=about)


def _add_pool(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pool", metavar="NAME", help="the pool of this WORKER_ID, instead of the only one here")


def _add_json(parser: argparse.ArgumentParser, about: str = "print JSON") -> None:
    parser.add_argument("--json", action="store_true", help=about)


def _add_state(parser: argparse.ArgumentParser, about: str) -> None:
    parser.add_argument("--state", metavar="FILE", help=about)


def _address(text: str) -> str:
    """Refuse an empty address: it would mean the default. Its setting says what else may be wrong."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it must be host:port or an address as REDIS_ADDR takes it")
    return text.strip()


def _typed(kind: Kind) -> Callable[[str], Any]:
    """Let argparse read an option as a setting of this kind is read."""

    def read(text: str) -> Any:
        try:
            return kind.read(text.strip())
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {kind.wanted}") from None

    return read
