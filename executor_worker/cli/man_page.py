"""The manual page in roff, from the tree of commands."""

from __future__ import annotations

from collections.abc import Iterator

from executor_worker.cli.command_tree import Argument, Command
from executor_worker.cli.parser import PROGRAM
from executor_worker.version import program_version

_FILES = (
    (
        ".env",
        (
            "Settings, where the environment has none; ENV_FILE or --env-file names another one."
            " Each setting is in docs/SETTINGS.md."
        ),
    ),
)


def man_page(tree: Command) -> str:
    """Write the page; `man -l FILE` shows it."""
    lines = [
        f'.TH {PROGRAM.upper()} 1 "" "{PROGRAM} {program_version()}"',
        ".SH NAME",
        f"{_text(PROGRAM)} \\- runs the nodes of agent graphs from a Redis stream",
        ".SH SYNOPSIS",
        f".B {_text(PROGRAM)}",
        ".I COMMAND",
        "[options]",
        ".SH DESCRIPTION",
        _text(tree.about),
        ".PP",
        "Without a command it is",
        ".B run",
        "where standard input is no terminal, and shows its help where it is one.",
        *_arguments(tree.arguments),
        ".SH COMMANDS",
    ]
    for command in tree.all():
        if command.path and not command.inner:
            lines += _command(command)
    lines += [".SH EXAMPLES AND EXIT STATUS", *_literal(tree.epilog)]
    for command in tree.all():
        if command.path and command.epilog:
            lines += [f'.SS "{_text(" ".join(command.path))}"', *_literal(command.epilog)]
    lines += [".SH FILES", *(line for name, about in _FILES for line in (".TP", f".I {_text(name)}", _text(about)))]
    return "\n".join(lines)


def _command(command: Command) -> Iterator[str]:
    yield f'.SS "{_text(command.usage)}"'
    yield _text(f"{command.about[:1].upper()}{command.about[1:]}.")
    yield from _arguments(one for one in command.arguments if "--help" not in one.names)


def _arguments(arguments: Iterator[Argument] | tuple[Argument, ...]) -> Iterator[str]:
    for one in arguments:
        names = ", ".join(f"\\fB{_text(name)}\\fR" for name in one.names)
        value = f"\\fI{_text(one.value)}\\fR" if one.value else ""
        yield from (".TP", " ".join(part for part in (names, value) if part), _text(one.about))


def _literal(text: str) -> Iterator[str]:
    yield from (".nf", *map(_text, text.splitlines()), ".fi")


def _text(text: str) -> str:
    """Escape what roff would take for its own."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in escaped.splitlines())
