"""Connections of every kind, and what goes wrong with them."""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import trustme

from executor_worker.broker import Consumer, Endpoint, Link, Settled, ensure_groups
from executor_worker.broker.connection.command import Prepared, pack
from executor_worker.broker.connection.endpoint import Tls
from executor_worker.broker.connection.replies import GroupLost, Misplaced, NoScript, error_of
from executor_worker.errors import ConfigError, StreamRefused, StreamUnavailable
from tests.kit import RedisServer, free_port
from tests.system.broker.bells import once_it_waits, ring
from tests.unit.executor_worker.broker.acts import Client, commit, push, settle, take


def goes_through(server: RedisServer, endpoint: Endpoint) -> None:
    """Run an item through a consumer there."""
    client = server.client()
    push(client)
    worker = Consumer(Link(endpoint, name="größe 1"), "w.1", lease_s=30)
    with closing(client), closing(worker):
        assert settle(worker, take(worker), commit(expected=None)) is Settled.settled


def test_tcp_and_a_database_of_its_own(shared_server: RedisServer, db: Client) -> None:
    """The plain way, and SELECT."""
    goes_through(shared_server, Endpoint.parse(shared_server.addr))
    link = Link(Endpoint.parse(f"redis://{shared_server.addr}/3"))
    link.call("SET", "a", "b")
    assert db.get("a") is None
    assert link.call("CLIENT", "LIST").count(b" db=3 ") == 1
    link.close()


def test_unix_socket(shared_server: RedisServer, db: Client) -> None:
    """The fastest way."""
    goes_through(shared_server, Endpoint.parse(shared_server.unix_url))
    goes_through(shared_server, Endpoint.parse(str(shared_server.socket)))


def test_password(start_server: Callable[..., RedisServer]) -> None:
    """Right, wrong and missing."""
    server = start_server("redis", password="s/e:c@ret")
    goes_through(server, Endpoint.parse(server.addr, password="s/e:c@ret"))
    goes_through(server, Endpoint.parse(f"redis://:s%2Fe%3Ac%40ret@{server.addr}"))
    for password in ("wrong", None):
        link = Link(Endpoint.parse(server.addr, password=password))
        with pytest.raises(StreamRefused, match=r"WRONGPASS|NOAUTH"):
            link.call("PING")
        assert not link.connected


def test_a_password_nobody_asked_for_is_refused(shared_server: RedisServer, db: Client) -> None:
    """As Redis has it: better told than ignored."""
    with pytest.raises(StreamRefused):
        Link(Endpoint.parse(shared_server.addr, user="nobody", password="x")).call("PING")


ACL = [
    "+evalsha", "+eval", "+xreadgroup", "+xpending", "+xclaim", "+xack", "+xdel", "+xadd", "+xrange", "+xgroup",
    "+xinfo", "+get", "+set", "+hget", "+hset", "+hdel", "+hvals", "+hincrby", "+client|unblock", "+client|id",
    "+select", "+type",
]  # fmt: skip


def test_acl_user_with_few_permissions(shared_server: RedisServer, db: Client) -> None:
    """What a worker needs, without CLIENT SETNAME, ROLE and PUBLISH; and a user who may not even that."""
    keys = ["executor.work*", "dago:*"]
    db.acl_setuser("runner", enabled=True, passwords=["+pw"], keys=keys, commands=ACL, reset_channels=True)
    endpoint = Endpoint.parse(shared_server.addr, "runner", "pw")
    goes_through(shared_server, endpoint)
    push(db)
    worker = Consumer(Link(endpoint), "w.1", lease_s=30)
    assert worker.release(take(worker).held, counted=False), "also where nobody may be told"
    worker.close()
    db.acl_setuser("reader", enabled=True, passwords=["+pw"], keys=["*"], commands=["+get"])
    poor = Link(Endpoint.parse(f"redis://reader:pw@{shared_server.addr}"))
    with pytest.raises(StreamRefused, match="NOPERM"):
        ensure_groups(poor, delete_settled=True)
    poor.close()
    db.acl_deluser("runner", "reader")


def test_a_worker_that_may_not_unblock_leaves_all_the_same(
    shared_server: RedisServer, db: Client, event_fd: int
) -> None:
    """It drops its connection instead, and looks for what that may have brought."""
    commands = [one for one in ACL if not one.startswith("+client")]
    db.acl_setuser("runner", enabled=True, passwords=["+pw"], keys=["*"], commands=commands, reset_channels=True)
    worker = Consumer(Link(Endpoint.parse(shared_server.addr, "runner", "pw")), "w.1", lease_s=30)
    assert worker.take() is None and worker.client_id == 0
    with once_it_waits(db, partial(ring, event_fd)):
        assert worker.wait(event_fd, 20) is None and worker.may_have_unseen
    worker.close()
    db.acl_deluser("runner")


