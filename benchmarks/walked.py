"""A tool that notes which functions of ours are entered between the end of one of its calls and the next."""

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
WARM = 20  # calls before the one that is noted

_calls = 0
_entered: list[tuple[str, str]] = []


@tool(effects="idempotent")
def walked(text: str) -> str:
    """Answer at once; write down what was entered since the last call but once."""
    global _calls
    sys.setprofile(None)
    _calls += 1
    if _calls == WARM:
        sys.setprofile(_note)
    elif _calls == WARM + 1:
        (Path(os.environ["BENCH_FOLDER"]) / "walk").write_text(json.dumps(_entered))
    return text


def _note(frame: FrameType, event: str, _: Any) -> None:
    path = frame.f_code.co_filename.removeprefix(ROOT)
    if event == "call" and path.startswith(OURS):
        _entered.append((path, frame.f_code.co_qualname))
