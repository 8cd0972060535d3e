"""Redis is allowed to fail: replies, memory, groups and scripts that are lost, replicas, frozen servers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from executor_worker.broker import GROUP, Claim, Consumer, Endpoint, Link, Made, Settled, ensure_groups
from executor_worker.broker.connection.script import script
from executor_worker.broker.queue.consumer import ONLY_DOCUMENTS
from executor_worker.broker.queue.document import SETTLE
from executor_worker.errors import StreamRefused, StreamUnavailable
from supervisor.scoreboard.scoreboard import Scoreboard
from tests.kit import Proxy, RedisServer, Stopwatch, wait_until
from tests.system.broker.bells import once_it_waits, ring
from tests.unit.executor_worker.broker.acts import (
    EVENTS,
    WORK,
    Client,
    commit,
    digest,
    events,
    pending,
    push,
    settle,
    snapshot,
    take,
)

Make = Callable[..., Consumer]


@pytest.fixture
def line(shared_server: RedisServer, db: Client, proxy: Callable[..., Proxy]) -> Proxy:
    """A bad line to the server, which knows the scripts already: the first reply is the one that counts."""
    for known in (
        ONLY_DOCUMENTS.taking("take"),
        ONLY_DOCUMENTS.settling[SETTLE],
        script("release", "constants", "standing"),
    ):
        assert db.script_load(known.source).encode() == known.sha
    return proxy(shared_server.port)


def cut_reply_to(line: Proxy, word: bytes) -> None:
    """Forward the next request that holds *word*, then cut the connection before its reply comes through."""

    def on_request(chunk: bytes) -> None:
        line.lose_replies = line.lose_replies or word in chunk

    def on_reply(_: bytes) -> None:
        if line.lose_replies:
            line.on_request, line.on_reply = (lambda _: None), (lambda _: None)
            line.lose_replies = False
            line.cut()

    line.on_request, line.on_reply = on_request, on_reply


def test_a_lost_reply_to_settle_is_no_second_commit(db: Client, consumer: Make, line: Proxy) -> None:
    """The settle that is repeated finds its own commit; the take after it finds the entry its first try had taken."""
    push(db), push(db)
    worker = consumer("w.1", addr=line.addr)
    taken = take(worker)
    cut_reply_to(line, b"EVALSHA")
    with pytest.raises(StreamUnavailable):
        worker.settle(taken.held, commit(), take_next=True)
    assert worker.may_have_unseen and events(db) == [b"event"]
    ending, _, other = worker.settle(taken.held, commit(), take_next=True)
    assert ending is Settled.already and other is None and worker.may_have_unseen
    upcoming = worker.take()
    assert upcoming is not None and (upcoming.held.count, upcoming.held.attempt) == (2, 1)
    assert events(db) == [b"event"]
    assert settle(worker, upcoming, commit(expected=digest(b'{"a":1}'))) is Settled.settled
    assert not db.xlen(WORK) and not pending(db)


def test_a_lost_reply_to_a_take_strands_nothing(db: Client, consumer: Make, line: Proxy) -> None:
    """The entry that was delivered into nothing comes with the next take and was never run."""
    worker = consumer("w.1", addr=line.addr)
    worker.take()
    first, second = push(db), push(db)
    cut_reply_to(line, b"EVALSHA")
    with pytest.raises(StreamUnavailable):
        worker.take()
    assert list(pending(db)) == [first]
    taken = take(worker)
    assert (taken.held.entry, taken.held.attempt) == (first, 1)
    settle(worker, taken)
    assert take(worker).held.entry == second


def test_a_lost_reply_to_a_wait_strands_nothing(db: Client, consumer: Make, line: Proxy, event_fd: int) -> None:
    """The same for the blocking read."""
    worker = consumer("w.1", addr=line.addr)
    worker.take()
    entry = push(db)
    cut_reply_to(line, b"XREADGROUP")
    with pytest.raises(StreamUnavailable):
        worker.wait(event_fd, 5)
    taken = worker.wait(event_fd, 5)
    assert taken is not None and (taken.held.entry, taken.held.attempt) == (entry, 1)


@pytest.mark.parametrize("late", [True, False])
def test_what_was_settled_and_forgotten_meanwhile_is_not_run_again(
    db: Client, consumer: Make, line: Proxy, event_fd: int, late: bool
) -> None:
    """Read after its lease, with its graph's state gone too; within the lease nobody else can have had it."""
    worker = consumer("w.1", addr=line.addr, lease_s=0.2 if late else 30)
    other = consumer("w.2", lease_s=0.2 if late else 30)
    worker.take()

    def on_reply(chunk: bytes) -> None:
        if b"graph_id" not in chunk:
            return
        if not late:
            db.flushall()
            return
        wait_until(lambda: (taken := other.take(stale=[(WORK, entry)])) and settle(other, taken))
        push(db, graph="next")
        settle(other, take(other), commit(state_key="dago:state:next"))
        db.delete("dago:state:g")

    line.on_reply = on_reply
    entry = push(db, inputs={})
    taken = worker.wait(event_fd, 5)
    assert (taken is None) is late


