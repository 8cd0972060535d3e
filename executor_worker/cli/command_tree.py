"""The parser as a tree of commands: what the man page and the shells' completions are made from."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Argument:
    """
    An option or an argument.

    Attributes:
        names: `--json`; none for an argument that is told by its place.
        value: What stands for its value, as FILE; empty if it takes none.
        choices: The values it may have; none: any.
    """

    names: tuple[str, ...]
    value: str
    about: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """
    Attributes:
        path: Its words behind the program's name.
    """

    path: tuple[str, ...]
    about: str
    usage: str
    epilog: str
    arguments: tuple[Argument, ...]
    inner: tuple[Command, ...]

    def all(self) -> Iterator[Command]:
        """Walk over this command and all in it."""
        yield self
        for one in self.inner:
            yield from one.all()

    @property
    def options(self) -> list[Argument]:
        return [one for one in self.arguments if one.names]


def command_tree(parser: argparse.ArgumentParser) -> Command:
    """Read *parser* with all its commands."""
    return _command(parser, (), parser.description or "")


def _command(parser: argparse.ArgumentParser, path: tuple[str, ...], about: str) -> Command:
    arguments, inner = [], []
    for action in parser._actions:  # argparse has no other way to ask
        if isinstance(action, argparse._SubParsersAction):
            abouts = {one.dest: one.help or "" for one in action._choices_actions}
            inner = [_command(one, (*path, name), abouts.get(name, "")) for name, one in action.choices.items()]
        else:
            arguments.append(_argument(action))
    usage = " ".join(parser.format_usage().removeprefix("usage:").split())
    return Command(path, about, usage, parser.epilog or "", tuple(arguments), tuple(inner))


def _argument(action: argparse.Action) -> Argument:
    takes = action.nargs != 0
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    choices = tuple(map(str, action.choices or ()))
    return Argument(tuple(action.option_strings), value if takes else "", action.help or "", choices)
