"""One name, one supervisor."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from executor_worker.broker import Link
from executor_worker.broker.fleet import identity
from executor_worker.broker.fleet.identity import BEAT_S, PATIENCE_S, Identity, IdentityTaken, started_at
from tests.unit.executor_worker.broker.acts import Client


class Clock:
    """Time that passes by sleeping; *meanwhile* is called at each sleep with the time."""

    def __init__(self, meanwhile: Callable[[float], object] = lambda _: None) -> None:
        self.now = 0.0
        self._meanwhile = meanwhile

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self._meanwhile(self.now)

    def __call__(self) -> float:
        return self.now


def elsewhere(worker_id: str = "w") -> Identity:
    """A supervisor of another host: nobody here can tell whether it lives."""
    return replace(Identity(worker_id), host="other-host", boot="other-boot")


def claim(identity: Identity, link: Link, clock: Clock) -> None:
    identity.claim(link, sleep=clock.sleep, clock=clock)


def test_a_free_name_is_taken_at_once(db: Client, link: Link) -> None:
    """Nobody has it, nobody is waited for."""
    clock = Clock()
    mine = Identity("w")
    claim(mine, link, clock)
    assert clock.now == 0 and mine.beat(link)
    assert db.hget("dago:executor:identity:w", "token") == mine.token.encode()
    assert 50_000 < db.pttl("dago:executor:identity:w") <= 60_000


def test_a_name_that_beats_is_refused(link: Link) -> None:
    """The second one sees the first alive within its patience, and is told who it is."""
    first = elsewhere()
    claim(first, link, Clock())
    clock = Clock(lambda now: first.beat(link) if now >= BEAT_S else None)
    with pytest.raises(IdentityTaken, match=r"'w' is taken.*other-host"):
        claim(Identity("w"), link, clock)
    assert clock.now < PATIENCE_S
    assert first.beat(link), "the first notices nothing"


def test_a_silent_predecessor_elsewhere_is_replaced_after_a_while(link: Link) -> None:
    """Its host has vanished; it is told so should it come back."""
    first, second = elsewhere(), Identity("w")
    claim(first, link, Clock())
    clock = Clock()
    claim(second, link, clock)
    assert PATIENCE_S <= clock.now < PATIENCE_S + 1
    assert not first.beat(link) and second.beat(link)
    first.leave(link)
    assert second.beat(link), "who has lost the name can't give it up for others"


def test_a_dead_predecessor_on_this_host_is_replaced_at_once(link: Link) -> None:
    """Its process is no more."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    first = replace(Identity("w"), pid=str(child.pid), started=started_at(child.pid) or "")
    claim(first, link, Clock())
    clock = Clock(lambda _: first.beat(link))
    with pytest.raises(IdentityTaken):
        claim(Identity("w"), link, clock)
    child.communicate(b"\n")
    clock = Clock()
    claim(Identity("w"), link, clock)
    assert clock.now == 0


def test_a_pid_that_came_again_is_not_taken_for_the_predecessor(link: Link) -> None:
    """A process that began at another time is another process."""
    first = replace(Identity("w"), started="1")
    assert first.pid == str(os.getpid())
    claim(first, link, Clock())
    clock = Clock()
    claim(Identity("w"), link, clock)
    assert clock.now == 0


def test_a_predecessor_that_leaves_meanwhile_makes_room(link: Link) -> None:
    """A clean end is no reason to wait on."""
    first = elsewhere()
    claim(first, link, Clock())
    clock = Clock(lambda _: first.leave(link))
    claim(Identity("w"), link, clock)
    assert clock.now < 1


def test_the_same_supervisor_has_its_name_already(link: Link) -> None:
    """A successor by USR2 comes with the same token."""
    first = Identity("w")
    claim(first, link, Clock())
    clock = Clock()
    claim(Identity("w", token=first.token), link, clock)
    assert clock.now == 0 and first.beat(link)


def test_what_redis_lost_is_claimed_again(db: Client, link: Link) -> None:
    """After FLUSHALL the next beat restores it."""
    mine = Identity("w")
    claim(mine, link, Clock())
    db.flushall()
    assert mine.beat(link)
    assert db.hget("dago:executor:identity:w", "host") == mine.host.encode()


def test_of_two_that_start_together_one_is_refused(link: Link) -> None:
    """Whoever comes second sees a name that was not there when it first looked, or a beat."""
    first, second = elsewhere(), Identity("w")
    claim(elsewhere(), link, Clock())
    clock = Clock(lambda now: claim(first, link, Clock()) if now == 0.25 else None)
    with pytest.raises(IdentityTaken):
        claim(second, link, clock)


@pytest.mark.parametrize(("pid", "gone"), [(1, False), (2**22 - 1, True)], ids=["there", "not there"])
def test_a_process_that_is_hidden_from_us_is_not_taken_for_dead(
    pid: int, gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd's ProtectProc= shows a service only its own user's; a living pool's name must not be taken."""
    monkeypatch.setattr(identity, "started_at", lambda _: None)
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setresuid(65534, 65534, 65534)
        os._exit(int(identity.is_gone(pid, "4711")))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == int(gone)
