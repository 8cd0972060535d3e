"""The command line as people see it: commands, options, help and examples."""

from __future__ import annotations

import argparse

from executor_worker.cli.options import failures, graphs, setup, watch, work
from executor_worker.cli.options.common import address
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
    parser.add_argument("--redis", dest="redis_addr", metavar="ADDR", type=address, help=about)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for add in (
        *(work.run, work.serve, work.work, work.demo, work.once, work.submit, work.job, work.history),
        *(watch.status, watch.top, watch.tail, graphs.graph, watch.health, watch.ctl),
        *(failures.dead, failures.failed, failures.throttle, failures.replay),
        *(setup.tools, setup.check, setup.unit, setup.completion, setup.man),
    ):
        add(commands)
    return parser
