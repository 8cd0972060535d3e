"""Logs: one whole line for each fact, whoever writes, whatever becomes of where it goes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from executor_worker.telemetry.logs import lines
from executor_worker.telemetry.logs.lines import Line
from executor_worker.telemetry.logs.secrets import Secrets
from executor_worker.telemetry.logs.target import PIPE_LINE_BYTES, Target
from tests.kit import Stopwatch

NOON = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


def line(**fields: Any) -> Line:
    return Line(NOON, "info", "slot.ready", fields)


def python(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run *code* in a Python of its own, which has configured its logs as *configure* says."""
    configure = options.pop("configure", "")
    head = f"import os, sys\nfrom executor_worker.telemetry import logs\nlogs.configure({configure})\n"
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 30, "check": False}
    return subprocess.run([sys.executable, "-c", head + code], **{**settings, **options})


def logged(text: str) -> list[dict[str, Any]]:
    return [json.loads(one) for one in text.splitlines()]


def test_json_lines_have_time_level_event_and_the_fields() -> None:
    """In this order; fields can't take the place of the first three."""
    assert lines.as_json(line(slot=3, text="ü\n", time="never", nothing=None, path=Path("/x"))) == (
        b'{"time":"2026-11-21T12:00:00.123Z","level":"info","event":"slot.ready",'
        b'"slot":3,"text":"\xc3\xbc\\n","nothing":null,"path":"/x"}\n'
    )


@pytest.mark.parametrize("value", [10**30, "\ud800", float("nan"), {1: {"a": b"x"}}, object, b"\xff"])
def test_any_value_can_be_logged(value: Any) -> None:
    """Huge integers, lone surrogates, NaN, things that are no JSON at all."""
    assert json.loads(lines.as_json(line(value=value)))["event"] == "slot.ready"
    assert lines.as_text(line(value=value)).endswith(b"\n")


def test_text_lines_can_be_taken_apart_again() -> None:
    """Words stand bare, all else in quotes, and nothing that a payload brings starts a new line."""
    text = lines.as_text(line(slot=3, ok=True, said='two "words"', end="\x1b[2J\n", none=None, empty="")).decode()
    assert text == (
        "2026-11-21T12:00:00.123Z info  slot.ready slot=3 ok=true"
        ' said="two \\"words\\"" end="\\u001b[2J\\n" none=null empty=""\n'
    )


def test_journal_lines_have_a_priority() -> None:
    """systemd takes it off again; the time is its own."""
    assert lines.as_journal(line(slot=3)) == b"<6>slot.ready slot=3\n"
    assert lines.as_journal(Line(NOON, "error", "x", {})).startswith(b"<3>")


@pytest.mark.parametrize("render", [lines.as_json, lines.as_text])
@pytest.mark.parametrize("text", ["y" * 100_000, "\x00" * 100_000, "ü" * 100_000, '"' * 100_000])
def test_long_fields_are_cut_where_a_line_must_be_short(render: lines.Render, text: str) -> None:
    """The other fields and the line itself stay whole."""
    short = lines.within(4096, line(slot=3, long=text, longer=[text]), render)
    assert len(short) <= 4096
    assert short.endswith(b"\n")
    assert b"slot" in short
    if render is lines.as_json:
        assert json.loads(short)["slot"] == 3


def test_lines_of_too_many_fields_are_given_up_whole() -> None:
    """Even then the event is told."""
    many = {f"field_{number}": number for number in range(1000)}
    short = json.loads(lines.within(4096, line(**many), lines.as_json))
    assert (short["event"], short["cut"]) == ("slot.ready", True)


def test_secrets_are_replaced_wherever_they_stand() -> None:
    """In texts, in nested values, in keys, escaped for JSON or for a URL."""
    secrets = Secrets()
    secrets.add('pass"word/ü', "longer-secret", "longer-secret-still", "ab", "")
    seen = secrets.out_of(
        {
            "plain": 'is pass"word/ü.',
            "json": json.dumps('pass"word/ü'),
            "url": "redis://:pass%22word%2F%C3%BC@host",
            "nested": [{"longer-secret": ("longer-secret-still", 3, None)}],
            "short": "ab",
            "cab": "cabs stay cabs",
        }
    )
    assert seen == {
        "plain": "is ***.",
        "json": '"***"',
        "url": "redis://:***@host",
        "nested": [{"***": ["***", 3, None]}],
        "short": "***",
        "cab": "cabs stay cabs",
    }


