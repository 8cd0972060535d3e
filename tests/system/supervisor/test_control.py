"""Commands over the control socket: what each does, and what is answered when."""

from __future__ import annotations

import os
import signal
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from supervisor.control.control_socket import CLIENTS, ControlSocket, ask, listen
from tests.kit import alive, holds_for, wait_until
from tests.system.supervisor.handle import DummyPool

Start = Callable[..., DummyPool]


def tell(pool: DummyPool, line: str) -> dict[str, Any]:
    return ask(str(pool.folder / "ctl"), line, 60)


def told_later(pool: DummyPool, line: str) -> tuple[threading.Thread, list[dict[str, Any]]]:
    """Ask in a thread; the answer is in the list once the thread has ended."""
    answers: list[dict[str, Any]] = []
    asking = threading.Thread(target=lambda: answers.append(tell(pool, line)))
    asking.start()
    return asking, answers


# What they do.


def test_status_tells_of_the_pool_and_each_slot(start: Start) -> None:
    """Without any HTTP, straight from the supervisor."""
    pool = start(workers=2)
    pool.tell(1, "sleep", 20)
    status = tell(pool, "status")
    assert status["said"].startswith("running, 2 of 2 workers ready")
    assert (status["mode"], status["paused"], status["pid"]) == ("running", False, pool.pid)
    first = status["workers"][0]
    assert (first["slot"], first["state"], first["phase"], len(status["workers"])) == (1, "busy", "sleep", 2)


def test_scale_sets_the_number_of_slots(start: Start) -> None:
    """To what was asked for, whatever it was; what can't be is refused with the reason."""
    pool = start(workers=2)
    assert tell(pool, "scale 4")["said"] == "4 workers from now on"
    pool.wait_rows(lambda rows: [row["state"] for row in rows.values()] == ["idle"] * 4)
    assert tell(pool, "scale 1")["ok"]
    pool.wait_rows(lambda rows: sorted(rows) == [1])
    for wrong in ("scale 0", "scale", "scale 5000", "scale four", "scale -1"):
        assert "from 1 to" in tell(pool, wrong)["error"]
    assert pool.page()["configured"] == 1


def test_pause_and_resume(start: Start) -> None:
    """As TSTP and CONT do, and it can be seen."""
    pool = start()
    assert tell(pool, "pause")["ok"]
    assert pool.page()["paused"]
    assert tell(pool, "status")["said"].endswith(", paused")
    assert tell(pool, "resume")["ok"]
    assert not pool.page()["paused"]


def test_stacks_go_to_who_asks(start: Start) -> None:
    """Each with its slot, process, phase and item, the innermost frame first; the log has none. Also asked again."""
    pool = start()
    pool.tell(1, "sleep", 20)
    for _ in range(2):
        answer = tell(pool, "stacks")
        assert answer["ok"] and answer["said"] == "stacks of 2 workers"
        first, second = answer["stacks"]
        assert (first["slot"], first["pid"]) == (1, pool.worker(1))
        assert (first["item"], first["phase"]) == ("sleep item", "sleep")
        assert " in take\n" in first["stack"] and first["stack"].endswith(" in <module>")
        assert second["slot"] == 2 and " in work\n" in second["stack"] and " in sleep\n" not in second["stack"]
    assert not pool.lines("slot.stack") and "most recent call first" not in pool.stderr


def test_the_stack_of_one_slot(start: Start) -> None:
    """A slot that is not there is an error."""
    pool = start(workers=2)
    pool.tell(2, "sleep", 20)
    (only,) = tell(pool, "stacks 2")["stacks"]
    assert only["slot"] == 2 and " in take\n" in only["stack"]
    for wrong in ("7", "x", "-1"):
        assert tell(pool, f"stacks {wrong}")["error"] == f"there is no worker in slot {wrong}"


def test_stacks_of_several_askers_and_of_a_stopped_worker(start: Start) -> None:
    """One that can't write is not waited for long, and it is said why there is nothing; nobody gets another's."""
    pool = start(workers=2)
    pool.tell(1, "spin", 20)  # in C, with the interpreter's lock
    pool.wait_rows(lambda rows: rows[1]["phase"] == "spinning")
    os.kill(pool.worker(2), signal.SIGSTOP)
    with ThreadPoolExecutor(3) as askers:
        answers = list(askers.map(lambda line: tell(pool, line), ("stacks", "stacks 1", "stacks")))
    os.kill(pool.worker(2), signal.SIGCONT)
    assert [[one["slot"] for one in answer["stacks"]] for answer in answers] == [[1, 2], [1], [1, 2]]
    assert all("in spin_in_c\n" in answer["stacks"][0]["stack"] for answer in answers)
    assert answers[0]["stacks"][1]["stack"].endswith("(process state T)")


