"""
Command → what the pool does, and what is answered: the signals' table for `control`, with a word of what came of it.

What can be asked for is the contract with operators: docs/SIGNALS.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from supervisor.control.control_socket import Call, ControlSocket
from supervisor.control.report import Report
from supervisor.event_log import EventLog
from supervisor.scaling import Bounds
from supervisor.scoreboard.scoreboard import LEVELS, Scoreboard
from supervisor.transitions import Mode

KNOWN = ("drain", "reload", "scale N", "pause", "resume", "stacks [N]", "level NAME", "status")
DRAINING = "the pool is draining"


class View(Protocol):
    """The pool as it is shown; see `PoolView`."""

    def summary(self) -> str: ...
    def rows(self) -> list[dict[str, object]]: ...
    def stacks(self, number: int | None, then: Callable[[list[Report]], None]) -> bool:
        """Hand *then* the stacks of slot *number*'s worker, or of all, once; False: there is no such worker."""


class Executive(Protocol):
    """The pool's lifecycle, as commands see it."""

    board: Scoreboard
    log: EventLog

    @property
    def mode(self) -> Mode: ...
    @property
    def view(self) -> View: ...
    def drain(self) -> None: ...
    def reload(self, checked: Callable[[str], None]) -> None:
        """*checked* is called once: with why the settings can't be used, or with nothing when the roll has begun."""

    def scale(self, bounds: Bounds) -> None: ...
    def pause(self, paused: bool) -> None: ...


class Commands:
    """
    Args:
        executive: Does what is asked for.
        control: Where it is asked and answered.
    """

    def __init__(self, executive: Executive, control: ControlSocket) -> None:
        self._executive = executive
        self._control = control
        self._verbs: Mapping[str, Callable[[Call], None]] = {
            "drain": self._drain,
            "reload": self._reload,
            "pause": self._pause,
            "resume": self._resume,
            "status": self._status,
        }

    def turn(self) -> None:
        """Do what has come in."""
        for call in self._control.read():
            self.serve(call)

    def serve(self, call: Call) -> None:
        """Do what *call* asks for; answer now, or when it is known what came of it."""
        verb, _, argument = call.line.partition(" ")
        level = "debug" if verb == "status" else "info"
        asker = {"client_pid": call.peer.pid, "client_uid": call.peer.uid}
        self._executive.log(level, "pool.commanded", command=call.line, **asker)
        if verb == "scale":
            self._scale(call, argument)
        elif verb == "level":
            self._level(call, argument)
        elif verb == "stacks":
            self._stacks(call, argument)
        elif verb not in self._verbs or argument:
            self._control.answer(call, error=f"unknown command {call.line!r}; known: {', '.join(KNOWN)}")
        else:
            self._verbs[verb](call)

    def _drain(self, call: Call) -> None:
        self._executive.drain()
        self._control.answer(call, said="draining")

    def _reload(self, call: Call) -> None:
        def checked(problem: str) -> None:
            workers = self._executive.board.head.configured
            self._control.answer(call, error=problem, said=f"settings checked, replacing {_counted(workers)}")

        self._executive.reload(checked)

    def _scale(self, call: Call, argument: str) -> None:
        most = self._executive.board.capacity
        if self._refused(call):
            return
        bounds = _bounds_of(argument, most)
        if bounds is None:
            self._control.answer(call, error=f"scale takes a whole number from 1 to {most}, or 2-20, not {argument!r}")
            return
        self._executive.scale(bounds)
        now = _counted(self._executive.board.head.configured)
        self._control.answer(call, said=f"{now} from now on" if bounds.fixed else f"{now} now, {bounds} from now on")

    def _pause(self, call: Call) -> None:
        if not self._refused(call):
            self._executive.pause(True)
            self._control.answer(call, said="paused: no items are taken until `resume`")

    def _resume(self, call: Call) -> None:
        if not self._refused(call):
            self._executive.pause(False)
            self._control.answer(call, said="items are taken")

    def _level(self, call: Call, argument: str) -> None:
        if argument not in LEVELS[1:]:
            self._control.answer(call, error=f"level takes one of {', '.join(LEVELS[1:])}, not {argument!r}")
            return
        self._executive.board.head.log_level = argument  # every process looks at it at each line
        self._control.answer(call, said=f"all processes log from level {argument} on, until the next reload")

    def _stacks(self, call: Call, argument: str) -> None:
        def written(reports: list[Report]) -> None:
            self._control.answer(call, said=f"stacks of {_counted(len(reports))}", stacks=reports)

        is_number = not argument or argument.isdecimal()
        if not is_number or not self._executive.view.stacks(int(argument) if argument else None, written):
            self._control.answer(call, error=f"there is no worker in slot {argument}")

    def _status(self, call: Call) -> None:
        head = self._executive.board.head
        about: dict[str, object] = {"mode": self._executive.mode, "paused": head.paused, "pid": head.supervisor_pid}
        about["said"] = f"{self._executive.mode}, {self._executive.view.summary()}"
        self._control.answer(call, "", **about, workers=self._executive.view.rows())

    def _refused(self, call: Call) -> bool:
        if self._executive.mode not in (Mode.DRAINING, Mode.STOPPED):
            return False
        self._control.answer(call, error=DRAINING)
        return True


def _bounds_of(text: str, most: int) -> Bounds | None:
    """Read `4` or `2-20`; None if it is neither."""
    first, dash, second = text.partition("-")
    numbers = [first, second if dash else first]
    if not all(number.isdecimal() and 1 <= int(number) <= most for number in numbers):
        return None
    least, highest = map(int, numbers)
    return Bounds(least, highest) if least <= highest else None


def _counted(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"
