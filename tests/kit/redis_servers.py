"""Real Redis and Valkey servers, each with a folder of its own."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import redis
import trustme
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.kit.counterparts import PATHS, need
from tests.kit.processes import Process
from tests.kit.waiting import free_port, wait_until

Kind = Literal["redis", "valkey"]


class RedisServer:
    """
    A running server on 127.0.0.1 and on a unix socket.

    It can be frozen, killed, stopped and started again on the same port with the same data.

    Attributes:
        addr: `host:port`, as REDIS_ADDR takes it.
        unix_url: `unix:///…`, as REDIS_ADDR takes it; the fastest way.
        url: `redis://…` with the password in it.
        tls_url: `rediss://…`; only where *tls* was asked for.
        ca_file: The certificate authority that *tls_url* is trusted by.
    """

    def __init__(
        self,
        folder: Path,
        kind: Kind = "redis",
        *,
        aof: bool = False,
        password: str = "",
        tls: bool = False,
        maxmemory: str = "",
        extra: Sequence[str] = (),
    ) -> None:
        need(kind)
        if tls:
            need("redis")  # the Valkey we have is built without TLS
        self.kind = kind
        self.folder = folder
        self.password = password
        self.port = free_port()
        self.socket = folder / "s"
        self.options = ["--maxmemory-policy", "noeviction", *extra]
        self.options += ["--appendonly", "yes", "--appendfsync", "always"] if aof else ["--appendonly", "no"]
        self.options += ["--requirepass", password] if password else []
        self.options += ["--maxmemory", maxmemory] if maxmemory else []
        self.ca_file = folder / "ca.pem"
        self.tls_port = free_port() if tls else 0
        if tls:
            self.options += self._tls_options()
        self._clients: list[redis.Redis] = []
        self._process: Process | None = None
        self.start()

    def _tls_options(self) -> list[str]:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        authority.cert_pem.write_to_path(str(self.ca_file))
        key, chain = self.folder / "key.pem", self.folder / "cert.pem"
        certificate.private_key_pem.write_to_path(str(key))
        certificate.cert_chain_pems[0].write_to_path(str(chain))
        files = ["--tls-cert-file", str(chain), "--tls-key-file", str(key), "--tls-ca-cert-file", str(self.ca_file)]
        return ["--tls-port", str(self.tls_port), "--tls-auth-clients", "no", *files]

    @property
    def process(self) -> Process:
        assert self._process is not None, "the server is not running"
        return self._process

    @property
    def addr(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{self.addr}" if self.password else f"redis://{self.addr}"

    @property
    def tls_url(self) -> str:
        return f"rediss://127.0.0.1:{self.tls_port}"

    @property
    def env(self) -> dict[str, str]:
        """The settings that lead a pool here."""
        return {"REDIS_ADDR": self.addr, **({"REDIS_PASS": self.password} if self.password else {})}

    def client(self, **options: Any) -> redis.Redis:
        """Connect with a plain client that answers with bytes and never retries by itself; `close` closes it."""
        given = {"password": self.password or None, "retry": Retry(NoBackoff(), 0), "socket_timeout": 30, **options}
        client = redis.Redis(unix_socket_path=str(self.socket), **given)
        self._clients.append(client)
        return client

    def start(self) -> None:
        """Start it and wait until it answers and has loaded its data."""
        command = [str(PATHS[self.kind]), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--unixsocket", str(self.socket), "--save", "", "--daemonize", "no", *self.options]
        with (self.folder / "log").open("ab") as log:
            self._process = Process(command, stdout=log, stderr=log)
        wait_until(self._answers, 20, f"{self.kind} answers; its log: {self.folder / 'log'}")

    def _answers(self) -> bool:
        assert self.process.running(), (self.folder / "log").read_text()[-2000:]
        client = self.client()
        try:
            return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False
        finally:
            client.close()

    def stop(self) -> None:
        """End it as an operator would: it writes what it has to write."""
        self.process.send(signal.SIGCONT)
        self.process.send(signal.SIGTERM)
        self.process.wait(60)

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()

    def freeze(self) -> None:
        """Stop it from answering; the kernel still accepts connections for it."""
        self.process.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again."""
        self.process.send(signal.SIGCONT)

    def restart(self, *, crash: bool = False) -> None:
        """End it and start it again on the same port; with *aof* its data is kept."""
        self.kill() if crash else self.stop()
        self.start()

    def close(self) -> None:
        """End it for good, and close all clients."""
        for client in self._clients:
            client.close()
        if self._process is not None:
            self._process.kill()