def test_drain_is_never_taken_for_a_hurry(start: Start) -> None:
    """Asked for again and again, what is in hand is still finished; all else is refused meanwhile."""
    pool = start()
    pool.tell(1, "hold")
    assert tell(pool, "drain")["ok"]
    assert tell(pool, "drain")["ok"]
    assert {tell(pool, line)["error"] for line in ("reload", "scale 2", "pause", "resume")} == {"the pool is draining"}
    assert tell(pool, "status")["mode"] == "draining"
    pool.let_go()
    assert pool.wait() == 0
    assert pool.lines("done", slot=1)
    assert not pool.lines("pool.hurried")
    assert not (pool.folder / "ctl").exists()


def test_what_is_not_known_is_refused_and_the_known_listed(start: Start) -> None:
    """Also a known one with something behind it."""
    pool = start()
    for wrong in ("fly", "drain now", "status now", "", "scale 1 2", "\N{SNOWMAN}"):
        assert not tell(pool, wrong)["ok"]
    assert "known: drain, reload, scale N, pause, resume, stacks [N], level NAME, status" in tell(pool, "fly")["error"]


def test_who_commanded_what_is_logged(start: Start) -> None:
    """With the client's pid and user, as the kernel says them."""
    pool = start()
    tell(pool, "pause")
    said = pool.wait_for("pool.commanded", command="pause")
    assert (said["client_pid"], said["client_uid"]) == (os.getpid(), os.geteuid())


# What a reload answers.


def test_reload_answers_when_the_settings_are_checked(start: Start) -> None:
    """Not when the roll has ended: it waits for an item."""
    pool = start(workers=1, colour="red")
    pool.tell(1, "hold")
    pool.configure(workers=1, colour="blue")
    assert tell(pool, "reload")["said"] == "settings checked, replacing 1 worker"
    assert not pool.lines("done", slot=1)
    pool.let_go()
    pool.wait_for("pool.reloaded")
    assert pool.lines("done", slot=1)


def test_reload_fails_with_the_reason_where_settings_are_bad(start: Start) -> None:
    """And nothing has changed."""
    pool = start(colour="red")
    before = pool.page()
    pool.configure(refuse="WORKERS: it is no number")
    assert tell(pool, "reload") == {"ok": False, "error": "WORKERS: it is no number"}
    wait_until(lambda: pool.page() == before, 5, "it is running as before")


def test_reload_during_a_roll_is_checked_at_once(start: Start) -> None:
    """A roll waits for items; who reloads again is not kept waiting, and the newest settings win."""
    pool = start(workers=2, colour="red")
    pool.tell(1, "hold")
    pool.configure(workers=2, colour="blue")
    assert tell(pool, "reload")["ok"]
    pool.wait_for("up", slot=2, colour="blue")
    pool.configure(refuse="LEASE: too short")
    assert tell(pool, "reload")["error"] == "LEASE: too short"
    pool.configure(workers=2, colour="green")
    assert tell(pool, "reload")["ok"]
    assert not pool.lines("done", slot=1), "the first roll is still waiting"
    pool.let_go()
    pool.wait_for("pool.reloaded")
    assert {line["slot"]: line["colour"] for line in pool.lines("up")} == {1: "green", 2: "green"}


def test_reload_that_goes_wrong_goes_back_past_all_that_were_on_their_way(start: Start) -> None:
    """To the settings that had worked, not to those of a roll that had not ended."""
    pool = start(workers=2, colour="red")
    pool.tell(1, "hold")
    pool.configure(workers=2, colour="blue")
    assert tell(pool, "reload")["ok"]
    pool.wait_for("up", slot=2, colour="blue")
    pool.configure(workers=2, colour="green", boot="exit:78")
    assert tell(pool, "reload")["ok"]
    assert not pool.lines("done", slot=1), "the first roll is still waiting"
    pool.let_go()
    pool.wait_for("pool.reload_abandoned")
    pool.wait_for("pool.reloaded")
    assert {line["slot"]: line["colour"] for line in pool.lines("up")} == {1: "red", 2: "red"}


def test_reload_while_starting_waits_until_all_are_up(start: Start) -> None:
    """Then the settings are read; draining before that answers too."""
    pool = start(ready=False, workers=1, boot="slow:1")
    pool.wait_for("pool.starting")
    wait_until((pool.folder / "ctl").exists, 5, "the socket")
    asking, answers = told_later(pool, "reload")
    asking.join(60)
    assert answers[0]["ok"]
    assert pool.lines("pool.ready")


def test_drain_answers_those_who_wait_for_a_reload(start: Start) -> None:
    """Nobody is left hanging."""
    pool = start(ready=False, workers=1, boot="slow:60")
    wait_until((pool.folder / "ctl").exists, 5, "the socket")
    pool.wait_for("pool.starting")
    asking, answers = told_later(pool, "reload")
    pool.wait_for("pool.commanded", command="reload")
    pool.signal(signal.SIGTERM)
    asking.join(60)
    assert answers == [{"ok": False, "error": "the pool is draining"}]
    assert pool.wait() == 0


# The socket.


