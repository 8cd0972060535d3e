"""TOOL_MODULES: what is found, and what an operator is told when it can't be."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from executor_worker.errors import ConfigError
from executor_worker.tools import load_functions, modules_starting_threads

Write = Callable[[str, str], str]
HEAD = "from __future__ import annotations\nfrom executor_worker.tools import tool\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module into the current folder."""
    monkeypatch.chdir(tmp_path)
    before, path = set(sys.modules), list(sys.path)

    def module(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(HEAD + text)
        return name

    yield module
    sys.path[:] = path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_marked_functions_of_a_module_in_the_current_folder_are_found(write: Write, log: Any) -> None:
    """Only the marked ones, by the names they chose, with where they come from."""
    name = write(
        "my_tools",
        """
@tool
def search(query: str) -> list[str]:
    "Search it."
    return [query]

@tool(name="delete.all", description="Delete.", effects="unsafe", timeout=3)
async def wipe(): ...

def helper(): ...
print("imported")
""",
    )
    tools = {tool.name: tool for tool in load_functions([name], log)}
    assert set(tools) == {"search", "delete.all"}
    assert tools["search"].description == "Search it."
    assert tools["search"].source == "function my_tools.py"
    assert tools["search"].effects is None
    wipe = tools["delete.all"]
    assert (wipe.effects, wipe.timeout, wipe.description) == ("unsafe", 3, "Delete.")
    assert not log


def test_a_module_imported_by_another_is_no_conflict(write: Write) -> None:
    """The same function seen twice is one tool."""
    write("base_tools", "@tool\ndef shared(): ...\n")
    write("more_tools", "from base_tools import shared\n@tool\ndef other(): ...\n")
    assert {tool.name for tool in load_functions(["base_tools", "more_tools"])} == {"shared", "other"}


def test_the_current_folder_hides_nothing_later(write: Write, tmp_path: Path) -> None:
    """A file of a library's name beside the tools is not taken for the library."""
    write("some_tools", "@tool\ndef shown(): ...\n")
    load_functions(["some_tools"])
    assert sys.path[0] != str(tmp_path)
    assert str(tmp_path) in sys.path


@pytest.mark.parametrize(
    ("text", "said", "fix"),
    [
        ("import no_such_library\n", "No module named 'no_such_library'", "Correct the module"),
        ("def broken(:\n", "SyntaxError", "Correct the module"),
        ("raise RuntimeError('no database')\n", "RuntimeError: no database", "Correct the module"),
        ("import sys; sys.exit(3)\n", "SystemExit: 3", "Correct the module"),
        ("@tool(effects='never')\ndef f(): ...\n", "effects='never'", "Correct the module"),
        ("import socket\n@tool\ndef f(s: socket.socket): ...\n", r"f\(\) can't be a tool", "type hints"),
    ],
)
def test_a_module_that_can_not_be_used_names_the_reason(write: Write, text: str, said: str, fix: str) -> None:
    """The variable, the module, what it said, what to do."""
    name = write("bad_tools", text)
    with pytest.raises(ConfigError, match=said) as failed:
        load_functions([name])
    assert failed.value.variable == "TOOL_MODULES"
    assert "bad_tools" in failed.value.problem
    assert fix in failed.value.fix


@pytest.mark.parametrize(("name", "fix"), [("nowhere_tools", "PYTHONPATH"), ("my_tools.py", "as Python imports it")])
def test_a_module_that_is_not_there_says_where_it_is_looked_for(write: Write, name: str, fix: str) -> None:
    """The usual mistakes have their own hint."""
    with pytest.raises(ConfigError) as failed:
        load_functions([name])
    assert fix in failed.value.fix


def test_two_functions_of_one_name_are_refused(write: Write) -> None:
    """Which is meant can't be known."""
    write("one_tools", "@tool\ndef same(): ...\n")
    write("two_tools", "@tool\ndef same(): ...\n")
    with pytest.raises(ConfigError, match=r"one_tools\.py and function two_tools\.py"):
        load_functions(["one_tools", "two_tools"])


def test_a_module_without_tools_is_pointed_out(write: Write, log: Any) -> None:
    """It is probably a forgotten mark."""
    assert load_functions([write("empty_tools", "def search(): ...\n")], log) == []
    assert log.events() == ["tool_module.empty"]


def test_installed_packages_offer_tools(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an entry point that names a module or a function."""
    write("plugin_tools", "@tool\ndef first(): ...\n@tool\ndef second(): ...\n")
    write("single_tools", "@tool\ndef third(): ...\n@tool\ndef fourth(): ...\n")
    info = tmp_path / "plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[executor_worker.tools]\nplugin = plugin_tools\nsingle = single_tools:third\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert {tool.name for tool in load_functions([])} == {"first", "second", "third"}
    (info / "entry_points.txt").write_text("[executor_worker.tools]\nplugin = gone_tools\n")
    with pytest.raises(ConfigError, match="entry point 'plugin'"):
        load_functions([])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_modules_that_start_threads_are_told_apart(write: Write) -> None:
    """Found out in a child, so that this process stays single-threaded; broken ones are left to the import."""
    write("threaded_tools", "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n")
    write("calm_tools", "")
    write("broken_tools", "raise RuntimeError\n")
    assert modules_starting_threads(["calm_tools", "threaded_tools"]) == ["threaded_tools"]
    assert "threaded_tools" not in sys.modules
    assert modules_starting_threads(["broken_tools"]) == []


@pytest.mark.parametrize(
    ("how", "said"), [("os._exit(0)", "exit status 0"), ("os.kill(os.getpid(), 9)", "signal 9, Killed")]
)
def test_a_module_that_ends_the_process_is_named(write: Write, how: str, said: str) -> None:
    """Found out in a child; those before it are not blamed, and leaving by an exception is left to the import."""
    write("fine_tools", "")
    write("deadly_tools", f"import os; {how}\n")
    write("leaving_tools", "import sys; sys.exit(3)\n")
    assert modules_starting_threads(["fine_tools", "leaving_tools"]) == []
    with pytest.raises(ConfigError, match=f"'deadly_tools' ends the program .{said}") as failed:
        modules_starting_threads(["fine_tools", "deadly_tools", "leaving_tools"])
    assert failed.value.variable == "TOOL_MODULES"


def test_a_trial_that_somebody_kills_is_made_again(write: Write, tmp_path: Path) -> None:
    """SIGKILL is nothing that a module has done, unless it comes each time: threads are found all the same."""
    first = tmp_path / "first"
    killed = f"import os, pathlib\np = pathlib.Path({str(first)!r})\nif not p.exists():\n"
    killed += "    p.touch()\n    os.kill(os.getpid(), 9)\n"
    write(
        "killed_tools",
        killed + "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n",
    )
    assert modules_starting_threads(["killed_tools"]) == ["killed_tools"]
    assert first.exists()


def test_a_module_that_closes_descriptors_is_not_taken_for_one_that_ends(write: Write) -> None:
    """What it has done to the child's pipe is no matter."""
    write("closing_tools", "import os; os.closerange(3, 256)\n")
    assert modules_starting_threads(["closing_tools"]) == []
