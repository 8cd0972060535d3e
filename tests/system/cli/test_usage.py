"""Help, wrong usage, wrong settings, and leaving early: what every command has in common."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit import PROGRAM, RedisServer
from tests.system.cli.conftest import Run, environment

COMMANDS = ("run", "work", "demo", "once", "submit", "status", "top", "ctl", "health", "dead", "tools", "check")
ACTIONS = (
    "dead list",
    "dead show",
    "dead requeue",
    "dead drop",
    "tools list",
    "tools call",
    "ctl drain",
    "ctl scale",
    "ctl status",
)


@pytest.mark.parametrize("command", [*COMMANDS, *ACTIONS])
def test_every_command_has_help(run: Run, command: str) -> None:
    """What it does and what it takes; commands with examples."""
    done = run(*command.split(), "--help")
    assert done.status == 0
    assert f"usage: executor-worker {command}" in done.out
    if command in COMMANDS:
        assert "examples:\n  " in done.out


def test_help_names_all_commands_and_the_exit_statuses(run: Run) -> None:
    """A newcomer starts here; the module does the same as the program."""
    done = run("--help")
    assert all(f"\n    {command} " in done.out for command in COMMANDS)
    assert "exit status: 0 done, 1 failed, 2 wrong usage" in done.out
    module = subprocess.run(
        [sys.executable, "-m", "executor_worker", "--help"], capture_output=True, text=True, check=True
    )
    assert module.stdout == done.out


def test_the_version_is_told(run: Run) -> None:
    """On stdout, as `program version`."""
    assert run("--version").out.split()[0] == "executor-worker"


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            ("fly",),
            ("once",),
            ("run", "--workers", "0"),
            ("run", "--workers", "x"),
            ("submit", "-", "--timeout", "x"),
        ),
        *(("dead",), ("dead", "requeue"), ("dead", "requeue", "--all", "1-0"), ("dead", "drop"), ("tools", "call")),
        *(("ctl",), ("ctl", "scale"), ("ctl", "scale", "0"), ("ctl", "fly"), ("ctl", "drain", "now")),
        *(("once", "missing.json"), ("submit", "missing.json"), ("once", "."), ("status", "--jso")),
        *(("once", "-", "--state", "-"), ("submit", "-", "--state", "-")),
        *(("tools", "call", "calculate", "--params", "{"), ("tools", "call", "calculate", "--params", "[1]")),
    ],
)
def test_wrong_usage_is_status_2_and_one_sentence(run: Run, arguments: tuple[str, ...]) -> None:
    """Nothing on stdout."""
    done = run(*arguments)
    assert done.status == 2
    assert done.out == ""
    assert "executor-worker" in done.err.splitlines()[-1]


def test_a_missing_state_file_is_status_2(run: Run, folder: Path) -> None:
    """As a missing FILE is."""
    (folder / "node.json").write_text('{"tool_name": "current_time"}')
    assert run("once", "node.json", "--state", "missing.json").status == 2


def test_wrong_settings_of_a_file_are_told_with_their_line(run: Run, folder: Path) -> None:
    """What is wrong in itself, and what is found wrong only when it is used; `check` says the same."""
    (folder / "settings").write_text("HEALTH_PORT=\n\nMCP_CONFIG=missing.json\n")
    done = run("tools", "list", ENV_FILE="settings")
    assert done.status == 78 and done.err.endswith(f" It stands in {folder}/settings, line 3.\n")
    (folder / "settings").write_text("HEALTH_PORT=\n\n\nWORKERS=many\n")
    for where, text in zip(
        ("err", "out"), (run("tools", "list", ENV_FILE="settings"), run("check", ENV_FILE="settings")), strict=True
    ):
        assert getattr(text, where).endswith(f" It stands in {folder}/settings, line 4.\n")


@pytest.mark.parametrize(
    "arguments", [("run",), ("work",), ("once", "-"), ("submit", "-"), ("status",), ("dead", "list"), ("tools", "list")]
)
def test_wrong_settings_are_status_78_and_named(run: Run, arguments: tuple[str, ...]) -> None:
    """All of them at once: variable, bad value, fix."""
    done = run(*arguments, WORKERS="many", LEASE="soon")
    assert done.status == 78
    assert done.out == ""
    assert "WORKERS: 'many' is not a whole number" in done.err
    assert "LEASE: 'soon' is not a duration" in done.err


def test_a_misspelt_variable_gets_a_warning(run: Run) -> None:
    """On stderr; the command goes on."""
    done = run("tools", "list", "--json", LLM_MODLE="x")
    assert done.status == 0
    assert "did you mean LLM_MODEL?" in done.err


def test_a_setting_under_two_names_gets_a_warning(run: Run) -> None:
    """One event says which of two values counts; `check` finds it; of the same value nothing is said."""
    done = run("tools", "list", "--json", LLM_MODEL="a", DEFAULT_MODEL="b", LOG_FORMAT="json")
    (event,) = (json.loads(line) for line in done.err.splitlines())
    assert (event["event"], event["level"]) == ("setting.overridden", "warn")
    assert (event["used"], event["ignored"]) == ("LLM_MODEL", "DEFAULT_MODEL")
    assert run("tools", "list", "--json", LLM_MODEL="a", DEFAULT_MODEL="a").err == ""
    assert (
        "fix DEFAULT_MODEL: 'b' in the environment is ignored"
        in run("check", LLM_MODEL="a", DEFAULT_MODEL="b", REDIS_ADDR="localhost:1").out
    )


@pytest.mark.parametrize("arguments", [("submit", "-"), ("dead", "list")])
def test_commands_give_up_on_a_redis_that_is_not_there(run: Run, arguments: tuple[str, ...]) -> None:
    """In a sentence, status 1."""
    done = run(*arguments, stdin='{"graph_id": "g", "node_id": "n", "config": {}}', REDIS_ADDR="localhost:1")
    assert done.status == 1
    assert "localhost:1" in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "may_load"),
    [("--help", []), ("status", ["pydantic"])],
    ids=["help needs nothing", "status reads settings"],
)
def test_light_commands_load_no_sdk(folder: Path, command: str, may_load: list[str]) -> None:
    """The models' and the MCP SDK cost seconds to import, the settings' library a tenth of one."""
    code = f"""
