"""The shared table: across forks, across deaths in the middle of a write, and fast."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from supervisor.scoreboard.cells import Choice, Flag, Number
from supervisor.scoreboard.discovery import pools_here
from supervisor.scoreboard.item_record import HELD_LIMIT
from supervisor.scoreboard.row import WORDS, Row
from supervisor.scoreboard.scoreboard import HEAD_WORDS, REASON_LIMIT, Head, Progress, Scoreboard
from tests.kit import wait_until
from tests.kit.effort import tries


def in_child(act: Callable[[], object]) -> int:
    """Run *act* in a forked child; returns its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
        finally:
            os._exit(0)
    return pid


def test_child_writes_and_parent_reads(board: Scoreboard) -> None:
    """What a forked worker says about its item is seen by everybody at once."""
    row = board.place(3)
    deadline_ns = time.monotonic_ns() + 10**9

    def work() -> None:
        row.begin("stream 1-0 1", "graph/node", "llm", deadline_ns)
        row.counters.add(b"items", 2.5)

    os.waitpid(in_child(work), 0)
    assert (row.state, row.held, row.item, row.phase) == ("busy", "stream 1-0 1", "graph/node", "llm")
    assert (row.item_deadline_ns, row.deadline_ns, row.on_deadline) == (deadline_ns, deadline_ns, "node_timeout")
    assert row.counters.items() == {b"items": 2.5}


def test_end_leaves_nothing_in_hand(board: Scoreboard) -> None:
    """After an item nothing of it is left, and it is counted."""
    row = board.place(1)
    row.begin("held", "item", "llm", 99)
    row.end()
    assert (row.state, row.held, row.item, row.phase) == ("idle", "", "", "waiting")
    assert (row.item_deadline_ns, row.deadline_ns, row.items_done) == (0, 0, 1)
    row.begin("held", "item", "llm", 99)
    row.end(done=False)
    assert row.items_done == 1


def test_progress_is_that_of_the_run(board: Scoreboard) -> None:
    """What was shown of a run is not taken for the next one's, and ends with it."""
    row = board.place(1)
    shown = Progress("agent", 2, 10, 99)
    assert row.progress == Progress()
    row.begin_run("g/n", "running", 0, "")
    row.show(*shown)
    assert row.progress == shown
    row.end_run()
    assert row.progress == Progress()
    row.begin_run("g/n", "running", 0, "")
    assert row.progress == Progress()


@pytest.mark.parametrize(
    ("phase_deadline", "expected"),
    [(0, (500, "node_timeout")), (400, (400, "tool_timeout")), (600, (500, "node_timeout"))],
)
def test_phase_never_outlives_its_item(board: Scoreboard, phase_deadline: int, expected: tuple[int, str]) -> None:
    """The nearer of the phase's and the item's deadline holds, with its own failure_code."""
    row = board.place(1)
    row.begin("held", "item", "starting", 500)
    row.enter("tool:x", phase_deadline, "tool_timeout")
    assert (row.deadline_ns, row.on_deadline) == expected


def test_asked_to_leave_shows_as_draining(board: Scoreboard) -> None:
    """A worker that was asked to leave is draining for everybody, and still busy or idle by its own account."""
    row = board.place(1)
    row.begin("held", "item", "llm")
    row.leaving = True
    assert (row.state, row.activity) == ("draining", "busy")
    row.state = "dead"
    assert row.state == "dead"


def test_next_worker_finds_what_was_held(board: Scoreboard) -> None:
    """A new worker starts with a clean row, but for what its predecessor held and was condemned for."""
    row = board.place(1)
    row.begin("held", "item", "llm", 99)
    row.wants_replacement = row.leaving = True
    row.record_kill("node_timeout", row.held)
    row.reset()
    assert (row.state, row.generation, row.deadline_ns) == ("starting", 1, 0)
    assert not row.wants_replacement
    assert not row.leaving
    assert (row.held, row.failure_code, row.killed_for) == ("held", "node_timeout", "held")
    row.clear_kill()
    assert (row.failure_code, row.killed_for) == ("", "")


def test_long_texts_are_cut_between_characters(board: Scoreboard) -> None:
    """A text for people is shortened; half a `held` would be worse than none, so that is refused."""
    row = board.place(1)
    row.begin("held", "ä" * 200, "phase" * 100)
    assert row.item == "ä" * 127
    assert row.phase == ("phase" * 100)[:71]
    with pytest.raises(ValueError, match="held is 256 bytes"):
        row.begin("x" * (HELD_LIMIT + 1), "item", "phase")
    assert row.held == "held"


