"""
A supervisor's name is its own: consumers of one name on two hosts would settle each other's items.

The holder of a name beats. A second one looks on for a while: a beat means that the first lives. One that died on
this host is known to be dead at once, by its process.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from executor_worker.broker.connection.link import Link
from executor_worker.broker.connection.script import script
from executor_worker.broker.names import IDENTITY_PREFIX
from executor_worker.errors import StreamRefused

BEAT_S = 5.0  # how often `beat` is due
PATIENCE_S = 12.0  # how long a second one looks on
TTL_S = 60.0
LOOK_S = 0.25


class IdentityTaken(StreamRefused):
    """Another supervisor of this name is alive."""


@dataclass(frozen=True, slots=True)
class Identity:
    """
    The holder of a pool's name: made by the supervisor, handed on to the process that beats for it.

    Attributes:
        token: Unique to this supervisor; one that takes over from it by USR2 has the same.
        started: When the process began, in clock ticks since boot: pids come again.
        boot, namespace: Where the pid means this process.
    """

    worker_id: str
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    host: str = field(default_factory=socket.gethostname)
    pid: str = field(default_factory=lambda: str(os.getpid()))
    started: str = field(default_factory=lambda: started_at(os.getpid()) or "")
    boot: str = field(default_factory=lambda: _first_line("/proc/sys/kernel/random/boot_id"))
    namespace: str = field(default_factory=lambda: _pid_namespace())

    @property
    def key(self) -> str:
        return f"{IDENTITY_PREFIX}{self.worker_id}"

    def claim(
        self,
        link: Link,
        *,
        patience_s: float = PATIENCE_S,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Take the name.

        Raises:
            IdentityTaken: Another one beats.
            StreamUnavailable: No reply.
        """
        first = _read(link, self.key)
        deadline = clock() + patience_s
        while True:
            now = _read(link, self.key)
            if now.get("token") not in (None, self.token) and not self._knows_dead(now):
                if now.get("token") != first.get("token") or now.get("beat") != first.get("beat"):
                    raise IdentityTaken(
                        f"{self.worker_id!r} is taken: a supervisor on {now.get('host', '?')} "
                        f"(pid {now.get('pid', '?')}) has this name and is alive"
                    )
                if clock() < deadline:
                    sleep(LOOK_S)
                    continue
            if self._ask(link, "claim", now.get("token", ""), *_words(self)):
                return

    def beat(self, link: Link) -> bool:
        """
        Show that we live; due every `BEAT_S`.

        Returns:
            Whether the name is still ours. What Redis has lost is claimed again.

        Raises:
            StreamUnavailable: No reply.
        """
        return self._ask(link, "beat") or self._ask(link, "claim", "", *_words(self))

    def leave(self, link: Link) -> None:
        """
        Give the name up, if it is ours.

        Raises:
            StreamUnavailable: No reply.
        """
        self._ask(link, "leave")

    def _ask(self, link: Link, what: str, *words: str) -> bool:
        return bool(link.run(script("identity"), [self.key], [what, self.token, int(TTL_S * 1000), *words]))

    def _knows_dead(self, other: dict[str, str]) -> bool:
        """Tell whether *other* was a process of this host that is no more."""
        here = all(other.get(name) == getattr(self, name) != "" for name in ("host", "boot", "namespace"))
        pid = other.get("pid", "")
        return here and pid.isdigit() and is_gone(int(pid), other.get("started", ""))


def started_at(pid: int) -> str | None:
    """Return when a process began, in clock ticks since boot; None if there is none (a zombie is none)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    after_name = stat.rpartition(")")[2].split()
    return None if after_name[0] in ("Z", "X") else after_name[19]


def is_gone(pid: int, started: str) -> bool:
    """Tell whether the process *pid* that began at *started* is certainly no more."""
    now = started_at(pid)
    if now is not None:
        return now != started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another user's, and systemd's ProtectProc= hides it from us
        return False
    return True


def _read(link: Link, key: str) -> dict[str, str]:
    flat = [word.decode("utf-8", "replace") for word in link.call("HGETALL", key)]
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _words(identity: Identity) -> list[str]:
    facts = {name: value for name, value in asdict(identity).items() if name not in ("worker_id", "token")}
    return [word for pair in facts.items() for word in pair]


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