def test_a_lost_reply_to_a_claim_strands_nothing(db: Client, consumer: Make, line: Proxy) -> None:
    """Taking over a stale entry is reconciled as well."""
    entry = push(db)
    dead = consumer("dead.1")
    dead.release(take(dead).held, counted=True)
    worker = consumer("w.1", addr=line.addr)
    worker.take()
    cut_reply_to(line, b"EVALSHA")
    with pytest.raises(StreamUnavailable):
        worker.take(stale=[(WORK, entry)])
    taken = take(worker)
    assert (taken.held.entry, taken.held.count, taken.held.attempt) == (entry, 3, 2)


def test_a_lost_reply_to_a_release_is_forgiven_once(db: Client, consumer: Make, line: Proxy) -> None:
    """Giving back twice is giving back once."""
    entry = push(db)
    worker = consumer("w.1", addr=line.addr)
    held = take(worker).held
    cut_reply_to(line, b"EVALSHA")
    with pytest.raises(StreamUnavailable):
        worker.release(held, counted=False)
    assert worker.release(held, counted=False)
    taken = take(consumer("w.2"), stale=[(WORK, entry)])
    assert (taken.held.count, taken.held.uncounted) == (2, 1)


def test_an_interrupted_call_leaves_no_reply_for_the_next(db: Client, make_link: Callable[..., Link]) -> None:
    """A reply that is still to come is never taken for the answer to another question."""
    link = make_link()
    db.set("a", "1"), db.set("b", "2")
    link.send(("GET", "a"))
    assert link.call("GET", "b") == b"2"


def test_scripts_the_server_forgot_are_sent_again(db: Client, consumer: Make) -> None:
    """SCRIPT FLUSH, a restart or a failover is not noticed."""
    push(db), push(db)
    worker = consumer()
    taken = take(worker)
    db.script_flush()
    ending, _, upcoming = worker.settle(taken.held, commit(), take_next=True)
    assert ending is Settled.settled and upcoming is not None
    db.script_flush()
    assert worker.release(upcoming.held, counted=False)


def test_full_memory_changes_nothing(db: Client, consumer: Make) -> None:
    """Settling is refused as a whole, says so, and works once there is room."""
    push(db), push(db)
    worker = consumer()
    taken = take(worker)
    before = snapshot(db)
    db.config_set("maxmemory", "1mb")
    try:
        for what in (commit(), commit(expected=None, events=[], dead={"data": b"x"})):
            with pytest.raises(StreamUnavailable, match="OOM"):
                worker.settle(taken.held, what, take_next=True)
        assert snapshot(db) == before
        assert worker.release(taken.held, counted=False), "giving back needs no room"
        taken = take(worker, stale=[(WORK, taken.held.entry)])
        assert taken.held.attempt == 1
    finally:
        db.config_set("maxmemory", "0")
    assert settle(worker, taken) is Settled.settled


def test_a_read_only_replica_is_left(db: Client, consumer: Make) -> None:
    """A demoted primary says READONLY: nothing was written, the connection is given up for a new look-up."""
    push(db)
    worker = consumer()
    taken = take(worker)
    db.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(StreamUnavailable, match=r"READONLY|MASTERDOWN"):
            settle(worker, taken)
        assert worker.client_id == 0
    finally:
        db.replicaof("NO", "ONE")
    assert settle(worker, taken) is Settled.settled


