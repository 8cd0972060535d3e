"""`completion` and `man`: what shells complete, and the manual page, made from the parser."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator

from executor_worker.cli.command_tree import Argument, Command, command_tree
from executor_worker.cli.exits import DONE
from executor_worker.cli.man_page import man_page
from executor_worker.cli.parser import PROGRAM, build_parser

_FILES = ("FILE", "F", "PATH")


def completion(args: argparse.Namespace) -> int:
    """Print the completion script of a shell."""
    tree = command_tree(build_parser())
    print({"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell](tree), flush=True)
    return DONE


def man(_args: argparse.Namespace) -> int:
    """Print the manual page."""
    print(man_page(command_tree(build_parser())), flush=True)
    return DONE


def _words(command: Command) -> list[str]:
    """List what may come next: commands, options, and an argument's choices."""
    names = [one.path[-1] for one in command.inner] + [name for one in command.options for name in one.names]
    return names + [word for one in command.arguments if not one.names for word in one.choices]


def _with_values(command: Command) -> Iterator[tuple[str, Argument]]:
    """Options that a value comes after, by each of their names."""
    for one in command.options:
        if one.value:
            yield from ((name, one) for name in one.names)


def _takes_file(command: Command) -> bool:
    return any(not one.names and one.value in _FILES for one in command.arguments)


# -- bash, and zsh by what it has for bash's scripts -------------------------------------------------

_BASH_HEAD = """\
# Completion of {program}. In ~/.bashrc:
#   eval "$({program} completion bash)"
"""
_ZSH_HEAD = """\
#compdef {program}
# Completion of {program}. In ~/.zshrc:
#   eval "$({program} completion zsh)"
autoload -U +X compinit && compinit
autoload -U +X bashcompinit && bashcompinit
"""
_BASH = """\
_{function}() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" line=" " at
    COMPREPLY=()
    for ((at = 1; at < COMP_CWORD; at++)); do
        case "$line${{COMP_WORDS[at]}} " in
            {paths}) line="$line${{COMP_WORDS[at]}} " ;;
        esac
    done
    case "$line$before" in
{values}
    esac
    case "$line" in
{words}
    esac
}}
complete -o default -F _{function} {program}"""


def _bash(tree: Command, head: str = _BASH_HEAD) -> str:
    values, words = [], []
    for command in tree.all():
        line = _line(command)
        for name, one in _with_values(command):
            values.append(f'        "{line}{name}") {_bash_value(one)}return ;;')
        # What is left empty is completed as files are, by `-o default`.
        choice = f'COMPREPLY=($(compgen -W {shlex.quote(" ".join(_words(command)))} -- "$word"))'
        if _takes_file(command):
            choice = f'[[ "$word" == -* ]] && {choice}'
        words.append(f'        "{line}") {choice} ;;')
    return head.format(program=PROGRAM) + _BASH.format(
        program=PROGRAM,
        function=PROGRAM.replace("-", "_"),
        paths="|".join(f'"{_line(command)}"' for command in tree.all() if command.path),
        values="\n".join(values),
        words="\n".join(words),
    )


def _zsh(tree: Command) -> str:
    return _bash(tree, _ZSH_HEAD)


def _line(command: Command) -> str:
    return f" {' '.join(command.path)} " if command.path else " "


def _bash_value(one: Argument) -> str:
    if one.choices:
        return f'COMPREPLY=($(compgen -W {shlex.quote(" ".join(one.choices))} -- "$word"));'
    return ""


# -- fish ----------------------------------------------------------------------------------------------

_FISH = """\
# Completion of {program}. In ~/.config/fish/config.fish:
#   {program} completion fish | source
function __{function}_at
    set -l path
    set -l words (commandline -opc)
    for word in $words[2..-1]
        if contains -- (string join ' ' $path $word) {paths}
            set path $path $word
        end
    end
    test (string join ' ' x $path) = (string join ' ' x $argv)
end
complete -c {program} -f
{lines}"""


def _fish(tree: Command) -> str:
    return _FISH.format(
        program=PROGRAM,
        function=PROGRAM.replace("-", "_"),
        paths=" ".join(shlex.quote(" ".join(command.path)) for command in tree.all() if command.path),
        lines="\n".join(line for command in tree.all() for line in _fish_lines(command)),
    )


def _fish_lines(command: Command) -> Iterator[str]:
    at = " ".join((f"__{PROGRAM.replace('-', '_')}_at", *command.path))
    start = f"complete -c {PROGRAM} -n {shlex.quote(at)}"
    for one in command.inner:
        yield f"{start} -a {one.path[-1]} -d {_fish_text(one.about)}"
    for argument in command.arguments:
        if not argument.names:
            choices = shlex.quote(" ".join(argument.choices))
            if argument.choices:
                yield f"{start} -a {choices}"
            elif argument.value in _FILES:
                yield f"{start} -F"
            continue
        names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in argument.names)
        value = "" if not argument.value else " -r -F" if argument.value in _FILES else " -x"
        choice = f" -a {shlex.quote(' '.join(argument.choices))}" if argument.choices else ""
        yield f"{start} {names}{value}{choice} -d {_fish_text(argument.about)}"


def _fish_text(text: str) -> str:
    """Quote for fish, where a quote within quotes is escaped."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
