"""Finding the functions that TOOL_MODULES and installed packages offer."""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import signal
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from executor_worker.errors import ConfigError
from executor_worker.tools.base import Log, silent
from executor_worker.tools.functions.functions import FunctionTool
from executor_worker.tools.functions.marks import mark_of
from executor_worker.tools.functions.prints import prints_to_stderr
from executor_worker.tools.logger import listen_to

GROUP = "executor_worker.tools"
_PROBE_SECONDS = 60.0
_TRIES = 3  # of a probe that is killed: more often than not by somebody else
_DYING_SECONDS = 5.0
_SURVIVED = 93  # the probe's exit status if no import has ended it
_BEGUN, _THREADED, _OVER = "begun ", "threaded ", "over"  # lines of the probe's report


def load_functions(modules: Sequence[str], log: Log = silent) -> list[FunctionTool]:
    """
    Import *modules* and what installed packages register in the entry point group `executor_worker.tools`.

    Raises:
        ConfigError: One can't be imported, a function's hints have no schema, or two have one name.
    """
    listen_to(modules)
    tools: dict[str, FunctionTool] = {}
    for name in modules:
        found = tools_of_module(name, log)
        if not found:
            log("warn", "tool_module.empty", module=name, fix="mark its functions with @tool")
        _add(tools, found)
    for point in entry_points(group=GROUP):
        _add(tools, _tools_of(point, log))
    return list(tools.values())


def tools_of_module(name: str, log: Log = silent) -> list[FunctionTool]:
    """
    Import a module of TOOL_MODULES, if it is not yet, and list its tools.

    Raises:
        ConfigError: It can't be imported, or a function's hints have no schema.
    """
    return _tools_in(vars(_import(name)), name, log)


def modules_starting_threads(modules: Sequence[str]) -> list[str]:
    """
    Name those of *modules* that start threads when imported, by importing them in a child that is thrown away.

    Such a module must not be imported before forking. Call it while this process has one thread.
    One that can't be imported, or not within a minute, is not named: importing it here will tell why. Elsewhere than
    on Linux nothing forks, and none is named.

    Raises:
        ConfigError: Importing one ends the process, so that nothing could tell why any more.
    """
    if not hasattr(os, "pidfd_open"):
        return []
    for _ in range(_TRIES):
        report, status = _probed(modules)
        if status != -signal.SIGKILL:
            break
    if status is not None:
        raise _ended(report[-1].removeprefix(_BEGUN) if report else modules[0], status)
    return [line.removeprefix(_THREADED) for line in report if line.startswith(_THREADED)]


def _probed(modules: Sequence[str]) -> tuple[list[str], int | None]:
    """Import *modules* in a child; answer its report, and its exit status if it has ended before the report did."""
    reader, writer = os.pipe()
    # What a handler raises while the fork is being finished is lost, and before `try` it would leave the child.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        child = os.fork()
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(reader)
        _report_threads(modules, writer)
    report: list[str] | None = None
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(writer)
        report = _read_report(reader)
    finally:
        os.close(reader)
        by_itself = report is not None and _OVER not in report and _dies(child)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, 9)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return report or [], status if by_itself and status != _SURVIVED else None


def _dies(child: int) -> bool:
    """Tell whether it ends by itself; that it has closed its pipe does not say so."""
    fd = os.pidfd_open(child)
    try:
        return bool(select.select([fd], [], [], _DYING_SECONDS)[0])
    finally:
        os.close(fd)


def _report_threads(modules: Sequence[str], writer: int) -> None:
    def report(word: str, name: str = "") -> None:
        os.write(writer, f"{word}{name}\n".encode())

    try:
        for name in modules:
            report(_BEGUN, name)
            before = _threads()
            _import(name)
            if _threads() > before:
                report(_THREADED, name)
        report(_OVER)
    except BaseException:  # noqa: BLE001 - importing it where it is needed will tell why
        report(_OVER)
    finally:
        os._exit(_SURVIVED)  # even if the pipe was closed under us


def _threads() -> int:
    return sum(1 for _ in Path("/proc/self/task").iterdir())  # native ones too


def _read_report(reader: int) -> list[str] | None:
    """Lines up to the last one, or up to the child's end; None where neither comes."""
    report = b""
    while select.select([reader], [], [], _PROBE_SECONDS)[0]:
        chunk = os.read(reader, 65536)
        report += chunk
        if not chunk or report.endswith(f"{_OVER}\n".encode()):
            return report.decode().splitlines()
    return None


def _ended(name: str, status: int) -> ConfigError:
    how = f"exit status {status}" if status >= 0 else f"signal {-status}, {signal.strsignal(-status)}"
    problem = f"importing module {name!r} ends the program ({how})."
    return ConfigError("TOOL_MODULES", problem, "Take what ends it out of the module, or it out of TOOL_MODULES.")


def _import(name: str) -> ModuleType:
    try:
        with prints_to_stderr(), _current_folder_first():
            return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        raise ConfigError("TOOL_MODULES", f"module {name!r} can't be imported ({said}).", _fix(name, error)) from error


def _fix(name: str, error: BaseException) -> str:
    if name.endswith(".py") or "/" in name:
        return "Name it as Python imports it, e.g. `tools` for tools.py."
    if isinstance(error, ModuleNotFoundError) and error.name is not None and name.startswith(error.name):
        return "Put its folder on PYTHONPATH, or start in it."
    return "Correct the module, or take it out of TOOL_MODULES."


@contextlib.contextmanager
def _current_folder_first() -> Iterator[None]:
    # First only while the module itself is looked up: later imports of ours must not find a `redis.py` lying there.
    here = str(Path.cwd())
    present = here in sys.path
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
        if not present:
            sys.path.append(here)


def _tools_of(point: EntryPoint, log: Log) -> list[FunctionTool]:
    try:
        with prints_to_stderr():
            loaded = point.load()
    except (Exception, SystemExit) as error:
        raise ConfigError(
            "TOOL_MODULES",
            f"the entry point {point.name!r} ({point.value}) can't be loaded ({type(error).__name__}: {error}).",
            "Repair or uninstall its package.",
        ) from error
    members = vars(loaded) if isinstance(loaded, ModuleType) else {point.name: loaded}
    return _tools_in(members, f"entry point {point.name}", log)


def _tools_in(members: dict[str, Any], where: str, log: Log) -> list[FunctionTool]:
    tools: dict[int, FunctionTool] = {}
    for value in list(members.values()):
        mark = mark_of(value)
        if mark is None:
            continue
        try:
            tools[id(value)] = FunctionTool(value, mark, log=log)
        except TypeError as error:
            raise ConfigError(
                "TOOL_MODULES", f"{where}: {value.__qualname__}() can't be a tool: {error}.", "Correct its type hints."
            ) from error
    return list(tools.values())


def _add(tools: dict[str, FunctionTool], found: list[FunctionTool]) -> None:
    for tool in found:
        other = tools.setdefault(tool.name, tool)
        if other.function is not tool.function:
            raise ConfigError(
                "TOOL_MODULES",
                f"two functions are called {tool.name!r} ({other.source} and {tool.source}).",
                "Give one of them another name with @tool(name=…).",
            )
