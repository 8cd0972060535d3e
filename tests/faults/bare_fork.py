"""What the machine makes of the least that replacing a worker takes: a fork, and the processor for a moment."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType
from typing import Self

BOOT_S = 0.006  # of the processor, as a worker takes until it is up
# A process of its own, as large as a supervisor and with a single thread.
PROGRAM = f"""
import os, sys, time
import executor_worker.program.pool
for _ in sys.stdin:
    began = time.monotonic()
    reader, writer = os.pipe()
    if os.fork() == 0:
        while time.process_time() < {BOOT_S}:
            pass
        os.write(writer, b".")
        os._exit(0)
    os.read(reader, 1)
    print(time.monotonic() - began, flush=True)
    os.close(reader), os.close(writer), os.wait()
"""


class BareFork:
    """Forks when it is asked to."""

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=pipe, stdout=pipe, text=True)
        self.seconds()  # the first waits for the imports, and is no measure
        return self

    def seconds(self) -> float:
        """How long it takes now, from the fork until the child has had its moment."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.communicate(timeout=60)
