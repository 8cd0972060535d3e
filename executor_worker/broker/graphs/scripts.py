"""The scripts that change runs, each of the same library; read from their files once."""

from __future__ import annotations

from executor_worker.broker.connection.script import Made, Script, script
from executor_worker.broker.graphs.source import LIBRARY
from executor_worker.broker.queue.gates import WAITING

_LIBRARY = ("constants", "types", *WAITING, "versions", *LIBRARY, "runs/arguments")
_GOING_ON = (Made("runs/resuming", "runs"), Made("runs/pages", "runs"))
_GIVING_UP = Made("runs/giving_up", "runs")
_STEPPING = (*_GOING_ON, Made("runs/anew", "runs"))


def submit_script() -> Script:
    return script("runs/submit", *_LIBRARY, *_GOING_ON, flags="")


def step_script() -> Script:
    return script("runs/step", *_LIBRARY, *_STEPPING, flags="")


def cancel_script() -> Script:
    return script("runs/cancel", *_LIBRARY)


def duties_script() -> Script:
    return script("runs/duties", "standing", *_LIBRARY, *_STEPPING, _GIVING_UP, flags="")


def retry_script() -> Script:
    return script("runs/retry", *_LIBRARY, flags="")


def hold_script() -> Script:
    return script("runs/hold", "standing", *_LIBRARY)


def delete_script() -> Script:
    return script("runs/delete", *_LIBRARY)
