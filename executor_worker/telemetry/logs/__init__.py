"""
Logs: one line for each fact, `event` and fields, over loguru.

Each line is one write made by the process that logs: a queue shared between processes (loguru's `enqueue`)
blocks all of them once one is killed while it holds the lock.
"""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from loguru import logger

from executor_worker.errors import ConfigError
from executor_worker.telemetry.logs import lines
from executor_worker.telemetry.logs.lines import Line
from executor_worker.telemetry.logs.secrets import Secrets
from executor_worker.telemetry.logs.target import DATE, Target, open_file

if TYPE_CHECKING:
    from loguru import Message

_LOGURU_LEVEL = {"debug": "DEBUG", "info": "INFO", "warn": "WARNING", "error": "ERROR"}
_LEVEL = {"DEBUG": "debug", "INFO": "info", "WARNING": "warn", "ERROR": "error", "CRITICAL": "error"}
_RANK = {"debug": 0, "info": 1, "warn": 2, "error": 3}
_STDERR = 2

_secrets = Secrets()
_inside: ContextVar[Mapping[str, Any]] = ContextVar("log fields", default=MappingProxyType({}))


def configure(level: str = "info", style: str = "", file: str = "", *, secrets: tuple[str, ...] = ()) -> None:
    """
    Send all logs of this process, and of those it forks, to one place.

    Args:
        level: debug, info, warn or error.
        style: json or text; empty: text on a terminal, else json.
        file: Path; empty: stderr.
        secrets: Never shown from now on.

    Raises:
        ConfigError: The file can't be opened.
    """
    _secrets.add(*secrets)
    sink = _Sink(style, file, level)
    for old in _Sink.current:
        old.close()
    _Sink.current[:] = [sink]
    logger.remove()
    logger.add(
        sink.write,
        level="DEBUG",  # the sink leaves out what is below the level, which may change
        format="{message}",
        colorize=False,
        # The values of variables, prompts and keys among them, stay out of tracebacks.
        diagnose=False,
        backtrace=False,
        enqueue=False,
        catch=False,
    )
    _take_in_libraries()


def log(level: str, event: str, /, *, exception: BaseException | None = None, **fields: Any) -> None:
    """
    Log one fact.

    Args:
        exception: Its type and place are logged; what it says, which may quote a payload, only at level debug.
    """
    if _Sink.silenced or (_Sink.current and not _Sink.current[0].takes(level)):
        return
    logger.bind(**fields).opt(exception=exception).log(_LOGURU_LEVEL[level], event)


def log_fields(level: str, event: str, fields: dict[str, Any]) -> None:
    """Log one fact of the supervisor's, whose package knows no log of ours."""
    log(level, event, **fields)


def debug(event: str, **fields: Any) -> None:
    log("debug", event, **fields)


def info(event: str, **fields: Any) -> None:
    log("info", event, **fields)


def warning(event: str, **fields: Any) -> None:
    log("warn", event, **fields)


def error(event: str, **fields: Any) -> None:
    log("error", event, **fields)


@contextmanager
def silenced() -> Iterator[None]:
    """Log nothing inside: what is done there is no fact."""
    _Sink.silenced = True
    try:
        yield
    finally:
        _Sink.silenced = False


def follow(words: Sequence[int], at: int, levels: Sequence[str]) -> None:
    """Let the word *at* choose which of *levels* counts, at each line; if that is empty, that of `configure` does."""
    _Sink.followed[:] = [(words, at, levels)]


def bind(**fields: Any) -> None:
    """Add *fields* to every further line of this process, e.g. its `worker_id` and `slot`."""
    _Sink.bound.update(fields)


class context:  # noqa: N801 - used like a function
    """
    Add *fields* to the lines logged inside: `with context(graph=…, node=…, item=…)`, and more by `add`.

    Entered for every item, logged in by few: loguru's own costs four times as much.
    """

    __slots__ = ("_before", "_fields", "_token")

    def __init__(self, **fields: Any) -> None:
        self._fields = fields

    def __enter__(self) -> context:
        self._before = _inside.get()
        self._fields = {**self._before, **self._fields}
        self._token = _inside.set(self._fields)
        _Sink.latest = self._fields
        return self

    def add(self, **fields: Any) -> None:
        self._fields.update(fields)

    def __exit__(self, *_: object) -> None:
        _inside.reset(self._token)
        _Sink.latest = self._before


def around() -> Mapping[str, Any]:
    """Tell the fields that lines have here; in a thread that a tool has started, those of the item in hand."""
    return _inside.get() or _Sink.latest