def test_short_secrets_are_not_taken_out_of_other_words() -> None:
    """Where they stand alone they are; what is shorter still only as a whole value."""
    secrets = Secrets()
    secrets.add("test", "redis-1", "abc")
    seen = {"words": "the latest testing of redis-10", "alone": "redis://:test@host by 'redis-1'", "value": "abc"}
    seen |= {"short": "abc of it", "event": "tested"}
    assert secrets.out_of(seen) == {
        "words": "the latest testing of redis-10",
        "alone": "redis://:***@host by '***'",
        "value": "***",
        "short": "abc of it",
        "event": "tested",
    }


def test_empty_fields_are_left_out() -> None:
    """What says nothing; no and nought say something."""
    code = "logs.info('x.happened', text='', nothing=None, few=[], pairs={}, no=False, nought=0, space=' ')"
    (line,) = [one for one in logged(python(code).stderr) if one["event"] == "x.happened"]
    assert {name: value for name, value in line.items() if name not in ("time", "level", "event")} == {
        "no": False,
        "nought": 0,
        "space": " ",
    }


def test_a_reader_that_stands_still_costs_lines_and_no_time() -> None:
    """A full pipe is waited for once; when it is read again, what was lost is said."""
    reader, writer = os.pipe()
    started = Stopwatch()
    try:
        target = Target(writer, lambda count: b"lost %d\n" % count)
        for _ in range(100):
            target.write(b"x" * 4000 + b"\n")
        assert target.lost > 50
        assert started.own_s() < 1
        os.set_blocking(reader, False)
        while True:
            try:
                os.read(reader, 1 << 20)
            except BlockingIOError:
                break
        lost = target.lost
        target.write(b"again\n")
        assert os.read(reader, 1000) == b"lost %d\nagain\n" % lost
        target.close()
    finally:
        os.close(reader)
        os.close(writer)


def test_a_pipe_that_is_closed_does_not_matter() -> None:
    """Nor a descriptor that is closed."""
    reader, writer = os.pipe()
    target = Target(writer)
    os.close(reader)
    target.write(b"nobody\n")
    target.close()
    os.close(writer)
    assert target.lost == 1
    Target(writer).write(b"nothing\n")


def test_a_full_disk_does_not_matter() -> None:
    """`/dev/full` answers every write with ENOSPC."""
    done = python("logs.info('x.happened'); print('went on')", configure="file='/dev/full'")
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")


def test_a_closed_stderr_does_not_matter() -> None:
    """The program goes on, and whatever opens that number next is not written to."""
    done = python("logs.info('x.happened'); print('went on')", preexec_fn=lambda: os.close(2), stderr=None)
    assert (done.returncode, done.stdout) == (0, "went on\n")


def test_pipes_get_json_by_default_and_text_when_asked() -> None:
    """A terminal is asked first; a pipe is none."""
    assert logged(python("logs.warning('x.happened', a=1)").stderr)[0]["level"] == "warn"
    text = python("logs.warning('x.happened', a=1)", configure="style='text'").stderr
    assert " warn  x.happened a=1\n" in text


def test_levels_below_the_one_asked_for_are_left_out() -> None:
    """debug, info, warn, error."""
    code = "for level in ('debug', 'info', 'warn', 'error'): logs.log(level, level)"
    assert [one["event"] for one in logged(python(code, configure="'warn'").stderr)] == ["warn", "error"]


def test_a_level_that_is_followed_goes_before_the_one_asked_for() -> None:
    """It may change between two lines; where it says nothing, the one asked for counts."""
    code = """
told = [0]
logs.configure("info")
logs.follow(told, 0, ("", "debug", "info", "warn", "error"))
logs.debug("a.happened")
told[0] = 1
logs.debug("b.happened")
told[0] = 4
logs.info("c.happened")
loguru.logger.warning("d.happened")
logs.configure("warn")
logs.error("e.happened")
told[0] = 0
logs.info("f.happened")
logs.warning("g.happened")
"""
    said = python("import loguru\n" + code).stderr.splitlines()
    assert [json.loads(line)["event"] for line in said] == ["b.happened", "e.happened", "g.happened"]


