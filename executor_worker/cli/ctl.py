"""`ctl`: commands to the running pool, with an answer: what signals ask for, and a little more."""

from __future__ import annotations

import argparse
import os

from executor_worker.cli.display import print_json, print_table
from executor_worker.cli.exits import DONE, FAILED, USAGE, Quit
from executor_worker.cli.status.here import boards_of, the_only
from executor_worker.cli.status.worker_table import ONE_POOL, told_rows
from executor_worker.settings.control import find_control, given
from supervisor.control.control_socket import ask

ANSWER_S = 5.0
CHECK_S = 120.0  # for a reload: a pool that is starting comes up first


def command(args: argparse.Namespace) -> int:
    """Send what was asked for; the exit status says whether it was done."""
    line = " ".join(str(word) for word in (args.action, getattr(args, "argument", "")) if word)
    answer = _ask(args.socket or _address(args.pool), line)
    if not answer.get("ok"):
        raise Quit(FAILED, f"{str(answer.get('error', 'it was refused')).rstrip('.')}.")
    if args.json:
        print_json({name: value for name, value in answer.items() if name != "ok"})
    else:
        print(answer["said"])
        _print_workers(answer.get("workers"))
        _print_stacks(answer.get("stacks"))
    return DONE


def _address(named: str | None) -> str:
    """Find the control address of the pool that is meant; another user's, or a container's, is found by settings."""
    settled = find_control(os.environ)
    told = any(given(name, os.environ) for name in ("CTL_SOCKET", "WORKER_ID", "RUNTIME_DIRECTORY"))
    if told and not named:
        return settled
    try:
        with boards_of(named or "") as boards:
            address = the_only(boards).head.control
    except Quit as quit_:
        if named or quit_.status == USAGE:
            raise
        return settled
    if not address:
        raise Quit(FAILED, "this pool takes no commands: where it would was not to be had when it was started.")
    return address


def _ask(address: str, line: str) -> dict[str, object]:
    try:
        return ask(address, line, CHECK_S if line == "reload" else ANSWER_S)
    except TimeoutError:
        raise Quit(FAILED, f"the pool at {address} does not answer: its main loop is stuck, or stopped.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        advice = "Name its socket by CTL_SOCKET or --socket; under systemd it is /run/executor-worker/ctl.sock."
        raise Quit(FAILED, f"no pool takes commands at {address} ({reason}). {advice}") from None


def _print_stacks(stacks: object) -> None:
    for one in stacks if isinstance(stacks, list) else []:
        who = f"service {one['service']}" if "service" in one else f"slot {one['slot']}"
        facts = [f"pid {one['pid']}", str(one["phase"]), str(one["item"])]
        print(f"\n{who}, {', '.join(filter(None, facts))}\n{one['stack']}")


def _print_workers(workers: object) -> None:
    if isinstance(workers, list) and workers:
        print()
        print_table(ONE_POOL.columns, told_rows(workers), ONE_POOL.spare)
