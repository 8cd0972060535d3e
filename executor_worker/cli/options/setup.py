"""Commands that look at tools and settings, and write files for others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from executor_worker.cli.options.common import add, add_json, group

if TYPE_CHECKING:
    from executor_worker.cli.options.common import Commands

_TOOLS = """\
  executor-worker tools list
  executor-worker tools call calculate --params '{"expression": "6*7"}'"""
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


def tools(commands: Commands) -> None:
    actions = group(commands, "tools", "list and call tools as the workers see them", _TOOLS)
    parser = add(actions, "list", "list all tools that can be reached", "tools:listing")
    add_json(parser)
    parser = add(actions, "call", "call one tool and print what it returns as JSON", "tools:call")
    parser.add_argument("name", metavar="NAME", help="as `tools list` shows it")
    parser.add_argument("--params", metavar="JSON", default="{}", help="its parameters, a JSON object; - for stdin")


def check(commands: Commands) -> None:
    about = "look at settings, Redis, model, tools and paths; one line each: ok, or what to do"
    parser = add(commands, "check", about, "checks.check:check", _CHECK, needs="nothing")
    add_json(parser)


def unit(commands: Commands) -> None:
    about = "print a unit for systemd, its settings file or its drop-in, as this version has them"
    parser = add(commands, "unit", about, "unit:unit", _UNIT, needs="nothing")
    about = "for one of several pools on this host; %%i: the template of all of them"
    parser.add_argument("--pool", metavar="NAME", help=about)
    about = "for the orchestrator's API alone (`serve`); with --pool: for that pool with the API in it"
    parser.add_argument("--api", action="store_true", help=about)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--env", action="store_true", help="print the settings file: every setting, explained")
    what.add_argument("--drop-in", action="store_true", help="print the drop-in that hands secrets over")


def completion(commands: Commands) -> None:
    about = "print what makes a shell complete commands and options"
    parser = add(commands, "completion", about, "completion:completion", _COMPLETION, needs="nothing")
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh or fish")


def man(commands: Commands) -> None:
    about = "print the manual page, in roff"
    add(commands, "man", about, "completion:man", _MAN, needs="nothing")
