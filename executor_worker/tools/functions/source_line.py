"""The line in a user's function tool at which it raised or was interrupted: for the tool's authors."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

_OURS = __name__.partition(".")[0]
_LONGEST_CHAIN = 10
_MOST_FRAMES = 40


def source_line_of(error: BaseException, function: Callable[..., Any]) -> str:
    """Name file and line of the innermost frame in *function*'s package; empty if there is none, or it is ours."""
    package = _package(inspect.unwrap(function).__module__ or "")
    if package == _OURS:
        return ""
    for cause in _chain(error):
        frames = [step for step in traceback.walk_tb(cause.__traceback__) if _package(_module(step[0])) == package]
        if frames:
            frame, line = frames[-1]
            return f"{_file(frame.f_code, _module(frame))}:{line}"
    return ""


def source_line_in(frames: Iterable[tuple[str, int, str]], modules: Iterable[str]) -> str:
    """
    Name file and line of the first frame in the packages of *modules*; empty if there is none.

    Args:
        frames: File, line and function, the innermost first.
    """
    packages = {_package(module) for module in modules} - {_OURS}
    files = [file_or_folder for package in packages for file_or_folder in _files_of(package)]
    for file, line, _ in frames:
        for file_or_folder in files:
            if Path(file).is_relative_to(file_or_folder):
                return f"{Path(file).relative_to(file_or_folder.parent)}:{line}"
    return ""


def _files_of(package: str) -> list[Path]:
    """Find the package's folders, or the module's file."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    found = spec.submodule_search_locations or [spec.origin or ""]
    return [Path(file_or_folder) for file_or_folder in found if file_or_folder]


def trace_of(error: BaseException) -> str:
    """Write the traceback of what a tool raised, from its own first frame on; empty if it has none."""
    for cause in _chain(error):
        frames = [_package(_module(frame)) == _OURS for frame, _ in traceback.walk_tb(cause.__traceback__)]
        while frames and frames[-1]:  # the time limit's handler
            frames.pop()
        if frames:
            shown = traceback.TracebackException.from_exception(cause)
            first = len(frames) - frames[::-1].index(True) if True in frames else 0
            shown.stack[:] = shown.stack[first : len(frames)][-_MOST_FRAMES:]
            return "".join(shown.format())
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors that *error* comes from, the nearest first; itself if it was raised in the function."""
    one: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if one is None:
            return
        yield one
        one = one.__cause__ or one.__context__


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _package(module: str) -> str:
    return module.partition(".")[0]


def _file(code: CodeType, module: str) -> str:
    """Name the file from its top-level package on."""
    path = Path(code.co_filename)
    parts = module.count(".") + 1 + (path.name == "__init__.py")
    return "/".join(path.parts[-parts:])
