"""What a user of Redis may not do is done without."""

from __future__ import annotations

from collections.abc import Callable

from executor_worker.broker import Link
from executor_worker.broker.connection.server import describe, forbidden
from executor_worker.broker.fleet.throttle import FleetThrottle
from executor_worker.broker.names import RELEASED_CHANNEL
from executor_worker.broker.queue.releases import Releases
from tests.kit import RedisServer
from tests.unit.executor_worker.broker.acts import WORK, Client, survey
from tests.unit.executor_worker.broker.callers import KEY, MODEL, Fleet


def test_a_user_who_may_not_share_throttles_does_without(
    db: Client, shared_server: RedisServer, make_link: Callable[..., Link]
) -> None:
    """Nobody is held back, and no item is sent to wait where nobody would find it."""
    fleet = Fleet(make_link, db)
    commands = ["+@all", "-@set", "-@sortedset"]
    fleet.db.acl_setuser(
        "narrow", enabled=True, passwords=["+pw"], keys=["*"], commands=commands, channels=[RELEASED_CHANNEL]
    )
    link = make_link(f"redis://narrow:pw@{shared_server.addr}")
    worker = FleetThrottle(link, "w.1", "p", "", KEY, active=lambda: True, calling=lambda: 1)
    assert worker.key(MODEL) == ""
    fleet.refuse(worker, retry_after=20)
    assert worker.key(MODEL) == "" and fleet.admit(worker) is None
    assert survey(link, (), most=1).throttles == 0
    releases = Releases(make_link(f"redis://narrow:pw@{shared_server.addr}"))
    assert releases.heard() == [] and not releases.refused, "it hears of what is given back all the same"
    releases.close()
    fleet.db.acl_deluser("narrow")


def test_the_server_says_what_it_is(shared_server: RedisServer, link: Link) -> None:
    """What `check` looks at."""
    server = describe(link)
    assert server.name == shared_server.kind
    assert server.version >= (7, 0) and not server.old
    assert (server.policy, server.maxmemory, server.durable, server.role) == ("noeviction", 0, False, "master")


def test_what_a_user_may_not_do_is_listed(
    shared_server: RedisServer, db: Client, link: Link, make_link: Callable[..., Link]
) -> None:
    """Asked, not tried."""
    assert forbidden(link) == []
    db.acl_setuser(
        "half", enabled=True, passwords=["+pw"], keys=["executor.work*", "dago:*"], commands=["+@all", "-xtrim"]
    )
    answers = forbidden(make_link(f"unix://half:pw@{shared_server.socket}"))
    assert answers is not None and any("xtrim" in answer for answer in answers)
    db.acl_setuser("mute", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all", "-acl"])
    assert forbidden(make_link(f"unix://mute:pw@{shared_server.socket}")) is None
    assert not db.exists(WORK)
    db.acl_deluser("half", "mute")
