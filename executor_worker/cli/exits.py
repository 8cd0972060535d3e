"""Early exits of a command: a status and a sentence for the person at the terminal."""

from __future__ import annotations

DONE, FAILED, USAGE, CONFIG = 0, 1, 2, 78
# What shells show for a program ended by Ctrl-C.
INTERRUPTED = 130


class ToldToLeave(BaseException):
    """TERM or INT came before the pool is there; loaders of foreign code catch SystemExit, but not this."""


class Quit(Exception):
    """
    Args:
        status: The exit status.
        sentences: Written to stderr, each on a line of its own.
    """

    def __init__(self, status: int, *sentences: str) -> None:
        super().__init__(*sentences)
        self.status = status
        self.sentences = sentences