def hide(*secrets: str) -> None:
    """Replace *secrets* by `***` in every further line."""
    _secrets.add(*secrets)


def reopen() -> None:
    """Open the log file again, after it was moved away; without one, do nothing."""
    for sink in _Sink.current:
        sink.reopen()


def fileno() -> int:
    """Return the descriptor of the log: for what is written past loguru, such as faulthandler's stacks."""
    return _Sink.current[0].target.fd if _Sink.current else _STDERR


class _Sink:
    # The one place of this process. loguru's logger is as global; this knows what it was given.
    current: ClassVar[list[_Sink]] = []
    bound: ClassVar[dict[str, Any]] = {}
    followed: ClassVar[list[tuple[Sequence[int], int, Sequence[str]]]] = []
    latest: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    silenced: ClassVar[bool] = False

    def __init__(self, style: str, path: str, level: str) -> None:
        self._path = path
        self._dated = DATE in path
        self._day = datetime.now(UTC).date()
        self._level = level
        try:
            self.target = Target(open_file(self._path_today()) if path else _STDERR, self._lost)
        except OSError as error:
            problem = f"{path!r} can't be opened for writing ({error.strerror})."
            fix = "Name a file in a folder that this user may write to, or leave it out to log on stderr."
            raise ConfigError("LOG_FILE", problem, fix) from None
        self._render = self._choose(style)

    def _path_today(self) -> str:
        return self._path.replace(DATE, self._day.isoformat())

    def _choose(self, style: str) -> lines.Render:
        if self.target.terminal and style != "json":
            plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
            return lines.as_text if plain else lines.as_coloured
        if self.target.is_journal:
            return lines.as_journal if style == "text" else lines.as_journal_json
        return lines.as_text if style == "text" else lines.as_json

    def takes(self, level: str) -> bool:
        """Tell whether a line of *level* is written."""
        told = ""
        if self.followed:
            words, at, levels = self.followed[0]
            told = levels[words[at]]
        return _RANK[level] >= _RANK[told or self._level]

    def write(self, message: Message) -> None:
        record = message.record
        level = _LEVEL.get(record["level"].name, "info")
        if not self.takes(level):
            return
        fields = {**self.bound, **_inside.get(), **record["extra"]}
        if record["exception"] is not None and record["exception"].value is not None:
            fields |= self._of_exception(record["exception"].value)
        said = {name: value for name, value in fields.items() if not _is_empty(value)}
        if self._dated and record["time"].astimezone(UTC).date() != self._day:
            self.reopen()
        line = Line(record["time"], level, record["message"], _secrets.out_of(said))
        self.target.write(lines.within(self.target.line_limit, line, self._render))

    def _of_exception(self, error: BaseException) -> dict[str, Any]:
        frames = traceback.extract_tb(error.__traceback__)[-6:]
        where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[::-1])
        fields = {"error_type": type(error).__name__, "where": where}
        return fields | {"said": str(error)} if self.takes("debug") else fields

    def _lost(self, count: int) -> bytes:
        return self._render(Line(datetime.now(UTC), "warn", "log.lost", self.bound | {"lines": count}))

    def reopen(self) -> None:
        if not self._path:
            return
        self._day = datetime.now(UTC).date()
        try:
            fresh = open_file(self._path_today())
        except OSError as error:
            log("error", "log.not_reopened", path=self._path_today(), reason=error.strerror)
            return
        # The number stays: others, faulthandler among them, hold on to it.
        os.dup2(fresh, self.target.fd, inheritable=False)
        os.close(fresh)

    def close(self) -> None:
        self.target.close()
        if self._path:
            with suppress(OSError):
                os.close(self.target.fd)


def _is_empty(value: Any) -> bool:
    """Tell whether a field says nothing; numbers and false do."""
    return value is None or (isinstance(value, str | list | tuple | dict | set) and not value)


class _Libraries(logging.Handler):
    """Brings in what libraries log as `library.warning`, without what they quote: that may be a payload."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warn"
        fields: dict[str, Any] = {"logger": record.name, "at": f"{record.filename}:{record.lineno}"}
        if _Sink.current and _Sink.current[0].takes("debug"):
            with suppress(Exception):
                fields["said"] = record.getMessage()
        elif record.args and isinstance(record.msg, str):
            fields["template"] = record.msg
        if record.exc_info and record.exc_info[0] is not None:
            fields["error_type"] = record.exc_info[0].__name__
        log(level, "library.warning", **fields)


def _take_in_libraries() -> None:
    root = logging.getLogger()
    root.handlers[:] = [_Libraries(logging.WARNING)]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
