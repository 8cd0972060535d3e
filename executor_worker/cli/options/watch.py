"""Commands that show what goes on, and tell a pool what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from executor_worker.cli.options.common import add, add_all, add_json, add_pool, typed
from executor_worker.settings.kinds import span, whole

if TYPE_CHECKING:
    from executor_worker.cli.options.common import Commands

_STATUS = """\
  executor-worker status
  executor-worker status --all
  executor-worker status --json | jq '.workers[] | select(.state == "busy")'"""
_TOP = """\
  executor-worker top                   q or Ctrl-C leaves"""
_TAIL = """\
  executor-worker tail
  executor-worker tail my-graph --from-start
  executor-worker tail --failed
  executor-worker tail my-graph --node my-node --outputs
  executor-worker tail --json | jq 'select(.type == "llm.called").data.usage'"""
_HEALTH = """\
  executor-worker health                for a container's health check: asks neither a port nor Redis

exit status: 0 well, degraded or draining; 1 unhealthy, or no pool of this user here"""
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


def status(commands: Commands) -> None:
    parser = add(commands, "status", "show the pool and the streams at a glance", "status.status:status", _STATUS)
    add_all(parser)
    add_pool(parser)
    add_json(parser)


def top(commands: Commands) -> None:
    parser = add(commands, "top", "show the pool and the streams live", "status.top:top", _TOP)
    add_all(parser)
    add_pool(parser)


def tail(commands: Commands) -> None:
    parser = add(commands, "tail", "show runs as they happen, one line a step", "tail:tail", _TAIL)
    parser.add_argument("graph", metavar="GRAPH", nargs="?", help="only this graph's")
    parser.add_argument("--from-start", action="store_true", help="what is still kept comes first")
    parser.add_argument("--no-follow", action="store_true", help="with --from-start: leave when that is shown")
    parser.add_argument("--node", metavar="NODE", help="only this node's")
    parser.add_argument("--failed", action="store_true", help="only nodes that have failed, and why")
    parser.add_argument("--outputs", action="store_true", help="show what nodes gave as well")
    add_json(parser, "print the events as JSON lines")


def health(commands: Commands) -> None:
    about = "say whether the pool that runs here is well, by the exit status too"
    add_pool(add(commands, "health", about, "health:health", _HEALTH, needs="nothing"))


def ctl(commands: Commands) -> None:
    parser = add(commands, "ctl", "tell the running pool what to do, as signals do, and hear what came of it", "", _CTL)
    parser.add_argument("--socket", metavar="PATH", help="where it takes commands, or @name; instead of CTL_SOCKET")
    add_pool(parser)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    for name, about in _CTL_ACTIONS.items():
        parser = add(actions, name, about, "ctl:command", needs="nothing")
        add_json(parser)
        if name == "stacks":
            kind = typed(whole(1, 10**6, 3))
            parser.add_argument("--slot", dest="argument", type=kind, metavar="N", help="of this slot alone")
    about = "have N slots from now on, or as many as there is work for between two, until the next reload"
    parser = add(actions, "scale", about, "ctl:command", needs="nothing")
    parser.add_argument("argument", type=typed(span(1, 1024, 4)), metavar="N", help="slots, or 2-20")
    add_json(parser)
    about = "have all processes log from LEVEL on, at once, until the next reload"
    parser = add(actions, "level", about, "ctl:command", needs="nothing")
    levels = ("debug", "info", "warn", "error")
    parser.add_argument("argument", choices=levels, metavar="LEVEL", help="debug, info, warn or error")
    add_json(parser)
