"""
The logger for tools: what a function says goes into the worker's log, with its graph, node, slot and tool.

    from executor_worker.tools import log

    log.info("ordered", order=17, pieces=3)

Python's own `logging`, used in TOOL_MODULES and beside them in their packages, goes there as well. LOG_LEVEL and
`executor-worker ctl level` say from which level on.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any

_LEVELS = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warn", logging.ERROR: "error"}
# What a line has of its own is not to be overwritten.
_TAKEN = frozenset(
    {"time", "level", "event", "worker_id", "slot", "graph", "node", "entry", "tool", "said", "exception"}
)
_RECORDS_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

Emit = Callable[..., None]


def _to_the_log(level: str, event: str, /, **fields: Any) -> None:
    from executor_worker.telemetry import logs  # loguru, which those can do without who only mark functions

    logs.log(level, event, **fields, **logs.around())


class ToolLog:
    """Logs a sentence and fields: `log.warning("no answer from %s", host, tries=3)`."""

    def __init__(self) -> None:
        self._log: Emit = _to_the_log

    def redirect(self, emit: Emit) -> None:
        """Hand each line, as level, event and fields, to *emit* from now on."""
        self._log = emit

    def debug(self, said: str, /, *args: Any, **fields: Any) -> None:
        self._say("debug", said, args, fields)

    def info(self, said: str, /, *args: Any, **fields: Any) -> None:
        self._say("info", said, args, fields)

    def warning(self, said: str, /, *args: Any, **fields: Any) -> None:
        self._say("warn", said, args, fields)

    def error(self, said: str, /, *args: Any, **fields: Any) -> None:
        self._say("error", said, args, fields)

    def exception(self, said: str, /, *args: Any, **fields: Any) -> None:
        """Log an error with the traceback of the exception that is being handled."""
        self._say("error", said, args, fields | _traced(sys.exception()))

    def _say(self, level: str, said: str, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
        if args:
            try:
                said = said % args
            except (TypeError, ValueError, KeyError):
                said = f"{said} {args!r}"
        self.pass_on(level, said, fields)

    def pass_on(self, level: str, said: str, fields: dict[str, Any]) -> None:
        """Log what was said by whatever means."""
        own = {f"{name}_" if name in _TAKEN else name: value for name, value in fields.items()}
        self._log(level, "tool.said", **own, said=said)


log = ToolLog()


class _Records(logging.Handler):
    """Takes what is logged by Python's own means."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            said = record.getMessage()
        except Exception:  # noqa: BLE001 - a wrong placeholder of the tool's
            said = str(record.msg)
        fields = {name: value for name, value in vars(record).items() if name not in _RECORDS_OWN}
        error = record.exc_info[1] if record.exc_info else None
        fields |= {"logger": record.name, "at": f"{record.filename}:{record.lineno}"} | _traced(error)
        log.pass_on(_LEVELS.get(min(record.levelno // 10 * 10, logging.ERROR), "debug"), said, fields)


def listen_to(modules: Iterable[str]) -> None:
    """Take what *modules*, and others of their packages, log by Python's own means."""
    for module in modules:
        logger = logging.getLogger(module.rpartition(".")[0] or module)
        if any(isinstance(handler, _Records) for handler in logger.handlers):
            continue
        logger.addHandler(_Records())
        logger.propagate = False  # else it is told as a library's warning too
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.DEBUG)  # LOG_LEVEL decides, and may change


def _traced(error: BaseException | None) -> dict[str, Any]:
    if error is None:
        return {}
    return {"error_type": type(error).__name__, "trace": "".join(traceback.format_exception(error))}
