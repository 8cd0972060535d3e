"""Commands that run nodes and bring them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from executor_worker.cli.options.common import add, add_json, add_state, group, typed
from executor_worker.settings.kinds import duration, span

if TYPE_CHECKING:
    from executor_worker.cli.options.common import Commands

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

exit status: 1 if it has failed, or nothing is known of it"""
_HISTORY = """\
  executor-worker history migrate       make its tables, or bring them up to date
  executor-worker history prune --older 90d
  executor-worker history write         what waits is written now; pools do that by themselves"""


def run(commands: Commands) -> None:
    about = "run the pool: a supervisor in the foreground with N workers"
    parser = add(commands, "run", about, "run:run", _RUN, needs="pool", forks=True)
    count = typed(span(1, 1024, 4))
    parser.add_argument("--workers", type=count, metavar="N", help="slots, or 2-20; instead of WORKERS")
    parser.add_argument("--embedded", action="store_true", help="start a private Redis, for trying things out")
    parser.add_argument("--api", action="store_true", help="serve the orchestrator's API too, as API=1 does")


def serve(commands: Commands) -> None:
    about = "serve the orchestrator's API, without workers"
    parser = add(commands, "serve", about, "run:serve", _SERVE, needs="pool")
    parser.add_argument("--embedded", action="store_true", help="start a private Redis, for trying things out")


def work(commands: Commands) -> None:
    about = "run one worker in the foreground, without a supervisor"
    add(commands, "work", about, "run:work", _WORK, needs="pool", forks=True)


def demo(commands: Commands) -> None:
    about = "show it all at work, with nothing set up"
    parser = add(commands, "demo", about, "demo.demo:demo", _DEMO, needs="nothing", forks=True)
    parser.add_argument(
        "--resume", action="store_true", help="an agent whose worker is killed five times, and that goes on each time"
    )


def once(commands: Commands) -> None:
    about = "run one node from a JSON file, without Redis; print the outcome as JSON"
    parser = add(commands, "once", about, "once:once", _ONCE)
    parser.add_argument("file", metavar="FILE", help="the item, as on the work stream; - for stdin")
    add_state(parser, "the graph state that inputs and other nodes' outputs come from")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="render and validate only, call nothing")
    how.add_argument(
        "--record", metavar="FILE", help="write down what model and tools answered; LLM_PROVIDER=replay answers from it"
    )


def submit(commands: Commands) -> None:
    parser = add(commands, "submit", "put items on the work stream", "submit:submit", _SUBMIT)
    about = "a JSON object, an array, or JSON lines; - for stdin"
    parser.add_argument("file", metavar="FILE", nargs="?", help=about)
    add_state(parser, "a graph state to store first; refused where there is one already")
    parser.add_argument("--replace", action="store_true", help="with --state: overwrite the state that is there")
    parser.add_argument("--role", metavar="ROLE", help="jobs for that role's queue instead of items; prints their ids")
    parser.add_argument("--task", metavar="TEXT", help="with --role: the job's task")
    parser.add_argument("--payload", metavar="JSON", help="with --role: its payload")
    parser.add_argument("--wait", action="store_true", help="show each result when it comes; in a pipe as a JSON line")
    seconds = typed(duration(0.0, "5m"))
    parser.add_argument("--timeout", type=seconds, metavar="TIME", help="with --wait: give up after, e.g. 90s or 5m")
    add_json(parser, "print what was put where, or with --wait each result, as JSON lines")


def job(commands: Commands) -> None:
    parser = add(commands, "job", "show what has become of a role's job", "jobs:job", _JOB)
    parser.add_argument("id", metavar="ID", help="its jobId")
    parser.add_argument("--wait", action="store_true", help="until it has ended")
    parser.add_argument("--cancel", action="store_true", help="end it where it runs, don't run it where it waits")
    seconds = typed(duration(0.0, "5m"))
    parser.add_argument("--timeout", type=seconds, metavar="TIME", help="with --wait: give up after, e.g. 90s or 5m")


def history(commands: Commands) -> None:
    actions = group(commands, "history", "look after the database that ended jobs are kept in", _HISTORY)
    add(actions, "migrate", "make its tables, or bring them up to date", "history:migrate")
    parser = add(actions, "prune", "delete what has ended long ago; prints how much", "history:prune")
    age = typed(duration(0.0, "90d"))
    parser.add_argument("--older", type=age, metavar="TIME", required=True, help="ended longer ago, e.g. 90d")
    parser = add(actions, "write", "write what waits in Redis; prints how much", "history:write")
    parser.add_argument("--follow", action="store_true", help="go on until stdin ends, as pools do")
