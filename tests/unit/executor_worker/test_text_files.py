"""Files that people write, as any editor leaves them."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from executor_worker.cli.files import read_documents
from executor_worker.providers.prices import Prices
from executor_worker.providers.replay import Replay
from executor_worker.providers.retries import Retries
from executor_worker.providers.scripted import Scripted
from executor_worker.settings.sources import Given, settings_file
from executor_worker.text_files import as_utf8, read_text, settings_json, text_of
from executor_worker.tools.mcp_config import load_servers

ENCODINGS = {
    "utf-8": lambda text: text.encode(),
    "utf-8 with a mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "utf-16 little": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
    "utf-16 big": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "line ends of Windows": lambda text: codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode(),
}
PRICES = '{"mödel": {"input": 1, "output": 2}}'
SCRIPT = '[{"reply": "Grüße"}]'
SERVERS = '{"mcpServers": {"ä": {"url": "http://a"}}}'


@pytest.fixture(params=list(ENCODINGS))
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Write a text into a file, as one kind of editor does."""

    def write(text: str) -> str:
        path = tmp_path / "written"
        path.write_bytes(ENCODINGS[request.param](text))
        return str(path)

    return write


def test_each_setting_that_names_a_file_takes_it_as_it_is(written: Callable[[str], str]) -> None:
    """MCP_CONFIG, LLM_PRICES, LLM_SCRIPT for both who read it, ENV_FILE, secrets."""
    assert [server.name for server in load_servers([], written(SERVERS), {})] == ["ä"]
    assert Prices.load(written(PRICES)).find("mödel") is not None
    Scripted(script=written(SCRIPT), timeout_s=1, retries=Retries(1))
    Replay(written('{"step": "began", "prompt": "é"}\n{"step": "asked"}\n'))
    path = written("WORKERS=3\nWORKER_ID=ö\n")
    assert settings_file({"ENV_FILE": path}, Path.cwd(), []) == {"WORKERS": "3", "WORKER_ID": "ö"}
    assert Given(read_text(written("sk-1\n")), "LLM_API_KEY") == "sk-1"
    assert Given("\ufeffsk-1\n", "LLM_API_KEY") == "sk-1"


def test_items_and_states_too(written: Callable[[str], str]) -> None:
    """As UTF-8 from then on, whatever is in them."""
    assert read_documents(written('{"a": "é\\ud800"}\n{"b": 1e999}')) == ['{"a": "é\\ud800"}'.encode(), b'{"b": 1e999}']


def test_comments_and_last_commas_are_for_settings() -> None:
    """As in editors' own files; what stands in a string is no comment, and a complaint names the right line."""
    text = '{ // see https://example\n "url": "http://a//b/*c*/", /* two\n lines */ "list": [1, 2,\n ],\n}'
    assert settings_json(text) == {"url": "http://a//b/*c*/", "list": [1, 2]}
    assert settings_json('{"a": "say \\"//no\\", "}') == {"a": 'say "//no", '}
    with pytest.raises(ValueError, match="line 4"):
        settings_json("{\n/* a\n b */ \n x}")
    for text in ("{", '{"a": 1,, }', "// nothing", "[" * 100_000):
        with pytest.raises(ValueError, match=r"line|nested"):
            settings_json(text)


def test_what_is_no_text_is_said_to_be_none(tmp_path: Path) -> None:
    """And data stays as it is, for whoever reads it to complain."""
    for raw in (b'{"a": "\xff"}', codecs.BOM_UTF16_LE + b"\x00"):
        with pytest.raises(ValueError, match="not UTF-8 text"):
            text_of(raw)
        assert as_utf8(raw) == raw
    assert json.loads(as_utf8(codecs.BOM_UTF8 + b"1")) == 1
