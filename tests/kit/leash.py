"""
Run a command that dies with the test process, however that ends: `python leash.py COMMAND …`.

A program of its own instead of a `preexec_fn`, which may not be used where threads run.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie ourselves to the parent, then become the command."""
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0 or os.getppid() == 1:
        sys.exit(1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever started the tests in the background has it ignored
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