def test_bound_fields_stand_on_every_line_and_context_inside() -> None:
    """What a process is, and what it is doing."""
    code = """
logs.bind(worker_id="w", slot=2)
with logs.context(graph="g", node="n"):
    logs.info("inside", node="m")
logs.info("outside")
"""
    inside, outside = logged(python(code).stderr)
    assert {key: inside[key] for key in ("worker_id", "slot", "graph", "node")} == {
        "worker_id": "w",
        "slot": 2,
        "graph": "g",
        "node": "m",
    }
    assert "graph" not in outside


def test_exceptions_are_told_by_type_and_place_not_by_what_they_say() -> None:
    """A message may quote a prompt: it is shown at level debug only."""
    code = """
def fail(prompt): raise ValueError(prompt)
try:
    fail("the secret prompt")
except ValueError as error:
    logs.log("error", "x.failed", exception=error)
"""
    (told,) = logged(python(code).stderr)
    assert told["error_type"] == "ValueError"
    assert "fail" in told["where"]
    assert "prompt" not in json.dumps(told).replace("fail(prompt)", "")
    assert logged(python(code, configure="'debug'").stderr)[0]["said"] == "the secret prompt"


def test_libraries_warnings_come_in_without_what_they_quote() -> None:
    """Their arguments may be payloads; at level debug all is said."""
    code = """
import logging, warnings
logging.getLogger("mcp.client").warning("got %s", "a payload")
logging.getLogger("mcp.client").warning(f"got {'a payload'}")
logging.getLogger("httpx2").info("not at all")
warnings.warn("old")
"""
    first, second, third = logged(python(code).stderr)
    assert (first["event"], first["logger"], first["template"]) == ("library.warning", "mcp.client", "got %s")
    assert "template" not in second
    assert third["logger"] == "py.warnings"
    shown = logged(python(code, configure="'debug'").stderr)
    assert [one["said"] for one in shown[:2]] == ["got a payload", "got a payload"]


def test_secrets_are_in_no_line_even_at_level_debug() -> None:
    """Those known from the start, and those met later."""
    code = """
logs.hide("token-met-later")
try:
    raise ValueError("Bearer sk-known-secret")
except ValueError as error:
    logs.log("error", "x.failed", exception=error, header={"Authorization": "Bearer token-met-later"})
"""
    said = python(code, configure="'debug', secrets=('sk-known-secret',)").stderr
    assert "sk-known-secret" not in said
    assert "token-met-later" not in said
    assert logged(said)[0]["header"] == {"Authorization": "Bearer ***"}


def test_a_log_file_is_reopened_under_its_number(tmp_path: Path) -> None:
    """After it was moved away; what is written past us goes to the new one too."""
    path = tmp_path / "log"
    code = f"""
logs.info("before")
os.rename({str(path)!r}, {str(path) + ".1"!r})
logs.info("still there")
logs.reopen()
logs.info("after")
os.write(logs.fileno(), b"stack\\n")
"""
    done = python(code, configure=f"file={str(path)!r}")
    assert done.stderr == ""
    assert [one["event"] for one in logged((tmp_path / "log.1").read_text())] == ["before", "still there"]
    after, stack = path.read_text().splitlines()
    assert (json.loads(after)["event"], stack) == ("after", "stack")


def test_a_file_that_can_not_be_reopened_is_kept(tmp_path: Path) -> None:
    """The old one goes on, and says why."""
    folder = tmp_path / "logs"
    folder.mkdir()
    code = f"""
os.rename({str(folder)!r}, {str(tmp_path / "moved")!r})
open({str(folder)!r}, "w").close()
logs.reopen()
logs.info("goes on")
"""
    python(code, configure=f"file={str(folder / 'log')!r}")
    told = logged((tmp_path / "moved" / "log").read_text())
    assert [one["event"] for one in told] == ["log.not_reopened", "goes on"]


def test_a_log_file_that_can_not_be_opened_is_a_wrong_setting(tmp_path: Path) -> None:
    """Named with the fix."""
    (tmp_path / "file").touch()
    done = python("", configure=f"file={str(tmp_path / 'file' / 'log')!r}")
    assert "ConfigError: LOG_FILE" in done.stderr


