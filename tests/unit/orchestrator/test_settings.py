"""What the API takes of the settings, and what does not fit together."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor_worker.errors import ConfigError
from executor_worker.settings import ConfigErrors, Settings
from orchestrator.settings import api_settings, is_loopback
from orchestrator.tokens_file import _make


def load(folder: Path, **environ: str) -> Settings:
    return Settings.load(environ, folder)


def test_tokens_are_read_with_name_and_role(tmp_path: Path) -> None:
    """The secret is what comes after the second colon; it is shown nowhere."""
    settings = load(tmp_path, API_TOKENS="a:read:x:y, b:operate:zz")
    first, second = api_settings(settings).tokens
    assert (first.name, first.role, first.secret) == ("a", "read", "x:y")
    assert (second.name, second.role, second.secret) == ("b", "operate", "zz")
    assert "x:y" in settings.secrets and "x:y" not in repr(settings) and "x:y" not in repr(first)


def test_tokens_come_from_a_file(tmp_path: Path) -> None:
    """As secrets do."""
    (tmp_path / "tokens").write_text("a:submit:secret\n")
    assert api_settings(load(tmp_path, API_TOKENS_FILE=str(tmp_path / "tokens"))).tokens[0].name == "a"


@pytest.mark.parametrize("tokens", ["a", "a:read", "a:admin:x", ":read:x", "a:read:", "a b:read:x", "a:read:x y"])
def test_tokens_of_another_form_are_refused_unseen(tmp_path: Path, tokens: str) -> None:
    """The sentence says what is wanted, and not what was given."""
    with pytest.raises(ConfigErrors, match="API_TOKENS: its value is not a list of name:role:token") as refused:
        load(tmp_path, API_TOKENS=tokens)
    assert "admin" not in str(refused.value)


@pytest.mark.parametrize(("other", "who"), [("b:read:x", "b:read"), ("a:operate:x", "a:operate")])
def test_a_token_stands_for_one_caller(tmp_path: Path, other: str, who: str) -> None:
    """Else what its bearer may do would be that of whichever comes first; said twice it is one."""
    with pytest.raises(ConfigError, match=f"API_TOKENS: a:read and {who} have the same token"):
        api_settings(load(tmp_path, API_TOKENS=f"a:read:x,{other}"))
    assert len(api_settings(load(tmp_path, API_TOKENS="a:read:x,a:submit:y,a:read:x")).tokens) == 3


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "::", "example.com"])
def test_beyond_loopback_it_wants_tokens_or_a_word(tmp_path: Path, host: str) -> None:
    """Else whoever reaches it could do everything, unasked."""
    with pytest.raises(ConfigError, match="API_TOKENS=name:role:token, or API_OPEN=1"):
        api_settings(load(tmp_path, DAGO_HTTP_HOST=host))
    api_settings(load(tmp_path, DAGO_HTTP_HOST=host, API_OPEN="1"))
    api_settings(load(tmp_path, DAGO_HTTP_HOST=host, API_TOKENS="a:read:x"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_is_open(host: str) -> None:
    """It is this machine's own."""
    assert is_loopback(host)


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    """And the other way round."""
    with pytest.raises(ConfigError, match="API_TLS_CERT: comes without API_TLS_KEY"):
        api_settings(load(tmp_path, API_TLS_CERT="a.pem"))
    with pytest.raises(ConfigError, match="API_TLS_KEY: comes without API_TLS_CERT"):
        api_settings(load(tmp_path, API_TLS_KEY="a.pem"))


def test_a_rate_is_shared_by_the_processes(tmp_path: Path) -> None:
    """Together they allow what is set."""
    assert api_settings(load(tmp_path, API_RATE="10", API_PROCESSES="4")).rate == 2.5


def test_a_token_is_made_once_and_kept(tmp_path: Path) -> None:
    """Beyond loopback, if there is none: the file is its user's own, and all who share the folder read the same."""
    file = tmp_path / "tokens"
    given = {"DAGO_HTTP_HOST": "0.0.0.0", "API_TOKENS_CREATE": str(file)}
    (made,) = api_settings(load(tmp_path, **given)).tokens
    assert (made.name, made.role) == ("dago", "operate") and len(made.secret) > 40
    assert file.stat().st_mode & 0o777 == 0o600 and made.secret in file.read_text()
    assert api_settings(load(tmp_path, **given)).tokens == (made,)
    assert [path.name for path in tmp_path.iterdir()] == ["tokens"]


@pytest.mark.parametrize("more", [{"API_TOKENS": "a:read:x"}, {"API_OPEN": "1"}, {"DAGO_HTTP_HOST": "127.0.0.1"}])
def test_no_token_is_made_where_none_is_needed(tmp_path: Path, more: dict[str, str]) -> None:
    """Tokens that are given, a word that it is open, and loopback go first."""
    given = {"DAGO_HTTP_HOST": "0.0.0.0", "API_TOKENS_CREATE": str(tmp_path / "tokens"), **more}
    assert [token.name for token in api_settings(load(tmp_path, **given)).tokens] == ["a"] * ("API_TOKENS" in more)
    assert list(tmp_path.iterdir()) == []


def test_a_token_that_can_not_be_made_or_read_is_said(tmp_path: Path) -> None:
    """With the folder to mount, and never with what the file holds."""
    given = {"DAGO_HTTP_HOST": "0.0.0.0", "API_TOKENS_CREATE": str(tmp_path / "gone" / "tokens")}
    with pytest.raises(ConfigError, match=r"API_TOKENS_CREATE: .*can't be made or read.*Mount a folder"):
        api_settings(load(tmp_path, **given))
    (tmp_path / "tokens").write_text("my secret\n")
    with pytest.raises(ConfigError, match="does not hold a list of name:role:token") as refused:
        api_settings(load(tmp_path, **given | {"API_TOKENS_CREATE": str(tmp_path / "tokens")}))
    assert "secret" not in str(refused.value)


def test_of_two_hosts_that_make_one_the_first_wins(tmp_path: Path) -> None:
    """The name is given once, to a file that is whole."""
    file = tmp_path / "tokens"
    assert _make(file) and not _make(file)
    assert [path.name for path in tmp_path.iterdir()] == ["tokens"]
