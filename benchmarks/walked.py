"""A tool that notes which functions of ours are entered and left between the end of one of its calls and the next."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from executor_worker.tools import tool

ROOT = f"{Path(__file__).parent.parent}/"
OURS = ("executor_worker/", "supervisor/")
COMPREHENSIONS = ("<dictcomp>", "<listcomp>", "<setcomp>")  # frames of their own only before Python 3.12
WARM = 20  # calls before the first that is noted
NOTED = 9

_calls = 0
_ways: list[list[tuple[str, str, str, str]]] = []


@tool(effects="idempotent")
def walked(text: str) -> str:
    """Answer at once; write down what was entered since the last calls."""
    global _calls
    sys.setprofile(None)
    _calls += 1
    if _calls == WARM + NOTED:
        (Path(os.environ["BENCH_FOLDER"]) / "walk").write_text(json.dumps(_ways))
    elif _calls >= WARM:
        _ways.append([])
        sys.setprofile(_note)
    return text


def _note(frame: FrameType, event: str, _: Any) -> None:
    path, name = _path(frame), frame.f_code.co_qualname
    if event in ("call", "return") and path.startswith(OURS) and not name.endswith(COMPREHENSIONS):
        _ways[-1].append((event, path, name, _below(frame)))


def _below(frame: FrameType) -> str:
    """The file of ours that *frame* was called from, and returns to."""
    caller = frame.f_back
    while caller is not None and not _path(caller).startswith(OURS):
        caller = caller.f_back
    return "" if caller is None else _path(caller)


def _path(frame: FrameType) -> str:
    return frame.f_code.co_filename.removeprefix(ROOT)
