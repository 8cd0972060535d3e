"""The settings in force, and those to go back to while new ones are tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from supervisor.control.systemd import Notify
from supervisor.errors import ReloadRefused
from supervisor.program import Program


@dataclass(frozen=True, slots=True)
class Generation:
    """The program as one reading of the settings made it."""

    program: Program
    number: int


class Generations:
    """
    Attributes:
        current: What is in force.
        previous: What to go back to when a reload fails; None: nothing is tried.
    """

    def __init__(self, program: Program) -> None:
        self.current = Generation(program, 1)
        self.previous: Generation | None = None
        self._count = 1
        self._asked: list[Callable[[str], None]] = []  # for a reload, and wait for whether the settings can be used

    def read(self, notify: Notify | None) -> Program:
        """
        Make the program with the settings as they are now.

        Raises:
            ReloadRefused: They can't be used; whatever the reason is, the pool goes on as it is.
        """
        if notify is not None:
            notify.reloading()
        try:
            return self.current.program.reload()
        except ReloadRefused:
            raise
        except Exception as error:
            raise ReloadRefused(f"{type(error).__name__}: {error}") from error
        finally:
            # For systemd it ends here: the roll waits for items, for as long as those take.
            if notify is not None:
                notify.ready()

    def adopt(self, program: Program) -> None:
        """Put *program* in force, on trial."""
        self._count += 1
        self.previous = self.previous or self.current
        self.current = Generation(program, self._count)

    def go_back(self) -> None:
        """Put the settings before in force again."""
        if self.previous is not None:
            self.current, self.previous = self.previous, None

    def await_check(self, checked: Callable[[str], None]) -> None:
        """Have *checked* called once: with why the settings can't be used, or with nothing when they are checked."""
        self._asked.append(checked)

    def tell_checked(self, problem: str) -> None:
        waiting, self._asked = self._asked, []
        for checked in waiting:
            checked(problem)
