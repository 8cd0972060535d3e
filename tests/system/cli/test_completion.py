"""Completions and the manual page: made from the parser, so that they know what it knows."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from executor_worker.cli.command_tree import command_tree
from executor_worker.cli.parser import build_parser
from tests.kit import PROGRAM
from tests.system.cli.conftest import Run

TREE = command_tree(build_parser())
TRY = """
. "$1"
while IFS= read -r line; do
    eval "COMP_WORDS=($line)"
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _executor_worker
    echo "${COMPREPLY[*]}"
done
"""


def completed(script: str, folder: Path, *lines: str) -> list[list[str]]:
    """What bash offers for the last word of each of *lines*."""
    (folder / "completion.bash").write_text(script)
    command = ["bash", "-c", TRY, "bash", "completion.bash"]
    done = subprocess.run(
        command, input="".join(f"{line}\n" for line in lines), cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return [line.split() for line in done.stdout.splitlines()]


def test_bash_completes_every_command_and_option(run: Run, folder: Path) -> None:
    """At every level, also behind options and their values."""
    script = run("completion", "bash").out
    every = [command for command in TREE.all() if command.path]
    typed = [" ".join(("executor-worker", *command.path[:-1], command.path[-1][:2])) for command in every]
    for command, offered in zip(every, completed(script, folder, *typed), strict=True):
        assert command.path[-1] in offered, command.path
    options = [(command, name) for command in TREE.all() for one in command.options for name in one.names]
    typed = [" ".join(("executor-worker", *command.path, name)) for command, name in options]
    for (command, name), offered in zip(options, completed(script, folder, *typed), strict=True):
        assert name in offered, (command.path, name)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("executor-worker dead re", ["requeue"]),
        ("executor-worker dead requeue --al", ["--all"]),
        ("executor-worker ctl level de", ["debug"]),
        ("executor-worker submit --state x.json --wa", ["--wait"]),
        ("executor-worker completion f", ["fish"]),
        ("executor-worker submit --state ''", []),
        ("executor-worker submit ''", []),
        ("executor-worker fly", []),
    ],
)
def test_bash_completes_where_one_stands(run: Run, folder: Path, typed: str, offered: list[str]) -> None:
    """Nothing of ours where a file or a value is meant: files are offered then."""
    assert completed(run("completion", "bash").out, folder, typed) == [offered]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_know_as_much(run: Run, folder: Path, shell: str) -> None:
    """And take the script, where they are there to ask."""
    script = run("completion", shell).out
    for command in TREE.all():
        for one in command.options:
            for name in one.names:
                assert (
                    name if shell == "zsh" else f" {'-l' if name[:2] == '--' else '-s'} {name.lstrip('-')} "
                ) in script
        assert " ".join(command.path) in script
    if shutil.which(shell):
        (folder / "script").write_text(script)
        subprocess.run([shell, "-n", "script"], cwd=folder, check=True)
    if shell == "zsh":  # which runs the function as bash has it
        assert script.split("_executor_worker()")[1] == run("completion", "bash").out.split("_executor_worker()")[1]


def test_the_manual_page_tells_all(run: Run, folder: Path) -> None:
    """Each command with its options; roff finds nothing to complain of."""
    page = run("man").out
    for command in TREE.all():
        for one in command.options:
            assert all(name.replace("-", "\\-") in page for name in one.names)
    (folder / "page.1").write_text(page)
    if shutil.which("groff"):
        done = subprocess.run(
            ["groff", "-man", "-Tascii", "-ww", "page.1"], cwd=folder, capture_output=True, text=True, check=True
        )
        assert done.stderr == "" and "EXECUTOR-WORKER(1)" in done.stdout and "--from-step" in done.stdout


def test_another_shell_is_wrong_usage(run: Run) -> None:
    """Those that are known are named."""
    done = run("completion", "tcsh")
    assert done.status == 2 and "bash" in done.err and "fish" in done.err


def test_without_a_command_a_terminal_shows_help(terminal: Any) -> None:
    """Nobody wants a pool by mistake."""
    started = terminal()
    started.wait_for("start here:")
    assert started.wait() == 0


def test_without_a_command_and_terminal_it_is_run(run: Run, folder: Path) -> None:
    """As the original's image starts it: here it says what of its settings is wrong."""
    done = run(WORKERS="many")
    assert done.status == 78 and "WORKERS: 'many'" in done.err
    own = subprocess.run(
        [str(PROGRAM)],
        cwd=folder,
        env={"ENV_FILE": "missing"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert own.returncode == 78 and b"ENV_FILE" in own.stderr
