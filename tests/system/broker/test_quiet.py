"""What an idle pool's keeper asks: little, so that hundreds of pools can share a server."""

from __future__ import annotations

import redis

from executor_worker.broker import ensure_groups
from executor_worker.broker.connection.link import Link
from executor_worker.broker.queue.backlog import backlog
from executor_worker.broker.queue.stale import Sweeper
from executor_worker.broker.queue.trim import trim
from tests.unit.executor_worker.broker.acts import survey


def calls(db: redis.Redis) -> int:
    """Commands run so far, by clients and inside scripts, but for those by which this is asked."""
    stats = db.info("commandstats")
    return sum(int(about["calls"]) for name, about in stats.items() if name != "cmdstat_info")


def test_a_round_of_duties_on_empty_streams_takes_few_commands(link: Link, db: redis.Redis) -> None:
    """Scripts are run only where there is something for them to do; 21 in all, where it were 45."""
    for _ in range(2):  # the first time makes the groups, and brings the scripts to the server
        before = calls(db)
        ensure_groups(link, delete_settled=True)
        trim(link, 1000)
        backlog(link, delete_settled=True)
        survey(link)
        Sweeper(link, lease_s=30).stale(1)
    assert calls(db) - before <= 21
