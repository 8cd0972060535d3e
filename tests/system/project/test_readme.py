"""README's commands are run as they stand there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.kit import RedisServer, free_port, wait_until
from tests.kit.counterparts import PATHS
from tests.kit.paths import ROOT
from tests.system.project.readme import blocks, commands, proofs, sections

pytestmark = pytest.mark.timeout(600)  # each runs many commands, one after the other
TRIED = (
    *("A graph", "Run it on your Redis, with your key", "Submit work"),
    *("Define a tool", "Add an MCP server"),
)
# pip, as it stands there, takes half a minute: the build server's job `wheel` does it, and who asks for it.
INSTALLERS = ["uv pip install", *(["pip install"] if os.environ.get("FULL_SIZE") == "1" else [])]
POOL = "executor-worker run --workers 4"
READY = "for try in $(seq 300); do executor-worker status >/dev/null 2>&1 && break; read -rt 0.1 <> <(:) || :; done"
SMALLER = (("--cases 100000", "--cases 100"), ("--items 10000 --faults 1000", "--items 60 --faults 3"))
COLLECT = """
import json, sys
from pathlib import Path
import pytest
from _pytest.mark import KeywordMatcher
from _pytest.mark.expression import Expression

class Selection:
    def pytest_collection_modifyitems(self, items):
        for row, (paths, expression) in rows.items():
            here = [item for item in items if any(item.path.is_relative_to(Path(path).resolve()) for path in paths)]
            chosen = Expression.compile(expression).evaluate if expression else lambda matcher: True
            assert any(chosen(KeywordMatcher.from_item(item)) for item in here), row

rows = json.load(sys.stdin)
paths = {path for paths, _ in rows.values() for path in paths}
sys.exit(pytest.main([*paths, "--collect-only", "-qq"], plugins=[Selection()]))
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of this tree as git has it, with the environment that is installed here."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in listed.split("\0"):
        source, target = ROOT / name, tmp_path / "clone" / name
        if name and source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    _lend_environment(tmp_path / "clone" / ".venv")
    return tmp_path / "clone"


def _lend_environment(folder: Path) -> None:
    """What is installed here, as if it had been installed there this moment: `make` has nothing to do."""
    folder.mkdir()
    for entry in (ROOT / ".venv").iterdir():
        if entry.is_file() and entry.name != "pyvenv.cfg":
            (folder / entry.name).touch()
        else:
            (folder / entry.name).symlink_to(entry)