@pytest.mark.parametrize("loss", ["flush", "stream", "group"])
def test_a_lost_group_is_made_again(db: Client, consumer: Make, event_fd: int, loss: str) -> None:
    """Whatever was destroyed: the worker says so and goes on at 0."""
    made: list[Made] = []
    worker = consumer("w.1", group_made=made.append)
    worker.take()
    made.clear()
    _lose(db, loss)
    assert worker.take() is None
    assert Made(WORK, "0-0", True) in made
    entry = push(db)
    assert take(worker).held.entry == entry


@pytest.mark.parametrize("loss", ["flush", "stream", "group"])
def test_who_comes_after_a_loss_knows_of_it(db: Client, consumer: Make, loss: str) -> None:
    """A worker that starts just then makes the group; that it had been there its pool remembers."""
    made: list[Made] = []
    board = Scoreboard(2)
    consumer("w.1", memory=board.head).take()
    _lose(db, loss)
    assert consumer("w.2", memory=board.head, group_made=made.append).take() is None
    assert Made(WORK, "0-0", True) in made
    made.clear()
    _lose(db, "flush")
    assert consumer("v.1", memory=Scoreboard(2).head, group_made=made.append).take() is None
    assert Made(WORK, "0-0", False) in made, "another pool has not known it"


@pytest.mark.parametrize("loss", ["flush", "stream", "group"])
def test_a_group_lost_under_a_waiting_worker_is_made_again(
    db: Client, consumer: Make, event_fd: int, loss: str
) -> None:
    """A blocked read ends, at the latest with its time."""
    worker = consumer("w.1")
    worker.take()
    lost: list[bool] = []

    def lose() -> None:
        _lose(db, loss)
        lost.append(True)

    taken = Stopwatch()
    with once_it_waits(db, lose):
        while not lost:
            worker.wait(event_fd, 1)
    push(db)
    while worker.wait(event_fd, 0.2) is None:
        assert taken.left_s(10) > 0


def test_a_waiting_worker_goes_on_once_somebody_else_has_made_its_group_again(
    db: Client, consumer: Make, make_link: Callable[..., Link], event_fd: int
) -> None:
    """FLUSHALL under a blocked read: it need not end for new entries to be seen."""
    worker = consumer("w.1")
    worker.take()
    taken: list[Claim | None] = []

    def wait() -> None:
        deadline = time.monotonic() + 20
        while not taken and time.monotonic() < deadline:
            got = worker.wait(event_fd, 30)
            if got is not None:
                taken.append(got)

    waiter = threading.Thread(target=wait)
    waiter.start()
    wait_until(lambda: db.info("clients")["blocked_clients"])
    db.flushall()
    ensure_groups(make_link(), delete_settled=True, known=True)
    entry = push(db)
    wait_until(lambda: taken, 10)
    waiter.join()
    assert taken[0] is not None and taken[0].held.entry == entry


def test_a_broken_stream_does_not_undo_a_commit(db: Client, consumer: Make) -> None:
    """The commit is told of; that nothing more can be taken is said by the next take."""
    push(db)
    worker = consumer("w.1")
    taken = take(worker)
    db.delete(EVENTS)
    db.set(EVENTS, "no stream")
    assert worker.settle(taken.held, commit(), take_next=True) == (Settled.settled, None, None)
    assert worker.may_have_unseen and events(db) == [b"event"]
    with pytest.raises(StreamRefused, match="WRONGTYPE"):
        worker.take()


def test_an_item_delivered_again_after_the_group_was_lost_is_its_new_holders(db: Client, consumer: Make) -> None:
    """The group made again at 0 delivers what is still there: the first holder is fenced from then on."""
    entry = push(db)
    worker, other = consumer("w.1"), consumer("w.2")
    taken = take(worker)
    db.xgroup_destroy(WORK, GROUP)
    assert settle(worker, taken) is Settled.trimmed, "no group, no other holder"
    again = take(other)
    assert again.held.entry == entry
    assert settle(worker, taken, force=True) is Settled.fenced
    assert settle(other, again) is Settled.settled
    assert settle(worker, taken) is Settled.fenced
    assert events(db) == [b"event"]


def test_an_item_not_delivered_again_yet_is_committed_and_leaves_the_stream(db: Client, consumer: Make) -> None:
    """Between the loss and the next read the holder's result is still the only one."""
    push(db)
    worker = consumer("w.1")
    taken = take(worker)
    db.xgroup_destroy(WORK, GROUP)
    db.xgroup_create(WORK, GROUP, "0")
    assert settle(worker, taken) is Settled.trimmed
    assert settle(worker, taken, force=True) is Settled.settled
    assert consumer("w.2").take() is None and events(db) == [b"event"]