import sys
from executor_worker.cli.main import main
try:
    main([{command!r}])
except SystemExit:
    pass
print([name for name in ("anthropic", "openai", "mcp", "pydantic", "httpx2") if name in sys.modules])
"""
    settings = environment({"REDIS_ADDR": "localhost:1"})
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=settings, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.splitlines()[-1] == str(may_load), done.stderr


@pytest.mark.parametrize(
    "arguments", [("dead", "list"), ("submit", "-"), ("status",), ("throttle", "list"), ("graph", "list"), ("tail",)]
)
@pytest.mark.parametrize("before", [("--redis", "there:1x"), ("--redis=there:1x",), ("--env-file", "there.env")])
def test_redis_is_named_before_any_command(
    run: Run, folder: Path, arguments: tuple[str, ...], before: tuple[str, ...]
) -> None:
    """Over what the environment and `.env` say, or by the file that is named instead of `.env`."""
    (folder / ".env").write_text("REDIS_ADDR=localhost:2\n")
    (folder / "there.env").write_text("REDIS_ADDR=there:1x\n")
    elsewhere = {} if before[0] == "--env-file" else {"REDIS_ADDR": "localhost:3"}
    done = run(*before, *arguments, **elsewhere)
    assert done.status == 78 and "REDIS_ADDR: 'there:1x'" in done.err, done


def test_a_command_goes_to_the_redis_that_is_named_before_it(run: Run, redis_server: RedisServer) -> None:
    """Though the environment names one that is not there."""
    done = run("--redis", redis_server.addr, "dead", "list", "--json", REDIS_ADDR="localhost:1")
    assert (done.status, done.out, done.err) == (0, "[]\n", "")


@pytest.mark.parametrize("arguments", [("run",), ("once", "-"), ("check",), ("graph", "list"), ()])
def test_the_settings_file_is_named_before_any_command(run: Run, folder: Path, arguments: tuple[str, ...]) -> None:
    """Also before none, where a pool is started; the environment goes before it, as before any settings file."""
    (folder / "mine.env").write_text("WORKERS=many\nLEASE=soon\n")
    done = run("--env-file", "mine.env", *arguments, LEASE="30s")
    told = done.out + done.err
    assert done.status == 78 and "WORKERS" in told and "'many'" in told and "LEASE" not in told, done


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--env-file", "none.env", "status"), "--env-file none.env: there is no such file."),
        (("--redis", "", "status"), "it must be host:port"),
        (("status", "--env-file", "x"), "unrecognized arguments"),
    ],
)
def test_what_stands_wrong_before_a_command_is_said(run: Run, arguments: tuple[str, ...], said: str) -> None:
    """Status 2, as for all wrong usage."""
    done = run(*arguments)
    assert done.status == 2 and said in done.err, done


def test_graph_run_goes_where_redis_is_said_to_be(run: Run, folder: Path) -> None:
    """Before the command and behind it."""
    (folder / "g.json").write_text('{"nodes": [{"id": "a", "type": "tool", "tool_name": "current_time"}]}')
    for arguments in (("--redis", "localhost:1", "graph", "run"), ("graph", "run", "--redis", "localhost:1")):
        done = run(*arguments, "g.json")
        assert done.status == 1 and "localhost:1" in done.err, done


def test_a_reader_that_has_seen_enough_is_no_failure(folder: Path) -> None:
    """`executor-worker tools list | head -1`: no complaint, status 0."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [str(PROGRAM), "tools", "list", "--json"],
        cwd=folder,
        env=environment({}),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_closed_standard_streams_are_no_failure(folder: Path) -> None:
    """What is opened next does not take their place."""

    def close_all() -> None:
        for number in (0, 1, 2):
            os.close(number)

    command = [str(PROGRAM), "tools", "list"]
    done = subprocess.run(command, cwd=folder, env=environment({}), preexec_fn=close_all, timeout=120, check=False)
    assert done.returncode == 0


