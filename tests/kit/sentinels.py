"""A primary, a replica and three sentinels that watch them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tests.kit.counterparts import PATHS, need
from tests.kit.processes import Process
from tests.kit.redis_servers import RedisServer
from tests.kit.waiting import free_port, wait_until

NAME = "main"
PAUSE_MS = 10_000  # of writes, while a planned failover goes on


class Sentinels:
    """
    Args:
        place: Makes a folder.
        start_server: Starts a server.
        extra: Further options of both servers.
        down_after_ms: A primary that has not answered for so long is lost; on a busy machine it may just be late.

    Attributes:
        primary, replica: As they were at first; see `now`.
        url: As REDIS_ADDR takes it.
    """

    def __init__(
        self,
        place: Callable[[str], Path],
        start_server: Callable[..., RedisServer],
        extra: Sequence[str] = (),
        down_after_ms: int = 2000,
    ) -> None:
        need("redis")
        self._down_after_ms = down_after_ms
        self.primary = start_server("redis", extra=extra)
        self.replica = start_server("redis", extra=[*extra, "--replicaof", f"127.0.0.1 {self.primary.port}"])
        self.ports = [free_port() for _ in range(3)]
        self.processes = [self._sentinel(place("sentinel"), port) for port in self.ports]
        self._clients = [
            redis.Redis(port=port, socket_timeout=30, retry=Retry(NoBackoff(), 0), decode_responses=True)
            for port in self.ports
        ]
        client = self.replica.client()
        wait_until(lambda: client.info("replication")["master_link_status"] == "up", 20, "the replica follows")
        client.close()
        for one in self._clients:
            wait_until(partial(_complete, one), 30, "the sentinels know each other and the replica")

    @property
    def url(self) -> str:
        return "redis+sentinel://" + ",".join(f"127.0.0.1:{port}" for port in self.ports) + f"/{NAME}"

    def named(self) -> RedisServer | None:
        """Name the primary as all sentinels see it; None while they disagree."""
        ports = {self._named_by(one) for one in self._clients}
        return next((one for one in (self.primary, self.replica) if ports == {one.port}), None)

    def now(self) -> tuple[RedisServer, RedisServer]:
        """Name the primary, and the other one."""
        wait_until(self.named, 20, "all sentinels name the same primary")
        primary = self.named() or self.primary
        return primary, self.replica if primary is self.primary else self.primary

    def hand_over(self) -> bool:
        """
        Begin a planned failover in which nothing is lost: writes wait until the replica has everything.

        Returns:
            Whether the sentinels do it now; else nothing has happened.
        """
        old, new = self.now()
        primary, replica = old.client(), new.client()
        try:
            primary.client_pause(PAUSE_MS, all=False)
            wait_until(lambda: _offset(primary) == _offset(replica), 8, "the replica has everything", every=0.002)
            self._clients[0].sentinel_failover(NAME)
        except RedisError:
            primary.client_unpause()
            return False
        finally:
            primary.close()
            replica.close()
        return True

    def joined(self, old: RedisServer, new: RedisServer) -> bool:
        """
        See to it that *old* follows *new*, once all sentinels name that one; tell whether it does.

        Sentinels would do so as well, after some ten seconds.
        """
        if self.named() is not new:
            return False
        follow = ("--replicaof", f"127.0.0.1 {new.port}")
        if not old.process.running():
            at = old.options.index(follow[0]) if follow[0] in old.options else len(old.options)
            old.options[at : at + 2] = follow
            old.start()
        client = old.client()
        try:
            if client.role()[0] == b"master":
                client.client_unpause()
                client.replicaof("127.0.0.1", new.port)
                client.client_kill_filter(_type="normal", skipme=True)
            return bool(client.info("replication").get("master_link_status") == "up")
        except RedisError:
            return False
        finally:
            client.close()

    def close(self) -> None:
        """End the sentinels; the servers belong to whoever started them."""
        for client in self._clients:
            client.close()
        for process in self.processes:
            process.kill()

    def _named_by(self, sentinel: redis.Redis) -> int:
        host_and_port: Any = sentinel.sentinel_get_master_addr_by_name(NAME)
        return int(host_and_port[1])

    def _sentinel(self, folder: Path, port: int) -> Process:
        config = folder / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\nsentinel monitor {NAME} 127.0.0.1 {self.primary.port} 2\n"
            f"sentinel down-after-milliseconds {NAME} {self._down_after_ms}\nsentinel failover-timeout {NAME} 3000\n"
        )
        return Process([PATHS["redis"], str(config), "--sentinel", "--dir", str(folder)])


def _complete(sentinel: redis.Redis) -> bool:
    try:
        facts: Any = sentinel.sentinel_master(NAME)
    except RedisError:
        return False
    return (facts["num-other-sentinels"], facts["num-slaves"]) == (2, 1)


def _offset(client: Any) -> int:
    """Read how far a server has come in what is replicated."""
    facts = client.info("replication")
    return int(facts["master_repl_offset"] if facts["role"] == "master" else facts["slave_repl_offset"])
