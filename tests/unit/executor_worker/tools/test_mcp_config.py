"""MCP_SERVERS and MCP_CONFIG: what is understood, and how mistakes are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from executor_worker.errors import ConfigError
from executor_worker.tools.mcp_config import Local, Remote, load_servers


def write(folder: Path, document: Any) -> str:
    path = folder / "mcp.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


def test_urls_are_named_by_their_host_unless_they_say_otherwise() -> None:
    """Two on one host are told apart by their paths; a query may hold an equals sign."""
    urls = ["https://a.example/mcp?key=1", "search = http://b:1/sse", "http://c/x", "http://c/y/", "http://u:p@d/mcp"]
    servers = load_servers(urls, "", {})
    assert [server.name for server in servers] == ["a.example", "search", "c/x", "c/y", "d"]
    assert isinstance(servers[1].place, Remote)
    assert servers[1].place.url == "http://b:1/sse"


def test_the_usual_file_is_understood(tmp_path: Path) -> None:
    """url and headers, or command, args, env and cwd; what belongs to other programs is passed over."""
    path = write(
        tmp_path,
        {
            "inputs": [],
            "mcpServers": {
                "web": {"type": "sse", "url": "https://x/${ROOM}", "headers": {"Authorization": "Bearer ${env:KEY}"}},
                "local": {
                    "command": "npx",
                    "args": ["-y", "pkg", "${ROOM:-none}", "${GONE:-some}", "$HOME"],
                    "env": {"A": "${KEY}", "PORT": 80, "ON": True},
                    "cwd": "~/x",
                    "timeout": 60000,
                    "alwaysAllow": ["a"],
                    "timeout_s": 7,
                    "effects": "none",
                    "tools": {"write": {"effects": "unsafe", "timeout": 3}, "read": {}},
                },
                "off": {"command": "x", "disabled": True},
            },
        },
    )
    web, local = load_servers([], path, {"ROOM": "r", "KEY": "s3cret"})
    assert web.place == Remote("https://x/r", {"Authorization": "Bearer s3cret"}, "sse")
    assert "s3cret" not in repr(web)
    assert isinstance(local.place, Local)
    assert local.place.args == ("-y", "pkg", "r", "some", "$HOME")
    assert local.place.env == {"A": "s3cret", "PORT": "80", "ON": "true"}
    assert local.place.cwd == str(Path("~/x").expanduser())
    assert [(local.effects_of(name), local.timeout_of(name)) for name in ("write", "read", "other")] == [
        ("unsafe", 3),
        ("none", 7),
        ("none", 7),
    ]


@pytest.mark.parametrize("word", ["localhost:80", "ftp://x", "name=", "http://", "http://x:99999999", "name=x"])
def test_what_is_no_url_is_refused(word: str) -> None:
    """With the variable's name."""
    with pytest.raises(ConfigError, match="MCP_SERVERS"):
        load_servers([word], "", {})


def test_a_name_can_be_used_once(tmp_path: Path) -> None:
    """`server.tool` must be unambiguous."""
    with pytest.raises(ConfigError, match="two servers are called 'a'"):
        load_servers(["a=http://x", "a=http://y"], "", {})
    with pytest.raises(ConfigError, match="two servers are called 'a'"):
        load_servers(["a=http://x"], write(tmp_path, {"mcpServers": {"a": {"command": "x"}}}), {})


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ([], "no object `mcpServers`"),
        ({"servers": {}}, "no object `mcpServers`"),
        ({"mcpServers": []}, "no object `mcpServers`"),
        ({"mcpServers": {"x": 1}}, "'x'"),
        ({"mcpServers": {"x": {}}}, "either `url` or `command`"),
        ({"mcpServers": {"x": {"url": "http://a", "command": "b"}}}, "either `url` or `command`"),
        ({"mcpServers": {"x": {"url": "a"}}}, "no http"),
        ({"mcpServers": {"x": {"url": "http://a", "type": "ws"}}}, "'ws' is not one of"),
        ({"mcpServers": {"x": {"command": ["npx"]}}}, "command: Input should be a valid string"),
        ({"mcpServers": {"x": {"command": "a", "args": "b"}}}, "args: Input should be a valid list"),
        ({"mcpServers": {"x": {"command": "a", "effects": "some"}}}, "effects: Input should be"),
        ({"mcpServers": {"x": {"command": "a", "tools": {"t": {"timeout": -1}}}}}, r"tools\.t\.timeout"),
        ({"mcpServers": {"x": {"command": "a", "timeout_s": 0}}}, "timeout_s"),
        ({"mcpServers": {"x": {"url": "http://a", "headers": {"K": "${GONE}"}}}}, r"\$\{GONE\}, which is not set"),
    ],
)
def test_a_wrong_file_is_named_with_server_and_field(tmp_path: Path, document: Any, said: str) -> None:
    """The operator sees what to correct."""
    with pytest.raises(ConfigError, match=said) as failed:
        load_servers([], write(tmp_path, document), {})
    assert failed.value.variable == "MCP_CONFIG"
    assert str(tmp_path) in failed.value.problem


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Also one that is a folder."""
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(ConfigError, match="can't be read"):
            load_servers([], str(path), {})


def test_values_are_not_repeated(tmp_path: Path) -> None:
    """A mistake beside a secret does not print it."""
    entry = {"url": "http://a", "headers": {"Authorization": ["s3cret"]}, "env": {"A": {"b": "s3cret"}}}
    with pytest.raises(ConfigError) as failed:
        load_servers([], write(tmp_path, {"mcpServers": {"x": entry}}), {})
    assert "s3cret" not in str(failed.value)
    with pytest.raises(ConfigError) as failed:
        load_servers(["ftp://user:s3cret@x"], "", {})
    assert "s3cret" not in str(failed.value)


def test_secrets_of_addresses_and_arguments_are_known(tmp_path: Path) -> None:
    """In every notation that servers take them in; words of other arguments are words."""
    path = tmp_path / "mcp.json"
    args = ["serve", "--api-key", "one", "--token=two", "-H", "Authorization: Bearer three", "--verbose", "plain"]
    args += ["DB_PASSWORD=four", "postgres://u:five@db/x", "--name=plain"]
    servers = {"local": {"command": "x", "args": args}, "remote": {"url": "https://u:six@host/mcp?token=seven"}}
    path.write_text(json.dumps({"mcpServers": servers}))
    found = {secret for server in load_servers((), str(path), {}) for secret in server.secrets}
    assert found == {"one", "two", "Bearer three", "three", "four", "five", "six", "seven"}
