"""Scripts as texts: what each says of itself, and where the names in it come from."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from executor_worker.broker import names
from executor_worker.broker.connection import script as script_module
from executor_worker.broker.connection.script import LuaText, script
from tests.kit.paths import ROOT

LUA = ROOT / "executor_worker" / "broker" / "lua"
SCRIPTS = [path for path in sorted(LUA.rglob("*.lua")) if "lib" not in path.relative_to(LUA).parts]
OWN = {"lib/runs/start.lua": "'dago:'"}  # a run's keys carry its shard's tag


def code_of(path: Path) -> str:
    return re.sub(r"--.*", "", path.read_text("utf-8"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.relative_to(LUA).as_posix())
def test_each_script_says_its_keys_arguments_and_reply_at_its_head(path: Path) -> None:
    """Before its first line of code."""
    head = re.match(r"(--.*\n|\n)*", path.read_text("utf-8"))
    assert head is not None
    assert {word for word in ("KEYS", "ARGV", "Reply") if word in head[0]} >= {"KEYS", "ARGV"}
    assert re.search(r"Repl(y|ies)|Returns|see `take`", head[0]), "what it answers"


@pytest.mark.parametrize("path", sorted(LUA.rglob("*.lua")), ids=lambda path: path.relative_to(LUA).as_posix())
def test_no_script_names_a_key_itself(path: Path) -> None:
    """Names stand in broker/names alone."""
    found = re.findall(r"'(?:dago:|:forgiven|executor-|dago-)[^']*'", code_of(path))
    own = OWN.get(path.relative_to(LUA).as_posix())
    assert [name for name in found if name != own] == []


def test_constants_are_written_out_where_scripts_use_them() -> None:
    """Those of names and those of the script's own files; texts and longer words that look like them stay."""
    declared = "local MOST = 20 -- a call\nlocal SELF = 'a\\'b'\n"
    text = declared + "return STATE_PREFIX .. PARKED_ELSE .. 'GROUP' .. MOST .. SELF"
    made = script(LuaText("x", text), flags="")
    assert made.source.decode().splitlines() == [
        "#!lua",
        f"return '{names.STATE_PREFIX}' .. PARKED_ELSE .. 'GROUP' .. 20 .. 'a\\'b'",
    ]


def test_scripts_put_together_at_once_read_each_text_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And come out as they do one by one; afterwards texts are read anew."""
    shared = LuaText("shared", "local LEAST = 3\nfunction runs.first(x) return x + LEAST end")
    alone = [script_module.script.__wrapped__(LuaText(name, f"return runs.first({name})"), shared) for name in "ab"]
    read: list[str] = []
    monkeypatch.setattr(script_module, "_text", partial(_noting, script_module._text, read))
    with script_module.texts_kept():
        together = [
            script_module.script.__wrapped__(LuaText(name, f"return runs.first({name})"), shared) for name in "ab"
        ]
    assert together == alone and b"+ 3" in alone[0].source and b"R.a0(a)" in alone[0].source
    assert sorted(read) == ["a", "b", "shared"]
    script_module.script.__wrapped__(shared)
    assert sorted(read) == ["a", "b", "shared", "shared"]


def _noting(text: Callable[..., str], read: list[str], part: LuaText, folder: str = "") -> str:
    read.append(part.name)
    return text(part, folder)