def test_texts_may_hold_anything(board: Scoreboard) -> None:
    """NUL bytes and lone surrogates in names do no harm."""
    row = board.place(1)
    row.begin("a\0b", "\ud800 and \0", "tool:\0")
    assert row.held == "a\0b"
    assert row.item == "? and \0"
    assert row.phase == "tool:\0"


def test_reader_never_sees_half_a_write_of_a_killed_writer(board: Scoreboard) -> None:
    """However often a writer is killed in the middle of its writing, what is read was written in one piece."""
    row = board.place(1)

    def write_forever() -> None:
        number = 0
        while True:
            number += 1
            letter = chr(ord("a") + number % 26)
            row.begin(letter * 200, letter * 200, letter * 60, number)
            row.enter(letter * 50, number)
            row.record_kill(letter * 30, letter)

    for _ in range(tries(30)):
        row.begin("a" * 200, "a" * 200, "a" * 60, 1)
        pid = in_child(write_forever)
        before = row.item_deadline_ns
        wait_until(lambda: row.item_deadline_ns > before + 50, 10, "the writer to get going")  # noqa: B023
        for _ in range(50):
            assert_whole(row.held, row.item, row.phase, row.failure_code)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert_whole(row.held, row.item, row.phase, row.failure_code)
        assert row.held == row.item


def assert_whole(*texts: str) -> None:
    for text in texts:
        assert len(set(text)) <= 1, f"two writes are mixed: {text}"


def test_totals_survive_their_worker(board: Scoreboard) -> None:
    """A successor goes on adding where a killed worker has stopped, also under keys the parent never saw."""
    row = board.place(1)
    row.counters.add(b"parent", 1)

    def add_both() -> None:
        row.counters.add(b"child", 1)
        row.counters.add(b"parent", 1)

    for _ in range(3):
        os.waitpid(in_child(add_both), 0)
    assert row.counters.items() == {b"parent": 4, b"child": 3}
    assert row.counters.get(b"child") == 3
    assert row.counters.get(b"nobody") == 0


def test_totals_are_exact_under_kills(board: Scoreboard) -> None:
    """Killing the adder at any moment loses nothing and invents nothing: at most the one addition under way."""
    row = board.place(1)

    def add_forever() -> None:
        number = 0
        while True:
            row.counters.add(b"key %d" % (number % 50), 1)
            row.items_done += 1
            number += 1

    for _ in range(tries(20)):
        pid = in_child(add_forever)
        before = row.items_done
        wait_until(lambda: row.items_done > before + 100, 10, "some additions")  # noqa: B023
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    total = sum(row.counters.items().values())
    assert row.items_done <= total <= row.items_done + 20
    assert set(row.counters.items()) == {b"key %d" % number for number in range(50)}


def test_full_totals_refuse_new_keys_only() -> None:
    """Without room for one more key, its additions are counted as refused and the known ones go on."""
    board = Scoreboard(capacity=1, counters_bytes=4096)
    counters = board.place(1).counters
    for number in range(100):
        counters.add(b"key %d" % number, 1)
    known = len(counters.items())
    assert 10 < known < 100
    assert counters.refused == 100 - known
    counters.add(b"key 0", 1)
    assert counters.get(b"key 0") == 2
    long_board = Scoreboard(capacity=1, counters_bytes=4096)
    long_board.place(1).counters.add(b"x" * 5000, 1)
    assert long_board.row(1).counters.refused == 1
    board.close()
    long_board.close()


def test_totals_of_removed_slots_count_on(board: Scoreboard) -> None:
    """A total never falls because the pool was made smaller."""
    board.place(1)
    board.place(2).counters.add(b"items", 3)
    board.remove(2)
    assert [row.slot for row in board.rows()] == [1]
    assert sum(area.items().get(b"items", 0) for area in board.all_counters()) == 3
    assert board.place(2).counters.get(b"items") == 3


def test_wake_reaches_a_forked_worker(board: Scoreboard) -> None:
    """Ringing a slot wakes whoever polls its descriptor, once."""
    row = board.place(1)

    def wait() -> None:
        poll = select.poll()
        poll.register(row.wake_fd, select.POLLIN)
        row.state = "idle"
        if poll.poll(5000) and row.clear_wake() and not row.clear_wake():
            row.state = "busy"

    pid = in_child(wait)
    wait_until(lambda: row.state == "idle", 5, "the child to wait")
    row.wake()
    os.waitpid(pid, 0)
    assert row.state == "busy"


def test_wake_of_a_younger_slot_goes_by_the_supervisor(board: Scoreboard) -> None:
    """A process forked before a slot was opened has no bell for it, so it asks the supervisor to ring."""
    board.place(1)
    late = 1 + 12  # beyond those made ahead

    def ring() -> None:
        wait_until(lambda: board.row(late).placed, 5, "the late slot")
        board.row(late).wake()

    pid = in_child(ring)
    row = board.place(late)
    os.waitpid(pid, 0)
    assert board.event_fd.clear()
    assert not row.clear_wake()
    board.wakeups.pass_on()
    assert row.clear_wake()