def test_successor_takes_commands_when_it_is_ready(start: Start) -> None:
    """The old pool until then, the new one from then on; and the file stays."""
    pool = start(workers=1)
    pool.tell(1, "hold")
    pool.configure(workers=1, boot="until:told")
    pool.signal(signal.SIGUSR2)
    heir = int(pool.wait_for("upgrade.started")["pid"])
    try:
        assert tell(pool, "status")["pid"] == pool.pid
        (pool.folder / "told").touch()
        pool.wait_for("pool.draining")
        assert tell(pool, "status")["pid"] == heir
        pool.let_go()
        assert pool.wait() == 0
        assert tell(pool, "status")["pid"] == heir
        tell(pool, "drain")
        wait_until(lambda: not (pool.folder / "ctl").exists(), 10, "the socket to go")
    finally:
        if alive(heir):
            os.kill(heir, signal.SIGTERM)
        wait_until(lambda: not alive(heir), 10, "the successor to end")


def test_rude_clients_do_not_hold_the_pool_up(start: Start) -> None:
    """Those who say nothing, too much, or hang up; and more of them than there are places."""
    pool = start()
    with ExitStack() as stack:
        for number in range(CLIENTS + 8):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(pool.folder / "ctl"))
            if number % 3 == 0:
                client.sendall(b"x" * 1000)
            elif number % 3 == 1:
                client.sendall(b"sta")
        assert tell(pool, "status")["ok"]
    assert tell(pool, "status")["ok"]
    holds_for(lambda: pool.page()["mode"] == "running", 0.2)


def test_full_queue_is_waited_in_and_belongs_to_somebody(folder: Path) -> None:
    """More clients than the kernel queues are not turned away at once, and a queue that is full is no dead pool's."""
    path = folder / "ctl"
    with ExitStack() as stack:
        listener = stack.enter_context(listen(str(path)))
        for _ in range(CLIENTS + 1):
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
        with pytest.raises(TimeoutError):
            ask(str(path), "status", 0.1)
        with pytest.raises(OSError, match="in use"):
            listen(str(path))
        asking = threading.Thread(target=answer_last, args=(listener, CLIENTS + 2))
        asking.start()
        assert ask(str(path), "status", 10) == {"ok": True}
        asking.join()


def answer_last(listener: socket.socket, clients: int) -> None:
    """Take that many clients, and answer the last one."""
    for number in range(clients):
        client, _ = listener.accept()
        with client:
            if number == clients - 1:
                assert client.recv(100) == b"status\n"
                client.sendall(b'{"ok": true}\n')


def test_file_is_private_and_a_dead_pools_is_replaced(folder: Path) -> None:
    """A socket that nobody listens at any more is in nobody's way; one with a living pool stays its own."""
    path = folder / "ctl"
    listen(str(path)).close()
    made = listen(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(OSError, match="in use"):
        listen(str(path))
    made.close()


def test_file_goes_with_the_last_who_listens(folder: Path) -> None:
    """Whichever of an old pool and its successor ends first, the other is still found."""
    path = folder / "ctl"
    listener = listen(str(path))
    old, heir = ControlSocket(listener.dup()), ControlSocket(listener.dup(), open_now=False)
    listener.close()
    heir.open()
    heir.close()
    assert path.exists()
    old.close()
    assert not path.exists()


def test_after_a_successor_that_was_killed_the_place_is_free(folder: Path) -> None:
    """A pool that has handed over and still drains does not keep it from the next one."""
    path = folder / "ctl"
    listener = listen(str(path))
    old = ControlSocket(listener.dup())
    old.shut()
    listener.close()
    listen(str(path)).close()
    old.close()
    assert not path.exists()


@pytest.fixture
def control(folder: Path) -> Iterator[ControlSocket]:
    made = ControlSocket(listen(str(folder / "ctl")))
    yield made
    made.close()


def test_a_client_that_has_no_time_left_is_hung_up_on(folder: Path) -> None:
    """Its place is for others."""
    now = [0.0]
    control = ControlSocket(listen(str(folder / "ctl")), clock=lambda: now[0])
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(folder / "ctl"))
        assert control.read() == []
        now[0] = 6.0
        assert control.read() == []
        assert client.recv(10) == b""
    control.close()


def test_an_answer_of_any_size_arrives(folder: Path, control: ControlSocket) -> None:
    """Larger than what the kernel takes at once."""
    answers: list[dict[str, object]] = []
    asking = threading.Thread(target=lambda: answers.append(ask(str(folder / "ctl"), "status", 20)))
    asking.start()
    calls = wait_until(control.read, 10, "the command")
    control.answer(calls[0], text="x" * 3_000_000)
    wait_until(lambda: control.read() or not asking.is_alive(), 20, "the answer to be read")
    assert len(str(answers[0]["text"])) == 3_000_000


def test_whoever_asked_and_left_harms_nobody(folder: Path, control: ControlSocket) -> None:
    """The answer goes nowhere."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(folder / "ctl"))
        client.sendall(b"reload\n")
        calls = wait_until(control.read, 10, "the command")
    control.answer(calls[0], said="checked")
    control.answer(calls[0], said="twice")
    assert control.read() == []