def test_a_log_file_of_the_day_follows_the_days(tmp_path: Path) -> None:
    """Each process goes over to the next day's file by itself, what is written past the logs too; folders are made."""
    name = str(tmp_path / "{date}" / "pool-{date}.log")
    code = """
import datetime
logs.info("one day")
logs._Sink.current[0]._day -= datetime.timedelta(1)
day = logs._Sink.current[0]._path_today()
os.makedirs(os.path.dirname(day))
os.rename(logs._Sink.current[0]._path.replace("{date}", datetime.datetime.now(datetime.UTC).date().isoformat()), day)
logs.info("next day")
logs.info("still")
os.write(logs.fileno(), b"stack\\n")
"""
    done = python(code, configure=f"file={name!r}")
    assert done.stderr == ""
    first, second = sorted(tmp_path.glob("*/pool-*.log"))
    assert first.parent.name == first.stem.removeprefix("pool-") < second.parent.name
    assert [one["event"] for one in logged(first.read_text())] == ["one day"]
    *told, stack = second.read_text().splitlines()
    assert [json.loads(one)["event"] for one in told] == ["next day", "still"] and stack == "stack"


@pytest.mark.parametrize("through", ["file", "pipe"])
def test_lines_of_many_processes_never_interleave(tmp_path: Path, through: str) -> None:
    """Eight processes, forked after the log was opened, write long and short lines at once."""
    path = tmp_path / "log"
    code = """
for number in range(8):
    if not os.fork():
        for count in range(200):
            logs.info("x.happened", process=number, count=count, text=str(number) * (count * 40))
        os._exit(0)
for _ in range(8):
    os.wait()
"""
    if through == "file":
        python(code, configure=f"file={str(path)!r}")
    else:
        with path.open("wb") as out:
            writer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_whole(code)!r}], stderr=1)"
            catcher = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=out)
            assert catcher.stdin is not None
            subprocess.run([sys.executable, "-c", writer], stdout=catcher.stdin, timeout=60, check=True)
            catcher.stdin.close()
            catcher.wait(30)
    told = [one for one in logged(path.read_text()) if one["event"] == "x.happened"]
    assert len(told) >= (1600 if through == "file" else 1)
    assert all(set(one.get("text", "")) <= {str(one["process"]), "…"} for one in told)
    if through == "pipe":
        assert all(len(raw) <= PIPE_LINE_BYTES for raw in path.read_bytes().splitlines())


def _whole(code: str) -> str:
    return f"import os\nfrom executor_worker.telemetry import logs\nlogs.configure()\n{code}"


def test_lines_under_journald_have_a_priority_only_where_it_reads() -> None:
    """JOURNAL_STREAM names device and inode of the descriptor that the journal reads."""
    code = """
seen = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{seen.st_dev}:{seen.st_ino}"
logs.configure(style="text")
logs.error("x.happened")
logs.configure(style="json")
logs.error("x.happened")
os.environ["JOURNAL_STREAM"] = "1:1"
logs.configure(style="text")
logs.error("x.happened")
"""
    first, as_json, second = python(code).stderr.splitlines()
    assert first == "<3>x.happened"
    assert as_json.startswith("<3>") and json.loads(as_json[3:])["event"] == "x.happened"
    assert not second.startswith("<")


def test_a_terminal_gets_coloured_text() -> None:
    """People look at it; LOG_FORMAT=json is obeyed all the same, NO_COLOR too."""
    master, slave = os.openpty()
    try:
        python("logs.info('x.happened', a=1)", stderr=slave)
        assert b"\x1b[1mx.happened\x1b[0m" in os.read(master, 4096)
        python("logs.info('x.happened')", configure="style='json'", stderr=slave)
        assert os.read(master, 4096).startswith(b'{"time"')
        python("logs.info('x.happened')", stderr=slave, env={**os.environ, "NO_COLOR": "1"})
        assert b"\x1b" not in os.read(master, 4096)
    finally:
        os.close(master)
        os.close(slave)


def test_a_socket_that_nobody_reads_is_not_waited_for_either() -> None:
    """journald hands a socket to those it reads."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        target = Target(ours.fileno(), lambda count: b"lost %d\n" % count)
        for _ in range(2000):
            target.write(b"x" * 3000 + b"\n")
        assert target.lost > 0
        assert theirs.recv(10) == b"x" * 10
        target.close()