def test_slots_number_on_beside_a_predecessor() -> None:
    """A successor's slots have other numbers; the table ends where it ends."""
    board = Scoreboard(capacity=4, first_slot=6)
    board.place(6)
    board.place(9)
    assert [row.slot for row in board.rows()] == [6, 9]
    for wrong in (5, 10):
        with pytest.raises(IndexError):
            board.row(wrong)
    board.close()


def test_reason_is_read_back_whole(board: Scoreboard) -> None:
    """Why a child can't start reaches the supervisor, cut to what fits."""
    board.head.reason = "LLM_API_KEY: it is missing. ü"
    assert board.head.reason == "LLM_API_KEY: it is missing. ü"
    board.head.reason = "x" * 5000
    assert board.head.reason == "x" * REASON_LIMIT


def test_run_has_a_name_of_its_own(board: Scoreboard) -> None:
    """What is said of one run is not said of the next; where it can't be watched from outside its worker is told."""
    row = board.place(1)
    first = row.begin_run("g/n", "running", 0, "dago:state:ü")
    assert (row.run, row.watched, row.unwatched_run) == (first, "dago:state:ü", 0)
    row.stop_run = first
    over = row.run_is_over
    row.end_run()
    ended = row.run_is_over
    second = row.begin_run("g/n", "running", 0, "x" * 511)
    assert (over, ended, row.run_is_over) == (True, False, False) and second != first
    assert (row.watched, row.unwatched_run) == ("", second)


def test_pool_remembers_its_groups_by_their_streams(board: Scoreboard) -> None:
    """Other settings name other streams: of those it knows nothing."""
    head = board.head
    assert not head.knows_groups(()) and not head.knows_groups(("a", "b"))
    head.note_groups(("a", "b"))
    assert head.knows_groups(("a", "b")) and not head.knows_groups(("a", "b", "c"))


@pytest.mark.parametrize(("kind", "words"), [(Head, HEAD_WORDS), (Row, WORDS)])
def test_no_two_cells_share_a_word(kind: type, words: int) -> None:
    """Else whoever writes the one spoils the other."""
    named = [item for part in kind.__mro__ for item in vars(part).items()]
    cells = {name: cell.at for name, cell in named if isinstance(cell, Number | Flag | Choice)}
    assert len(set(cells.values())) == len(cells) > 5, cells
    assert all(0 <= at < words for at in cells.values()), cells


def test_run_goes_on_unless_something_speaks_against_it(board: Scoreboard) -> None:
    """Its lease holds, the item is not lost, and nobody has said that this very run is to end."""
    row = board.place(1)
    row.begin("held", "", "preparing")
    run = row.begin_run("g/n", "running", 900, "")
    assert (row.held, row.item, row.phase, row.item_deadline_ns, row.deadline_ns) == (
        "held",
        "g/n",
        "running",
        900,
        900,
    )
    row.lease_until_ns = 500
    asked: tuple[Callable[[int, int], bool], ...] = (row.goes_on, row.may_begin)
    row.unwatched_run = 0
    for may in asked:
        assert may(run, 500) and not may(run, 501)
    row.lost = True
    assert not any(may(run, 1) for may in asked)
    row.lost, row.stop_run = False, run
    assert not any(may(run, 1) for may in asked) and all(may(run + 1, 1) for may in asked)


def test_run_that_is_not_watched_begins_no_step_before_its_worker_has_looked(board: Scoreboard) -> None:
    """It goes on in the midst of a step, or would look at a large document again and again."""
    row = board.place(1)
    row.begin("held", "", "preparing")
    row.lease_until_ns = 500
    run = row.begin_run("g/n", "running", 900, "dago:state:g")
    assert row.may_begin(run, 1)
    row.unwatched_run = run
    assert row.goes_on(run, 1) and not row.may_begin(run, 1)


def test_a_table_without_a_name_is_no_pool() -> None:
    """A pool has its name before it has a supervisor; what is found here is asked for by that."""
    made = Scoreboard(2)
    try:
        made.head.supervisor_pid = os.getpid()
        assert own_pool() is None
        made.head.introduce("one", "", 0)
        assert own_pool() == "one"
    finally:
        made.close()


def own_pool() -> str | None:
    """The name under which this process is found."""
    with suppress(ValueError), pools_here() as boards:  # there may be others here, of another version
        return boards[os.getpid()].head.name if os.getpid() in boards else None
    return None
