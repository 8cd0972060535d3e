"""One worker in the foreground, with a small process beside it that keeps its lease."""

from __future__ import annotations

import faulthandler
import os
import signal
import time
import uuid
from collections.abc import Callable
from types import FrameType

from setproctitle import setproctitle

from executor_worker.program.pool import ExecutorProgram
from executor_worker.telemetry import logs
from executor_worker.telemetry.logs import log_fields
from executor_worker.worker.loop import LEFT
from supervisor.keeper.loop import stay_until_dismissed
from supervisor.processes.process_tree import MARK
from supervisor.processes.processes import END_RUN, Child, Processes
from supervisor.scoreboard.scoreboard import Scoreboard

SLOT = 1
FAILED, REFUSED = 1, 78
CLOSE_S = 3.0
AGAIN_S = 1.0  # sooner it is the same Ctrl-C, sent by more than one


def work_alone(program: ExecutorProgram, board: Scoreboard) -> int:
    """Returns the exit status: 0 asked to leave, 1 the process that keeps the lease is gone, 78 wrong settings."""
    row = board.place(SLOT)
    board.head.configured = 1
    board.head.mode = "running"
    board.head.supervisor_pid = os.getpid()
    os.environ[MARK] = uuid.uuid4().hex
    row.pid, row.started_ns = os.getpid(), time.monotonic_ns()
    processes = Processes(log_fields)
    processes.become_reaper()
    processes.freeze_heap()
    setproctitle(f"{program.pool.name}: worker")
    itself = Child(os.getpid(), os.pidfd_open(os.getpid()))
    keeper = processes.fork(
        f"{program.pool.name}: keeper",
        lambda: program.keep(lambda: itself.signal(END_RUN)),
        lambda: stay_until_dismissed(board),
    )
    lost: list[int] = []

    def on_death(_signum: int, _frame: FrameType | None) -> None:
        # Without it nothing would say that our lease is gone: finish what is in hand, and let the starting process see.
        status = _status_of(keeper)
        if status is not None and not lost:
            lost.append(status)
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGCHLD, on_death)
    signal.signal(signal.SIGINT, _leave_then_give_back())
    faulthandler.register(signal.SIGUSR1, all_threads=True, chain=False, file=logs.fileno())
    logs.info("worker.up", pid=os.getpid(), keeper=keeper.pid)
    status = program.worker(row).run()
    board.head.mode, row.pid = "draining", 0  # so that the keeper takes us out of the registry
    board.head.keeper_dismissed = True
    _end(keeper)
    while processes.kill_strays():
        processes.reap()
    status = _conclude(board, status, lost)
    logs.info("worker.stopped", status=status)
    return status


def _leave_then_give_back() -> Callable[[int, FrameType | None], None]:
    """Make the handler of Ctrl-C: the first finishes what is in hand, one over a second later gives it back."""
    first: list[float] = []

    def handle(_signum: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        first.append(now)
        os.kill(os.getpid(), signal.SIGQUIT if now - first[0] > AGAIN_S else signal.SIGTERM)

    return handle


def _conclude(board: Scoreboard, status: int, lost: list[int]) -> int:
    if board.head.reason:
        logs.error("worker.given_up", reason=board.head.reason)
    ended = lost[0] if lost else LEFT
    if ended not in (LEFT, REFUSED):
        logs.error("keeper.dead", status=ended, advice="start the worker again")
        ended = FAILED
    return status or ended


def _end(keeper: Child) -> None:
    keeper.signal(signal.SIGTERM)
    deadline = time.monotonic() + CLOSE_S
    while _status_of(keeper) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    keeper.signal(signal.SIGKILL)


def _status_of(child: Child) -> int | None:
    """Return a child's exit status, None while it lives; leaves it to be reaped."""
    try:
        died = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return None if died is None else died.si_status