def test_a_lost_group_on_a_kept_stream_goes_on_where_it_was(db: Client, consumer: Make, event_fd: int) -> None:
    """DELETE_SETTLED=0: nothing settled is run again, what is in hand is settled by its holder."""
    made: list[Made] = []
    done, held, new = push(db), push(db), push(db)
    worker = consumer("w.1", delete_settled=False, group_made=made.append)
    settle(worker, take(worker))
    taken = take(worker)
    assert taken.held.entry == held
    db.xgroup_destroy(WORK, GROUP)
    made.clear()
    other = consumer("w.2", delete_settled=False, group_made=made.append)
    assert take(other).held.entry == new
    assert made == [Made(WORK, held, False)]
    assert settle(worker, taken) is Settled.trimmed
    assert settle(worker, taken, commit(expected=digest(b'{"a":1}')), force=True) is Settled.settled
    assert len(events(db)) == 2 and done


def test_what_a_blocking_read_delivered_is_remembered_on_a_kept_stream(
    db: Client, consumer: Make, event_fd: int
) -> None:
    """The last known id is exact, however the entry came."""
    worker = consumer("w.1", delete_settled=False)
    worker.take()
    entry = push(db)
    taken = worker.wait(event_fd, 5)
    assert taken is not None
    db.xgroup_destroy(WORK, GROUP)
    assert consumer("w.2", delete_settled=False).take() is None
    assert db.xinfo_groups(WORK)[0]["last-delivered-id"].decode() == entry


def test_something_else_under_the_streams_name_is_refused(db: Client, consumer: Make) -> None:
    """The operator has to act; the message names the problem."""
    db.set(EVENTS, "x")
    with pytest.raises(StreamRefused, match="WRONGTYPE"):
        consumer().take()


def test_a_frozen_server_is_noticed_in_bounded_time(start_server: Callable[..., RedisServer], event_fd: int) -> None:
    """It still accepts connections; nobody waits for it longer than told to."""
    server = start_server("redis")
    worker = Consumer(Link(Endpoint.parse(server.addr), timeout_s=1), "w.1", lease_s=30)
    worker.take()
    server.freeze()
    started = Stopwatch()
    with pytest.raises(StreamUnavailable):
        worker.wait(event_fd, 0.2)
    with pytest.raises(StreamUnavailable):
        worker.take()
    assert started.own_s() < 5
    server.thaw()
    assert worker.take() is None
    worker.close()


def test_the_bell_frees_a_worker_from_a_frozen_server(
    start_server: Callable[..., RedisServer], proxy: Callable[..., Proxy], event_fd: int
) -> None:
    """SIGTERM is heard also then."""
    server = start_server("redis")
    line = proxy(server.port)
    worker = Consumer(Link(Endpoint.parse(line.addr)), "w.1", lease_s=30)
    worker.take()
    server.freeze()

    def on_request(chunk: bytes) -> None:
        if b"XREADGROUP" in chunk:  # from here on it waits
            ring(event_fd)

    line.on_request = on_request
    started = Stopwatch()
    assert worker.wait(event_fd, 30) is None
    assert started.own_s() < 4 and worker.may_have_unseen
    worker.close()


def test_a_killed_server_comes_back(start_server: Callable[..., RedisServer], event_fd: int) -> None:
    """A restart with its data: the entry in hand is settled as if nothing had been."""
    server = start_server("redis", aof=True)
    worker = Consumer(Link(Endpoint.parse(server.addr)), "w.1", lease_s=30)
    client = server.client()
    worker.take()
    push(client)
    taken = take(worker)
    server.kill()
    with pytest.raises(StreamUnavailable):
        settle(worker, taken)
    with pytest.raises(StreamUnavailable):
        settle(worker, taken)
    server.start()
    assert settle(worker, taken) is Settled.settled
    worker.close()
    client.close()


def _lose(db: Client, loss: str) -> None:
    if loss == "flush":
        db.flushall()
    elif loss == "stream":
        db.delete(WORK)
    else:
        db.xgroup_destroy(WORK, GROUP)