def shell(script: str, clone: Path, **settings: str) -> str:
    """Have bash run *script* in *clone*, as far as the first command that fails; return what it said."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "LANG", "SSL_"))}
    path = f"{clone}/.venv/bin:{os.environ['PATH']}:{PATHS['uv'].parent}"
    done = subprocess.run(
        ["bash", "-c", f"set -eE; trap 'echo \"failed: $BASH_COMMAND\" >&2' ERR\n{script}"],
        cwd=clone,
        env={**kept, "HOME": str(clone.parent), "PATH": path, "PIP_NO_COMPILE": "1", **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_every_command_is_tried() -> None:
    """No section has commands but those that are run here, or in the tests of the container."""
    assert {name for name in sections() if commands(name)} == {"Two commands", "Install it elsewhere", *TRIED}


def test_first_commands_show_what_it_is(clone: Path) -> None:
    """The demos do; the whole suite, of which this is a part, is only looked up."""
    *demos, suite = commands("Two commands")
    said = shell("\n".join(demos), clone)
    assert said.count("drained and left with exit status 0") == 2 and "1 mail: ada@example.com" in said
    assert suite.startswith("make test ")
    assert "pytest -n" in shell(suite.replace("make", "make --dry-run"), clone)


def test_the_tour_works(clone: Path, redis_server: RedisServer) -> None:
    """All sections in their order in one shell, on a Redis of its own and with the scripted model in place of a key."""
    (settings,) = (text for text in blocks("Run it on your Redis, with your key", "") if "REDIS_ADDR" in text)
    stand_ins = {"localhost:6379": redis_server.addr, "anthropic": "scripted", "sk-…": "a-key"}
    for there, here in stand_ins.items():
        assert there in settings
        settings = settings.replace(there, here)
    (clone / ".env").write_text(settings)
    typed = [line for name in TRIED for line in commands(name)]
    assert typed.count(POOL) == 1 and typed.count(f"{POOL} &") == 1
    first, second = typed.index(POOL), typed.index(f"{POOL} &")
    stop = "kill -TERM %1; wait %1"  # Ctrl-C, which README asks for, reaches no job of a script
    typed[second] = f"{typed[second]}\n{READY}"
    typed.insert(typed.index(next(line for line in typed if "MCP_CONFIG=" in line)), stop)
    typed[first] = f"{POOL} &\n{READY}"
    said = shell("\n".join(["set -m", *typed, "kill -TERM %+; wait %+"]), clone, HEALTH_PORT=str(free_port()))
    assert said.count("completed") >= 5, said  # two alone, three on the pool


def test_items_can_be_written_by_hand(redis_server: RedisServer, executor: Callable[..., object]) -> None:
    """The XADD of README, and the streams that its XREAD names."""
    (text,) = (block for block in blocks("Submit work", "") if "XADD" in block)
    add, read = text.splitlines()
    executor(redis_server, LLM_PROVIDER="scripted")
    streams = re.findall(r"dago:\S+", read)
    with redis.Redis.from_url(f"redis://{redis_server.addr}", decode_responses=True) as client:
        client.execute_command(*shlex.split(add))
        ended = lambda: client.xread(dict.fromkeys(streams, "0"))  # noqa: E731
        ((_, ((_, entry),)),) = wait_until(ended, 30, "the item is done")
    assert json.loads(entry["data"])["data"]["output"] == 42


@pytest.mark.needs("uv")
@pytest.mark.parametrize("pip", INSTALLERS)
def test_the_wheel_is_enough(clone: Path, pip: str) -> None:
    """Built, installed into an empty environment by pip or uv, and shown; nothing of the tree is in reach."""
    *install, demo = (
        line for line in commands("Install it elsewhere") if not line.startswith(("docker", "make docker"))
    )
    said = shell("\n".join([*install, "cd /", demo]).replace("pip install", pip), clone)
    assert "drained and left with exit status 0" in said


def test_proofs_select_tests() -> None:
    """Each `pytest …` of the table of promises finds tests; the suite runs them."""
    rows = {row: paths_and_expression(row) for row in proofs() if "pytest " in row}
    assert len(rows) > 10
    command = [sys.executable, "-c", COLLECT]
    done = subprocess.run(command, cwd=ROOT, input=json.dumps(rows), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def paths_and_expression(row: str) -> tuple[list[str], str]:
    """What a `pytest …` asks for: nothing but paths and one `-k` is known here."""
    words = [word for word in shlex.split(row) if not re.match(r"[A-Z_]+=", word)]
    assert words.pop(0) == "pytest"
    expression = words[words.index("-k") + 1] if "-k" in words else ""
    paths = words[: words.index("-k")] if expression else words
    assert not any(path.startswith("-") for path in paths), row
    return paths, expression


def test_proofs_that_are_programs_run(clone: Path) -> None:
    """Those that are no tests, made smaller; whoever has a whole machine may run them as they are."""
    rows = [row for row in proofs() if not re.search(r"pytest |--sentinel|--graphs|^make ", row)]
    assert rows
    for row in rows:
        smaller = row
        for large, small in SMALLER:
            smaller = smaller.replace(large, small)
        assert smaller != row
        (clone / ".cache").unlink(missing_ok=True)
        (clone / ".cache").symlink_to(ROOT / ".cache")
        shell(smaller, clone)


def test_a_proof_that_could_not_run_says_so(clone: Path) -> None:
    """Plain `pytest` works; before `make kit` it fails and names that."""
    row = next(row for row in proofs() if row.endswith("-k 11"))
    with pytest.raises(AssertionError, match="run `make kit`"):
        shell(row, clone)


def test_all_skipped_is_no_success(tmp_path: Path) -> None:
    """Where this machine can run none of what was asked for, the status is that of no tests."""
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text("import pytest\n\n\ndef test_it() -> None:\n    pytest.skip('no root')\n")
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("make deps", "requirements-dev.lock"),
        ("make build", "build_wheel"),
        ("make run", "executor-worker run"),
        ("make docker-push IMAGE=there/it:1", "docker push there/it:1"),
        ("scripts/build.sh", "build_wheel"),
        ("scripts/build.sh all", "docker build"),
        ("scripts/run-local.sh", "executor-worker run"),
    ],
)
def test_names_that_people_know_work(clone: Path, typed: str, expected: str) -> None:
    """What they lead to is looked up, not done: the commands behind them are tried above."""
    later = time.time() + 60  # than what make compares it with, whatever the file system's clock can tell apart
    os.utime(clone / "requirements-dev.lock", (later, later))
    assert expected in shell(typed, clone, MAKEFLAGS="--dry-run")
