"""Lists of hosts and of origins: what they take, and what is said of a part that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor_worker.settings import ConfigErrors, Settings
from executor_worker.tools.builtin.http_request import _Entry


def load(folder: Path, **environ: str) -> Settings:
    return Settings.load(environ, folder)


def problem(folder: Path, variable: str, value: str) -> str:
    with pytest.raises(ConfigErrors) as raised:
        load(folder, **{variable: value})
    (found,) = raised.value.problems
    assert found.variable == variable
    return str(found)


@pytest.mark.parametrize(
    ("word", "host", "port"),
    [
        ("example.com", "example.com", None),
        ("API.Example.com.", "api.example.com", None),
        ("localhost:8080", "localhost", 8080),
        ("my_host", "my_host", None),
        ("bücher.example", "bücher.example", None),
        ("*", "*", None),
        ("*:443", "*", 443),
        ("*.example.com", "*.example.com", None),
        ("*.example.com:8443", "*.example.com", 8443),
        ("1password.com", "1password.com", None),
        ("127.0.0.1", "127.0.0.1", None),
        ("10.2.0.1/16", "10.2.0.1/16", None),
        ("10.2.0.0/16:80", "10.2.0.0/16", 80),
        ("::1", "::1", None),
        ("[::1]", "::1", None),
        ("[fd00::/8]:80", "fd00::/8", 80),
        ("fe80::1%eth0", "fe80::1%eth0", None),
        ("fd00::/8", "fd00::/8", None),
    ],
)
def test_hosts_are_taken_and_mean_the_same_to_the_tool(tmp_path: Path, word: str, host: str, port: int | None) -> None:
    """What is accepted at the start is what `http_request` reads."""
    assert load(tmp_path, HTTP_ALLOW=f" {word} ,a.example").http_allow == (word, "a.example")
    entry = _Entry.parse(word)
    assert (entry.host, entry.port) == (host, port)
    assert (entry.network is not None) == ((host[0].isdigit() and "pass" not in host) or ":" in host)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("http://x/y z", "a scheme in 'http://x/…'; write x,z."),
        ("a.example,https://b.example:8443", "a scheme in 'https://b.example:8443'; write b.example:8443."),
        ("a.example b.example", "a space in 'a.example b.example'; write a.example,b.example."),
        ("a.example/path", "a path, or a network that there can't be, in 'a.example/…'; write a.example."),
        ("10.0.0.0/33", "a path, or a network that there can't be, in '10.0.0.0/…'; write 10.0.0.0."),
        ("a.example:port", "a port that is no number from 1 to 65535 in 'a.example:port'."),
        ("a.example:0", "a port that is no number from 1 to 65535 in 'a.example:0'."),
        ("a.example:65536", "a port that is no number from 1 to 65535 in 'a.example:65536'."),
        ("[::1]:", "a port that is no number from 1 to 65535 in '[::1]:'."),
        ("api.*.example", "a * that stands neither alone nor for all before the first dot in 'api.*.example'."),
        ("*example.com", "a * that stands neither alone nor for all before the first dot in '*example.com'."),
        ("a..example", "a name that no host can have in 'a..example'."),
        (".example.com", "a name that no host can have in '.example.com'."),
        ("*.", "a name that no host can have in '*.'."),
        ("[::1", "a name that no host can have in '[::1'."),
        ("[localhost]", "a name that no host can have in '[localhost]'."),
        ("a.example;b.example", "a name that no host can have in 'a.example;b.example'."),
        ("300.1.1.1", "an address that there can't be in '300.1.1.1'."),
        ("10.0.0", "an address that there can't be in '10.0.0'."),
        ("x" * 64, "a name that no host can have in "),
        ("\udce9", "a name that no host can have in "),
    ],
)
def test_what_is_no_host_is_refused_with_the_part_and_the_fix(tmp_path: Path, value: str, said: str) -> None:
    """It would never match, and its author would look for the reason elsewhere."""
    found = problem(tmp_path, "HTTP_ALLOW", value)
    assert f": it has {said}" in found and "for instance HTTP_ALLOW=api.example.com" in found


def test_a_password_in_a_list_of_hosts_is_not_shown(tmp_path: Path) -> None:
    """Nor a path, which may be one."""
    found = problem(tmp_path, "HTTP_ALLOW", "a.example,bob:hunter2@b.example")
    assert "it has a user or a password in part 2." in found and "hunter2" not in found
    found = problem(tmp_path, "HTTP_ALLOW", "https://hooks.example/services/hunter2")
    assert "write hooks.example." in found and "hunter2" not in found


@pytest.mark.parametrize(
    ("value", "origins"),
    [
        ("*", ("*",)),
        ("https://App.Example.com, http://localhost:3000", ("https://app.example.com", "http://localhost:3000")),
        ("https://a.example:443,http://a.example:80", ("https://a.example", "http://a.example")),
        ("http://a.example:443,https://[::1]:8443", ("http://a.example:443", "https://[::1]:8443")),
    ],
)
def test_origins_are_kept_as_browsers_send_them(tmp_path: Path, value: str, origins: tuple[str, ...]) -> None:
    """Small letters, no port that the scheme has anyway: else they would never match."""
    assert load(tmp_path, API_CORS=value).api_cors == origins


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("https://a.example/", "a path in 'https://a.example/…'; write https://a.example."),
        ("https://a.example/app", "a path in 'https://a.example/…'; write https://a.example."),
        ("a.example", "another scheme than http:// or https://, or none, in 'a.example'; write https://a.example."),
        ("*,ftp://a.example", "another scheme than http:// or https://, or none, in 'ftp://a.example'."),
        ("https://*.example.com", "a pattern, which origins don't take, in 'https://*.example.com'."),
        ("https://a.example:many", "a port that is no number from 1 to 65535 in 'https://a.example:many'."),
        ("https://:::", "a name that no host can have in 'https://:::'."),
        ("https://", "a name that no host can have in 'https://'."),
        ("https://bob@a.example", "a user or a password in part 1."),
    ],
)
def test_what_is_no_origin_is_refused_with_the_part_and_the_fix(tmp_path: Path, value: str, said: str) -> None:
    """A browser sends scheme, host and port, and nothing else."""
    assert f": it has {said}" in problem(tmp_path, "API_CORS", value)


def test_of_a_list_the_wrong_part_is_numbered(tmp_path: Path) -> None:
    """Also where nothing of it is shown."""
    assert "it has a wrong part, number 2 of 3." in problem(tmp_path, "TOOL_MODULES", "a,b c,d")
    found = problem(tmp_path, "API_TOKENS", "a:read:word,hunter2")
    assert "its value is not a list of name:role:token: it has a wrong part, number 2 of 2." in found
    assert "hunter2" not in found
    found = problem(tmp_path, "MCP_SERVERS", "http://a/mcp,https//bob:hunter2@b")
    assert "it has a wrong part, number 2 of 2." in found and "hunter2" not in found
    assert problem(tmp_path, "TOOL_MODULES", "b c").startswith(
        "TOOL_MODULES: 'b c' is not a list of Python module names. "
    )
