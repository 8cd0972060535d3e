"""Tell systemd how the pool is: sd_notify(3) over its datagram socket."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping

WATCHDOG_SHARE = 3  # pings in a watchdog interval


class Notify:
    """
    Args:
        path: `NOTIFY_SOCKET`; a leading `@` is an abstract socket.
        watchdog_s: The interval in which systemd wants to hear of us; 0: not at all.
    """

    def __init__(self, path: str, watchdog_s: float = 0.0) -> None:
        self.path = path
        self.watchdog_s = watchdog_s
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._next_ping = 0.0
        self._status = ""

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str]) -> Notify | None:
        """Take systemd's variables out of *environ*, so that no tool speaks in our name; None when there are none."""
        path = environ.pop("NOTIFY_SOCKET", "")
        interval_us = environ.pop("WATCHDOG_USEC", "0")
        for_pid = environ.pop("WATCHDOG_PID", "")
        if not path:
            return None
        ours = for_pid in ("", str(os.getpid())) and interval_us.isdigit()
        return cls(path, int(interval_us) / 1e6 if ours else 0.0)

    def environ(self) -> dict[str, str]:
        """The variables for a successor."""
        watchdog = {"WATCHDOG_USEC": str(int(self.watchdog_s * 1e6))} if self.watchdog_s else {}
        return {"NOTIFY_SOCKET": self.path, **watchdog}

    def ready(self) -> None:
        self._send("READY=1")

    def reloading(self) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def extend(self, seconds: float) -> None:
        """Ask for *seconds* more, from now, before we are taken for stuck."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def main_pid(self, pid: int) -> None:
        """Say that *pid* has taken over."""
        self._send(f"MAINPID={pid}")

    def status(self, text: str) -> None:
        """Show *text* in `systemctl status`, when it has changed."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def ping(self, now: float) -> None:
        """Say that the main loop turns, as often as the watchdog wants it; call at each turn."""
        if self.watchdog_s and now >= self._next_ping:
            self._next_ping = now + self.watchdog_s / WATCHDOG_SHARE
            self._send("WATCHDOG=1")
            self._status = ""  # told again: what a successor said before it was the main process was not listened to

    def close(self) -> None:
        self._socket.close()

    def _send(self, message: str) -> None:
        # No listener, or its queue full: nothing we could do would help.
        with contextlib.suppress(OSError):
            self._socket.sendto(message.encode(), self._address)