def test_tls(start_server: Callable[..., RedisServer], event_fd: int) -> None:
    """Trusted by its authority; refused without; waiting and being woken works on it too."""
    server = start_server("redis", tls=True)
    url = f"{server.tls_url}?ssl_ca_certs={server.ca_file}"
    goes_through(server, Endpoint.parse(url))
    goes_through(server, Endpoint.parse(f"{server.tls_url}?ssl_cert_reqs=none"))
    worker = Consumer(Link(Endpoint.parse(url)), "w.1", lease_s=30)
    assert worker.wait(event_fd, 0.05) is None
    client = server.client()
    push(client, more="x" * 300_000)
    taken = worker.wait(event_fd, 10)
    assert taken is not None and taken.delivery.data is not None and len(taken.delivery.data) > 300_000
    with once_it_waits(client, partial(ring, event_fd)):
        assert worker.wait(event_fd, 30) is None and not worker.may_have_unseen
    worker.close()
    client.close()
    with pytest.raises(StreamRefused, match="not trusted"):
        Link(Endpoint.parse(server.tls_url)).call("PING")
    with pytest.raises(StreamRefused, match="TLS file"):
        Link(Endpoint.parse(f"{server.tls_url}?ssl_ca_certs=/nowhere.pem")).call("PING")
    with pytest.raises(StreamUnavailable):
        Link(Endpoint.parse(f"rediss://{server.addr}"), timeout_s=1).call("PING")


def test_nobody_there(folder: Path) -> None:
    """No server, no socket, no name: unavailable, and named."""
    port = free_port()
    for addr in (f"127.0.0.1:{port}", f"unix://{folder}/none", "no.such.host.invalid:6379"):
        with pytest.raises(StreamUnavailable, match="can't be reached"):
            Link(Endpoint.parse(addr), timeout_s=1).call("PING")


def test_a_server_that_closes_or_talks_nonsense() -> None:
    """Neither a reply nor a hang."""
    for answer in (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n"):
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve(words: bytes = answer, where: socket.socket = listener) -> None:
                peer, _ = where.accept()
                with peer:
                    peer.recv(1000)
                    peer.sendall(words)

            thread = threading.Thread(target=serve)
            thread.start()
            link = Link(Endpoint.parse(f"127.0.0.1:{listener.getsockname()[1]}"), timeout_s=1)
            with pytest.raises(StreamUnavailable):
                link.call("PING")
            assert not link.connected
            thread.join()


def test_a_replaced_file_of_tls_is_read_at_the_next_try(
    start_server: Callable[..., RedisServer], tmp_path: Path
) -> None:
    """An authority is changed under the same name: what is in use is not kept for ever."""
    server = start_server("redis", tls=True)
    authorities = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(authorities))
    link = Link(Endpoint.parse(f"{server.tls_url}?ssl_ca_certs={authorities}"))
    with pytest.raises(StreamRefused, match="not trusted"):
        link.call("PING")
    authorities.write_bytes(server.ca_file.read_bytes())
    assert link.call("PING") == b"PONG"
    link.close()


def test_a_refused_link_asks_for_another_password(start_server: Callable[..., RedisServer]) -> None:
    """At each connection that is refused; what it makes of itself goes on with the one that was taken."""
    server = start_server("redis", password="new")
    asked: list[StreamRefused] = []

    def renew(current: Endpoint, refused: StreamRefused) -> Endpoint | None:
        asked.append(refused)
        return None if len(asked) == 1 else Endpoint.parse(server.url)

    link = Link(Endpoint.parse(server.addr, password="old"), renew=renew)
    with pytest.raises(StreamRefused, match="WRONGPASS"):
        link.call("PING")
    assert link.call("PING") == b"PONG"
    with closing(link), closing(link.another()) as another:
        assert another.call("PING") == b"PONG"
    assert len(asked) == 2


def test_batches_keep_errors_in_their_place(link: Link) -> None:
    """One error does not hide the other replies."""
    first, second, third = link.batch([("SET", "a", "1"), ("LPUSH", "a", "x"), ("GET", "a")])
    assert (first, third) == (b"OK", b"1") and isinstance(second, StreamRefused)
    assert link.batch([]) == []


