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
    assert isinstance(servers[1].target, Remote)
    assert servers[1].target.url == "http://b:1/sse"


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
    assert web.target == Remote("https://x/r", {"Authorization": "Bearer s3cret"}, "sse")
    assert "s3cret" not in repr(web)
    assert isinstance(local.target, Local)
    assert local.target.args == ("-y", "pkg", "r", "some", "$HOME")
    assert local.target.env == {"A": "s3cret", "PORT": "80", "ON": "true"}
    assert local.target.cwd == str(Path("~/x").expanduser())
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


def test_what_calls_do_while_a_server_is_held_back(tmp_path: Path) -> None:
    """They wait, unless the server's entry or the tool's says else; a server is told apart by where it is."""
    entry: dict[str, Any] = {"command": "x", "args": ["--key", "s3cret"], "env": {"TOKEN": "t0ken", "ROOM": "1"}}
    picky = {**entry, "on_open": "fail", "tools": {"read": {"on_open": "wait"}}}
    servers = {"plain": entry, "picky": picky, "other": {**entry, "env": {"TOKEN": "n3w", "ROOM": "1"}}}
    servers["moved"] = {**entry, "env": {"ROOM": "2"}}
    plain, picked, other, moved = load_servers([], write(tmp_path, {"mcpServers": servers}), {})
    server, tool = plain.circuits_of("read")
    assert (str(server), str(tool), server.fails, tool.fails) == ("mcp/plain", "tool/plain.read", False, False)
    assert [one.fails for name in ("read", "write") for one in picked.circuits_of(name)] == [False, False, True, True]
    assert picked.circuit.fails and not plain.circuit.fails
    assert plain.circuit.scope == other.circuit.scope, "no secret is told by it"
    assert plain.circuit.scope != moved.circuit.scope
    with pytest.raises(ConfigError, match="on_open"):
        load_servers([], write(tmp_path, {"mcpServers": {"x": {**entry, "on_open": "no"}}}), {})


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
        ({"other": {}}, "no object `mcpServers`"),
        ({"mcpServers": 1}, "no object `mcpServers`"),
        ({"mcpServers": [{"url": "http://a"}]}, "server 1 of the list has no `name`"),
        ({"mcpServers": {"x": 1}}, "'x'"),
        ({"mcpServers": {"x": {}}}, "either `url` or `command`"),
        ({"mcpServers": {"x": {"url": "http://a", "command": "b"}}}, "either `url` or `command`"),
        ({"mcpServers": {"x": {"url": "a"}}}, "no http"),
        ({"mcpServers": {"x": {"url": "http://a", "type": "ws"}}}, "'ws' is not one of"),
        ({"mcpServers": {"x": {"command": {"npx": 1}}}}, "command: Input should be a valid string"),
        ({"mcpServers": {"x": {"command": "a", "args": "b"}}}, "args: Input should be a valid list"),
        ({"mcpServers": {"x": {"command": "a", "effects": "some"}}}, "effects: Input should be"),
        ({"mcpServers": {"x": {"command": "a", "tools": {"t": {"timeout": -1}}}}}, r"tools\.t\.timeout"),
        ({"mcpServers": {"x": {"command": "a", "timeout_s": 0}}}, "timeout_s"),
        (
            {"mcpServers": {"x": {"url": "http://a", "headers": {"K": "ab\u2013c"}}}},
            r"'K' has: en dash .* 3 of 4",
        ),
        (
            {"mcpServers": {"x": {"url": "http://a", "headers": {"K": "a\nb"}}}},
            r"'K' has: a line break",
        ),
        ({"mcpServers": {"x": {"url": "http://a", "headers": {"K:": "b"}}}}, r"'K:' is no name of a header"),
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


def test_files_of_other_programs_are_understood(tmp_path: Path) -> None:
    """VS Code, Zed, opencode, Windsurf, Gemini, Copilot and those who write null and numbers for all there is."""
    local = {"command": "npx", "args": ["-p", 80, True], "env": {"PORT": 80, "GONE": None}, "url": None, "cwd": None}
    for document in (
        {"servers": {"x": {"type": "stdio", **local, "tools": ["*"]}}, "inputs": []},
        {"context_servers": {"x": local, "off": {"command": 1, "enabled": False} | {"command": "y"}}},
        {"mcp": {"x": {"type": "local", **local}}} | {"mcpServers": {"x": local}},
        {"mcp": {"servers": {"x": local, "off": {**local, "isActive": False}}}},
        {"mcpServers": [{"name": "x", **local}]},
        {"mcpServers": {"x": {**local, "command": ["npx", "-p"], "args": ["80", True], "tools": None}}},
        {"mcpServers": {"x": {**local, "env": None, "environment": {"PORT": 80}, "timeout": None, "headers": None}}},
    ):
        (server,) = load_servers([], write(tmp_path, document), {})
        assert server.name == "x"
        assert server.target == Local("npx", ("-p", "80", "true"), {"PORT": "80"}, None)
        assert server.offers("any")
    for key, kind in {"url": None, "serverUrl": "remote", "httpUrl": "streamable-http"}.items():
        entry = {key: "http://a", "transport": kind, "headers": {"X-Tenant": 7, "X-Beta": True, "X-None": None}}
        (server,) = load_servers([], write(tmp_path, {"mcpServers": {"x": entry}}), {})
        assert isinstance(server.target, Remote)
        assert server.target.headers == {"X-Tenant": "7", "X-Beta": "true"}


def test_comments_are_no_mistake(tmp_path: Path) -> None:
    """As VS Code's own files have them."""
    text = '{\n // ours\n "servers": {"x": {"url": "http://a", /* for now */ "headers": {},},},\n}'
    assert [server.name for server in load_servers([], write(tmp_path, text), {})] == ["x"]


def test_what_only_another_program_knows_is_said(tmp_path: Path) -> None:
    """A place to be filled in by an editor; not what a header would be sent with."""
    entry = {"url": "http://a", "headers": {"Authorization": "Bearer ${input:token}"}}
    with pytest.raises(ConfigError, match=r"\$\{input:token\}.*as \$\{NAME\}"):
        load_servers([], write(tmp_path, {"servers": {"x": entry}}), {"token": "s3cret"})


@pytest.mark.parametrize(
    ("said", "offered"),
    [
        ({"tools": ["a", "b"]}, "ab"),
        ({"tools": ["*"]}, "abc"),
        ({"tools": []}, ""),
        ({"includeTools": ["a"]}, "a"),
        ({"enabled_tools": ["a"], "disabled_tools": ["b"]}, "a"),
        ({"excludeTools": ["a"]}, "bc"),
        ({"disabledTools": ["b"], "tools": {"a": {"effects": "none"}}}, "ac"),
    ],
)
def test_tools_that_are_not_offered_are_not_there(tmp_path: Path, said: dict[str, Any], offered: str) -> None:
    """What a file of another program lets be called, and nothing else."""
    (server,) = load_servers([], write(tmp_path, {"mcpServers": {"x": {"command": "y", **said}}}), {})
    assert "".join(name for name in "abc" if server.offers(name)) == offered
