"""An API that takes the connection and does not answer: calls end in time, and say what to look at."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from executor_worker.cli.exits import FAILED, Quit
from executor_worker.cli.graph import remote
from executor_worker.cli.parser import build_parser
from executor_worker.client import AsyncDagoClient, DagoClient, DagoUnavailable
from executor_worker.client import dago as dago_module
from executor_worker.client.protocol import ANSWER_S
from executor_worker.settings import Settings

LIMIT_S = 0.3
OPENING_S = 2.0  # where a thread of ours has to answer within it
GRAPH = {"nodes": {"a": {"type": "tool", "config": {"tool_name": "now"}}}}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that the kernel takes connections for, and nobody reads."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def mute(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def connections(listener: socket.socket) -> int:
    """Count those that were made until now."""
    listener.setblocking(False)
    count = 0
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


CALLS: dict[str, Callable[[DagoClient], Any]] = {
    "list": lambda dago: dago.list(),
    "show": lambda dago: dago.get_graph("g"),
    "status": lambda dago: dago.get_status("g"),
    "result": lambda dago: dago.get_result("g"),
    "wait": lambda dago: dago.wait("g", 0.1),
    "events": lambda dago: list(dago.events("g")),
    "submit": lambda dago: dago.submit_graph(GRAPH),
    "validate": lambda dago: dago.validate(GRAPH),
    "cancel": lambda dago: dago.cancel("g"),
    "delete": lambda dago: dago.delete("g"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_ends_after_one_answers_time(listener: socket.socket, mute: str, call: str) -> None:
    """It is not tried again; of what changes something nobody knows whether it was done."""
    with DagoClient(mute, timeout=LIMIT_S) as dago, pytest.raises(DagoUnavailable) as raised:
        CALLS[call](dago)
    assert connections(listener) == 1
    said = f"the API at {mute} has not answered within {'0.4' if call == 'wait' else '0.3'} s"
    changes = call in ("submit", "cancel", "delete")
    assert str(raised.value) == said + ("; what was asked may have been done all the same" if changes else "")
    assert raised.value.timed_out


def test_a_call_with_an_event_loop_ends_too(listener: socket.socket, mute: str) -> None:
    """The same of `AsyncDagoClient`."""

    async def main() -> None:
        async with AsyncDagoClient(mute, timeout=LIMIT_S) as dago:
            with pytest.raises(DagoUnavailable, match="has not answered within"):
                await dago.list()
            with pytest.raises(DagoUnavailable, match="has not answered within"):
                await dago.wait("g", 0.1)
            with pytest.raises(DagoUnavailable, match="has not answered within"):
                [event async for event in dago.events("g")]

    asyncio.run(main())
    assert connections(listener) == 3


@pytest.mark.parametrize(
    "line",
    [
        "list",
        "list --json",
        "show g",
        "follow g",
        "submit graph.json",
        "submit graph.json --wait",
        "cancel g",
        "hold g",
    ],
)
def test_a_command_ends_with_what_to_look_at(
    mute: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status 1; the limit is the client's own unless a test shortens it."""
    (tmp_path / "graph.json").write_text('{"nodes": {"a": {"type": "tool", "config": {"tool_name": "now"}}}}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(remote, "DagoClient", partial(DagoClient, timeout=LIMIT_S))
    args = build_parser().parse_args(["graph", *line.split()])
    entry = {"list": "listing", "follow": "follow_run"}.get(line.split()[0], line.split()[0])
    with pytest.raises(Quit) as raised:
        getattr(remote, entry)(Settings.load({"DAGO_URL": mute}, tmp_path), args)
    (said,) = raised.value.sentences
    assert raised.value.status == FAILED
    assert (
        said.startswith(f"the API at {mute} has not answered within 0.3 s") and "/live" in said and "DAGO_URL" in said
    )


def test_half_a_minute_is_the_limit_for_one_answer() -> None:
    """Of both clients, unless another is given."""
    limits = [inspect.signature(client).parameters["timeout"].default for client in (DagoClient, AsyncDagoClient)]
    assert limits == [ANSWER_S, ANSWER_S] == [30.0, 30.0]


@pytest.fixture
def served() -> Iterator[Callable[..., str]]:
    """Serve what each connection is told, in turn, at an address of its own."""
    done = threading.Event()
    threads: list[threading.Thread] = []
    listeners: list[socket.socket] = []

    def start(*talks: Callable[[socket.socket, threading.Event], None]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            for talk in talks:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    talk(connection, done)

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    done.set()
    for thread in threads:
        thread.join(60)
    for listener in listeners:
        listener.close()


def _event(number: int) -> bytes:
    data = b'id: %d-abcd\nevent: node.queued\ndata: {"seq": %d}\n\n' % (number, number)
    return b"%x\r\n%b\r\n" % (len(data), data)


def test_a_stream_may_be_silent_for_longer_than_an_answer(served: Callable[..., str]) -> None:
    """It has answered: a run that waits has nothing to say."""

    def talk(connection: socket.socket, done: threading.Event) -> None:
        connection.sendall(HEAD + _event(1))
        done.wait(1.2 * OPENING_S)
        connection.sendall(_event(2))
        done.wait(60)

    with DagoClient(served(talk), timeout=OPENING_S) as dago:
        events = dago.events("g")
        assert [next(events)["seq"], next(events)["seq"]] == [1, 2]

    async def main() -> list[int]:
        async with AsyncDagoClient(served(talk), timeout=OPENING_S) as dago:
            found = dago.events("g")
            return [(await anext(found))["seq"], (await anext(found))["seq"]]

    assert asyncio.run(main()) == [1, 2]


def test_a_stream_that_has_begun_is_joined_again_through_a_silence(
    served: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that does not come in time is no reason to end what has been followed for hours."""
    monkeypatch.setattr(dago_module, "PAUSES_S", (0.0,))

    def lost(connection: socket.socket, done: threading.Event) -> None:
        connection.sendall(HEAD + _event(1))

    def silent(connection: socket.socket, done: threading.Event) -> None:
        connection.recv(1)  # until the client has given up

    def again(connection: socket.socket, done: threading.Event) -> None:
        connection.sendall(HEAD + _event(2))
        done.wait(60)

    with DagoClient(served(lost, silent, again), timeout=OPENING_S) as dago:
        events = dago.events("g")
        assert [next(events)["seq"], next(events)["seq"]] == [1, 2]