@pytest.mark.parametrize(("text", "kind"), [
    ("NOSCRIPT No matching script", NoScript), ("NOGROUP No such key", GroupLost),
    ("UNBLOCKED the stream key no longer exists", GroupLost), ("UNBLOCKED force unblock", Misplaced),
    ("READONLY You can't write", Misplaced), ("MASTERDOWN Link", Misplaced),
    ("ERR max number of clients reached", Misplaced),
    ("LOADING Redis is loading", StreamUnavailable), ("OOM command not allowed", StreamUnavailable),
    ("MISCONF Redis is configured", StreamUnavailable), ("BUSY Redis is busy", StreamUnavailable),
    ("NOREPLICAS Not enough", StreamUnavailable), ("WRONGPASS invalid", StreamRefused), ("NOAUTH", StreamRefused),
    ("NOPERM this user", StreamRefused), ("DENIED Redis is running in protected mode", StreamRefused),
    ("WRONGTYPE Operation", StreamRefused), ("ERR unknown command", StreamRefused), ("", StreamRefused),
])  # fmt: skip
def test_error_replies_become_ours(text: str, kind: type) -> None:
    """Waiting helps, or the operator has to act."""
    assert type(error_of(text)) is kind


@pytest.mark.parametrize(("addr", "expected"), [
    ("localhost:6379", Endpoint(hosts=(("localhost", 6379),))),
    ("redis.local", Endpoint(hosts=(("redis.local", 6379),))),
    (":7000", Endpoint(hosts=(("localhost", 7000),))),
    ("[::1]:7000", Endpoint(hosts=(("::1", 7000),))),
    ("::1", Endpoint(hosts=(("::1", 6379),))),
    ("redis://h:1/2", Endpoint(hosts=(("h", 1),), db=2)),
    ("redis://h?db=4", Endpoint(hosts=(("h", 6379),), db=4)),
    ("redis://u:p%40@h", Endpoint(hosts=(("h", 6379),), user="u", password="p@")),
    ("unix:///run/r.sock?db=1", Endpoint(path="/run/r.sock", db=1)),
    ("unix://u:p@/run/r.sock", Endpoint(path="/run/r.sock", user="u", password="p")),
    ("rediss://h?ssl_ca_certs=/ca&ssl_check_hostname=false",
     Endpoint(hosts=(("h", 6379),), tls=Tls(ca_file="/ca", check_hostname=False))),
    ("redis+sentinel://a:1,b/main/3?sentinel_password=s",
     Endpoint(hosts=(("a", 1), ("b", 26379)), service="main", db=3, sentinel_password="s")),
])  # fmt: skip
def test_addresses_are_read(addr: str, expected: Endpoint) -> None:
    """All forms of REDIS_ADDR."""
    assert Endpoint.parse(addr) == expected


def test_a_url_goes_before_the_settings_beside_it() -> None:
    """The more exact one counts."""
    read = Endpoint.parse("redis://u:p@h/2", "user", "pass", 5)
    assert (read.user, read.password, read.db) == ("u", "p", 2)
    read = Endpoint.parse("redis://h", "user", "pass", 5)
    assert (read.user, read.password, read.db) == ("user", "pass", 5)


@pytest.mark.parametrize("addr", [
    "http://h", "redis://h:port", "h:99999", "h:0", "redis://h/x", "redis://h/1/2", "redis+sentinel://h", "unix://",
    "redis://secret:secret@h:x", "secret:secret@h:1", "a:1,b:2", "redis://[::1",
])  # fmt: skip
def test_wrong_addresses_are_named_without_their_secrets(addr: str) -> None:
    """The variable, the problem, the fix; never a password."""
    with pytest.raises(ConfigError) as caught:
        Endpoint.parse(addr)
    assert caught.value.variable == "REDIS_ADDR" and "secret" not in str(caught.value)


def test_endpoints_show_no_secrets() -> None:
    """Neither to people nor in a stack dump; they survive being handed on."""
    endpoint = Endpoint.parse("redis+sentinel://u:secret@h:1/main?sentinel_password=secret2")
    assert "secret" not in repr(endpoint) and str(endpoint) == "redis+sentinel://h:1/main/0"
    assert pickle.loads(pickle.dumps(endpoint)) == endpoint


@pytest.mark.parametrize("last", [b"", b"x", b"\r\n$3\r\n", "ä".encode() * 1000])
def test_prepared_commands_are_the_same_bytes(last: bytes) -> None:
    """Whatever the last word holds."""
    words = ("XADD", "größe", b"*", 7)
    assert Prepared(*words)(last) == pack((*words, last))


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("a:6379", "redis://somebody:secret@a", True),
        ("redis://a", "rediss://a?ssl_cert_reqs=none", True),
        ("a:6379", "b:6379", False),
        ("redis://a/1", "redis://a/2", False),
        ("unix:///run/a.sock", "unix:///run/b.sock", False),
        ("redis+sentinel://a,b/main", "redis+sentinel://b,c/main", True),
        ("redis+sentinel://a,b/main", "redis+sentinel://c,d/main", False),
        ("redis+sentinel://a/main", "redis+sentinel://a/other", False),
        ("redis+sentinel://a:1/main", "redis://a:1", False),
    ],
)
def test_which_addresses_lead_to_the_same_data(first: str, second: str, same: bool) -> None:
    assert Endpoint.parse(first).leads_to(Endpoint.parse(second)) is same
