"""Signals become requests; systemd is told."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.control.systemd import Notify
from supervisor.signals import REQUESTS, Inbox, Request


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    before = {number: signal.getsignal(number) for number in REQUESTS}
    made = Inbox()
    yield made
    made.close_in_child()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def listener(folder: Path) -> Iterator[socket.socket]:
    """Stands for systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(folder / "notify"))
        made.settimeout(30)
        yield made


def test_signals_come_out_in_order(inbox: Inbox) -> None:
    """A handler only enqueues; the loop finds all that came, in order."""
    for number in (signal.SIGTTIN, signal.SIGHUP, signal.SIGTERM):
        os.kill(os.getpid(), number)
    assert inbox.read() == [Request.GROW, Request.RELOAD, Request.DRAIN]
    assert inbox.read() == []


def test_two_hups_at_once_are_one_reload_but_each_ttin_counts(inbox: Inbox) -> None:
    """What says the same twice is done once; what changes a number is done each time."""
    for number in (signal.SIGHUP, signal.SIGTTIN, signal.SIGHUP, signal.SIGTTIN):
        os.kill(os.getpid(), number)
    assert inbox.read() == [Request.RELOAD, Request.GROW, Request.GROW]


def test_systemd_hears_how_it_is(listener: socket.socket) -> None:
    """Each word goes out as sd_notify(3) spells it; a status when it changed, and with the watchdog's next turn."""
    notify = Notify(listener.getsockname(), watchdog_s=3.0)
    notify.ready()
    notify.status("running")
    notify.status("running")
    notify.ping(now=100.0)
    notify.ping(now=100.5)
    notify.ping(now=101.1)
    notify.status("running")
    notify.stopping()
    notify.extend(1.5)
    notify.main_pid(42)
    expected = ["READY=1", "STATUS=running", "WATCHDOG=1", "WATCHDOG=1", "STATUS=running"]
    expected += ["STOPPING=1", "EXTEND_TIMEOUT_USEC=1500000", "MAINPID=42"]
    assert [listener.recv(200).decode() for _ in range(8)] == expected
    notify.reloading()
    assert listener.recv(200).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    notify.close()


def test_systemds_variables_go_to_nobody_else(listener: socket.socket) -> None:
    """Tools don't inherit them; a successor gets them back."""
    environ = {"NOTIFY_SOCKET": listener.getsockname(), "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}
    notify = Notify.from_environ(environ)
    assert notify is not None
    assert environ == {}
    assert notify.watchdog_s == 2
    assert notify.environ() == {"NOTIFY_SOCKET": listener.getsockname(), "WATCHDOG_USEC": "2000000"}
    notify.close()


def test_without_systemd_there_is_nobody_to_tell() -> None:
    """No socket, no notify; a watchdog meant for another process is none of ours."""
    assert Notify.from_environ({}) is None
    notify = Notify.from_environ({"NOTIFY_SOCKET": "@nowhere", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"})
    assert notify is not None
    assert notify.watchdog_s == 0
    notify.ready()  # nobody listens there: no error
    notify.close()