def test_a_full_disk_is_a_failure_in_a_sentence(folder: Path) -> None:
    """Results that could not be written are no success."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [str(PROGRAM), "tools", "list", "--json"],
            cwd=folder,
            env=environment({}),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "executor-worker: what is to be written: No space left on device.\n"


@pytest.mark.parametrize(("reads", "mark"), [(True, "<3>"), (False, "")])
def test_what_is_wrong_is_an_error_in_the_journal(folder: Path, reads: bool, mark: str) -> None:
    """It takes plain text for information, which `journalctl -p err` leaves out; it shows no such mark."""
    said = folder / "said"
    with said.open("wb") as file:
        seen = os.fstat(file.fileno())
        number = seen.st_ino if reads else 0
        settings = {"JOURNAL_STREAM": f"{seen.st_dev}:{number}", "WORKERS": "many"}
        command = [str(PROGRAM), "run"]
        done = subprocess.run(command, cwd=folder, env=environment(settings), stderr=file, timeout=120, check=False)
    assert done.returncode == 78
    assert said.read_text().startswith(f"{mark}executor-worker: WORKERS: 'many' is not")


@pytest.mark.parametrize("given", ["", "wrong-secret"])
def test_a_refused_password_is_a_wrong_setting(run: Run, start_server: Callable[..., RedisServer], given: str) -> None:
    """Status 78, the variable named, the password never shown."""
    server = start_server("redis", password="right-secret")
    done = run("dead", "list", REDIS_ADDR=server.addr, REDIS_PASS=given)
    assert (done.status, done.out) == (78, "")
    assert done.err.startswith("executor-worker: REDIS_PASS: ")
    assert "-secret" not in done.err


def test_a_database_that_is_not_there_is_a_wrong_setting(run: Run, redis_server: RedisServer) -> None:
    """Status 78, the variable and its value named."""
    done = run("dead", "list", **redis_server.env, REDIS_DB="99")
    assert (done.status, done.out) == (78, "")
    assert done.err.startswith("executor-worker: REDIS_DB: ") and "/99" in done.err


def test_an_embedded_redis_is_not_there_for_others(run: Run) -> None:
    """Only the pool that has one knows where it is."""
    done = run("dead", "list", REDIS_ADDR="embedded")
    assert done.status == 78
    assert "redis.embedded" in done.err


def test_ctrl_c_leaves_quietly(terminal: Any) -> None:
    """Status 130, no traceback: here while it waits for its input."""
    started = terminal("once", "-")
    started.wait_for("Ctrl-D")
    started.press("\x03")
    assert started.wait() == 130
    assert "Traceback" not in started.shown


def test_ctrl_c_stops_a_node_that_runs(terminal: Any, folder: Path) -> None:
    """It is not taken for the node's failure."""
    (folder / "slow.py").write_text(
        "import time\nfrom executor_worker.tools import tool\n"
        "@tool\ndef slow() -> int:\n    'Sleep.'\n    print('asleep')\n    time.sleep(60)\n    return 1\n"
    )
    (folder / "node.json").write_text('{"tool_name": "slow"}')
    started = terminal("once", "node.json", TOOL_MODULES="slow")
    started.wait_for("asleep")
    started.press("\x03")
    assert started.wait() == 130
    assert "status" not in started.shown


def test_a_port_that_cannot_be_had_names_its_setting(run: Run) -> None:
    """HEALTH_PORT where it is taken, HEALTH_HOST where the address is not this machine's; each said once."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("run", HEALTH_HOST="127.0.0.1", HEALTH_PORT=port)
    assert done.status == 78
    assert f"HEALTH_PORT: 127.0.0.1:{port} can't be listened on (Address already in use). " in done.err
    for host in ("192.0.2.1", "nowhere.invalid"):
        done = run("run", HEALTH_HOST=host, HEALTH_PORT="0")
        assert done.status == 78
        assert f"HEALTH_HOST: {host}:0 can't be listened on (" in done.err
        assert "attempting" not in done.err
