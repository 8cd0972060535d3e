"""The ground of all commands' options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from executor_worker.settings.kinds import Kind

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(
    commands: Commands,
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


def group(commands: Commands, name: str, about: str, examples: str) -> Commands:
    parser = add(commands, name, about, "", examples)
    return parser.add_subparsers(title="actions", metavar="ACTION", required=True)


def add_all(parser: argparse.ArgumentParser) -> None:
    about = "every pool on this Redis with its workers, from the registry, instead of the one on this machine"
    parser.add_argument("--all", action="store_true", help=about)


def add_pool(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pool", metavar="NAME", help="the pool of this WORKER_ID, instead of the only one here")


def add_json(parser: argparse.ArgumentParser, about: str = "print JSON") -> None:
    parser.add_argument("--json", action="store_true", help=about)


def add_state(parser: argparse.ArgumentParser, about: str) -> None:
    parser.add_argument("--state", metavar="FILE", help=about)


def address(text: str) -> str:
    """Refuse an empty address: it would mean the default. Its setting says what else may be wrong."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it must be host:port or an address as REDIS_ADDR takes it")
    return text.strip()


def typed(kind: Kind) -> Callable[[str], Any]:
    """Let argparse read an option as a setting of this kind is read."""

    def read(text: str) -> Any:
        try:
            return kind.read(text.strip())
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {kind.wanted}") from None

    return read
