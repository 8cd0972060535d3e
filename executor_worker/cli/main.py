"""The command line: builds everything, and turns whatever goes wrong into a sentence and an exit status."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from executor_worker.broker.connection.advice import as_config_error
from executor_worker.cli.exits import CONFIG, DONE, FAILED, INTERRUPTED, USAGE, Quit, ToldToLeave
from executor_worker.cli.parser import PROGRAM, build_parser
from executor_worker.errors import ConfigError, ExecutorError, StreamRefused
from executor_worker.program.start_logs import start_logs
from executor_worker.settings import ConfigErrors

Command = Callable[..., int]

_ERROR_FOR_THE_JOURNAL = "<3>"  # else it takes plain text for information
_SEE_ALL = "With LOG_LEVEL=debug it shows all."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    _prepare_standard_streams()
    try:
        status = _run_or_help(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return status
    except Quit as early:
        return _say(early.status, *early.sentences)
    except ConfigErrors as error:
        return _say(CONFIG, *(str(problem) for problem in error.problems))
    except ConfigError as error:
        return _say(CONFIG, _placed(error))
    except StreamRefused as error:
        wrong = as_config_error(error)
        return _say(CONFIG, _placed(wrong)) if wrong else _say(FAILED, _sentence(error))
    except ExecutorError as error:
        return _say(FAILED, _sentence(error))
    except ToldToLeave:
        return DONE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _give_up_stdout()  # the reader of our results has seen enough: nothing failed
        return DONE
    except OSError as error:
        _give_up_stdout()
        return _say(FAILED, f"{error.filename or 'what is to be written'}: {error.strerror or error}.")
    except Exception as error:  # noqa: BLE001 - the last resort: a person gets a sentence
        if os.environ.get("LOG_LEVEL", "").lower() == "debug":
            traceback.print_exc()
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return _say(FAILED, f"an unexpected {type(error).__name__} at {where}: a mistake in this program. {_SEE_ALL}")


def dago() -> int:
    """Run `executor-worker serve`; what stands before any command may stand before nothing."""
    given, at = sys.argv[1:], 0
    while at < len(given) and given[at].partition("=")[0] in ("--env-file", "--redis"):
        at += 1 if "=" in given[at] else 2
    return main([*given[:at], "serve", *given[at:]])


def _sentence(error: ExecutorError) -> str:
    """Close it with one full stop: servers' own words have theirs at times."""
    return f"{str(error).rstrip('.')}."


def _placed(error: ConfigError) -> str:
    from executor_worker.settings.places import placed  # pydantic: a tenth of a second that `--help` can do without

    return str(placed(error, os.environ))


def _give_up_stdout() -> None:
    """Python would flush it once more at exit, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run_or_help(arguments: Sequence[str]) -> int:
    """Without a command show a person the help; a container or systemd, which bring no terminal, get the pool."""
    parser = build_parser()
    args = parser.parse_args(arguments)
    if "entry" not in args:
        if os.isatty(0):
            parser.print_help()
            return DONE
        args = parser.parse_args([*arguments, "run"])
    _apply_common_options(args)
    return _run(args)


def _apply_common_options(args: argparse.Namespace) -> None:
    """Put what stands before the command into the environment, where reloads and children find it too."""
    if args.env_file is not None:
        if not Path(args.env_file).exists():
            raise Quit(USAGE, f"--env-file {args.env_file}: there is no such file.")
        os.environ["ENV_FILE"] = args.env_file
    if args.redis_addr is not None:
        os.environ["REDIS_ADDR"] = args.redis_addr
        if "redis" in args:  # `graph run` has a Redis of its own unless it is told another
            args.redis = args.redis or args.redis_addr


def _run(args: argparse.Namespace) -> int:
    if args.forks:
        _require_linux(args.command)
    if args.needs == "pool":
        _leave_when_told()
    _hear_what_came_before()
    if args.needs == "nothing":
        return _entry(args.entry)(args)
    from executor_worker.settings import Settings  # pydantic: a tenth of a second that `--help` can do without

    settings = Settings.load(os.environ)
    start_logs(settings, file=settings.log_file if args.needs == "pool" else "")
    return _entry(args.entry)(settings, args)


def _require_linux(command: str) -> None:
    if str(sys.platform) != "linux":
        raise Quit(
            CONFIG,
            f"`{command}` forks workers that only Linux can watch over: run it in a container, by `docker compose up`"
            " (compose.yaml); `once`, `check` and the commands that ask a pool work here.",
        )


def _leave_when_told() -> None:
    """Make TERM and INT a clean end also before the pool is there to drain; it sets handlers of its own."""

    def leave(_signum: int, _frame: FrameType | None) -> None:
        raise ToldToLeave

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)


def _hear_what_came_before() -> None:
    """
    Unblock what the image has blocked for us.

    The kernel drops a signal to PID 1 that has no handler; one that is blocked waits until there is one.
    """
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))


def _entry(name: str) -> Command:
    module, _, function = name.partition(":")
    entry: Command = getattr(importlib.import_module(f"{__package__}.{module}"), function)
    return entry


def _say(status: int, *sentences: str) -> int:
    mark = _ERROR_FOR_THE_JOURNAL if status != DONE and _journal_reads_stderr() else ""
    for sentence in sentences:
        print(f"{mark}{PROGRAM}: {sentence}", file=sys.stderr)
    return status


def _journal_reads_stderr() -> bool:
    if "JOURNAL_STREAM" not in os.environ:
        return False
    from executor_worker.telemetry.logs.target import (
        is_journal,  # loguru: a tenth of a second that `--help` can do without
    )

    return is_journal(2)


def _prepare_standard_streams() -> None:
    """
    Open /dev/null for each standard stream that is closed.

    The next file opened would get its number, and be written to as if it were the terminal.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as we live
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # results may hold lone surrogates
