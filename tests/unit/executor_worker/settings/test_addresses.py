"""Addresses that can't be taken apart for certain are refused, and nothing of what may be a password is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor_worker.broker.connection.endpoint import Endpoint
from executor_worker.errors import ConfigError
from executor_worker.settings import ConfigErrors, Settings
from executor_worker.settings.addresses import without_password
from executor_worker.tools.mcp_config import load_servers

PARTS = ("hunter", "sesame")  # of passwords, in every address here

REDIS = (
    "redis://:hunter@2/sesame@127.0.0.1:6379",
    "redis://:hunter@2sesame@127.0.0.1:65x/0",
    "redis://:hunter/sesame@127.0.0.1:6379",
    "redis://:hunter?sesame@127.0.0.1:6379",
    "redis://:12#sesame@127.0.0.1:6379",
    "redis://u:12/sesame@127.0.0.1:6379",
    "redis://:hunter[sesame@127.0.0.1:6379",
    "redis://:hunter\tsesame@127.0.0.1:6379",
    *("redis://:hunter", "redis://u:hunter", "redis://:hunter:6379", "redis://:hunter%zz@h:6x"),
    *("redis:/:hunter@127.0.0.1", "redis//:hunter@127.0.0.1", ":hunter@127.0.0.1:6379", "hunter/sesame@127.0.0.1:1"),
    *("http://:hunter@127.0.0.1", "redis://:hunter@h:6379/0/1", "redis://:hunter@h/abc", "redis://h:6379/hunter-two"),
    "redis+sentinel://u:hunter/sesame@h1:26379,h2:26379/main",
    "redis+sentinel://h1:2x/main?sentinel_password=hunter",
    *("unix://:hunter@/sesame@/run/redis.sock", "unix://:12/sesame@/run/redis.sock"),
)
WEB = (
    "https://user:hunter@sesame/w@host/mcp",
    "https://user:hunter/sesame@host/mcp",
    "https://user:12/sesame@host/mcp",
    "https://user:12#sesame@host/mcp",
    "https://user:12?sesame@host/mcp",
    "https://user:hunter sesame@host/mcp",
    "https://user:hunter[sesame@host/mcp",
    *("https//user:hunter@host/mcp", "https:/user:hunter@host/mcp", "htp://user:hunter@host/mcp"),
    *("https://:hunter", "https://user:hunter", "https://hunter@host:x/mcp", "https://host:8x/?auth=hunter"),
)
WEB_SETTINGS = {
    "MCP_SERVERS": "{}",
    "LLM_BASE_URL": "{}",
    "API_TOOLS_URL": "{}",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "{}",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "{}",
    "LLM_FALLBACK_URLS": "ollama={}",
}


def refusal(folder: Path, variable: str, value: str) -> str:
    """What is said of *value* at start, from the settings or by whoever reads them."""
    try:
        Endpoint.parse(Settings.load({variable: value}, folder).redis_addr)
    except (ConfigError, ConfigErrors) as error:
        return str(error)
    pytest.fail(f"{variable} was taken")


@pytest.mark.parametrize("address", REDIS)
def test_an_address_of_redis_that_cannot_be_taken_apart_is_not_shown(tmp_path: Path, address: str) -> None:
    """The variable and the fix are; also where the broker reads an address that the settings have not seen."""
    said = refusal(tmp_path, "REDIS_ADDR", address)
    assert said.startswith("REDIS_ADDR: its value ")
    assert ("%40" in said) is ("@" in address)
    with pytest.raises(ConfigError) as caught:
        Endpoint.parse(address)
    assert not [part for part in PARTS if part in said or part in str(caught.value)]


@pytest.mark.parametrize("variable", WEB_SETTINGS)
@pytest.mark.parametrize("address", WEB)
def test_an_address_of_a_server_that_cannot_be_taken_apart_is_not_shown(
    tmp_path: Path, variable: str, address: str
) -> None:
    said = refusal(tmp_path, variable, WEB_SETTINGS[variable].format(address))
    assert said.startswith(f"{variable}: its value ")
    assert not [part for part in PARTS if part in said]


@pytest.mark.parametrize("variable", ["WORKERS", "LOG_LEVEL", "HEALTH_PORT", "WORKER_ID"])
def test_an_address_in_a_wrong_variable_is_not_shown(tmp_path: Path, variable: str) -> None:
    """One line further down in the settings file than was meant."""
    assert "hunter" not in refusal(tmp_path, variable, "redis://:hunter@host/ 6379")


def test_words_of_a_list_are_not_shown_beside_a_bad_one(tmp_path: Path) -> None:
    """A list is refused as a whole; its good addresses hold passwords too."""
    assert "hunter" not in refusal(tmp_path, "MCP_SERVERS", "a=https://u:hunter@host/mcp,b=nowhere")


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://host.example/@scope/server/mcp", "host.example"),
        ("https://host.example:8080/@scope/server", "host.example:8080"),
        ("https://u:p@host.example/@scope/server", "host.example"),
        ("https://host.example/package@1.0/mcp", "host.example"),
        ("https://host.example:8080/mcp?user=me@example.com", "host.example:8080"),
        ("https://u:p@ss@host.example/mcp", "host.example"),
        ("https://u:p%40ss%2Fw@host.example/mcp", "host.example"),
    ],
)
def test_what_is_certain_is_taken(tmp_path: Path, address: str, name: str) -> None:
    settings = Settings.load({"MCP_SERVERS": address}, tmp_path)
    assert [server.name for server in load_servers(settings.mcp_servers, "", {})] == [name]


@pytest.mark.parametrize(
    ("address", "secrets"),
    [
        ("https://hunter@host/mcp", {"hunter"}),
        ("https://u:hunter%2Fx@host/mcp", {"hunter/x", "hunter%2Fx"}),
        ("https://host/mcp?sig=hunter&a=b", {"hunter"}),
        ("https://host/mcp?api_key=hunter,sesame", {"hunter,sesame"}),
        ("u:hunter@host/v1", {"hunter"}),
    ],
)
def test_secrets_of_every_notation_are_known_and_not_shown(tmp_path: Path, address: str, secrets: set[str]) -> None:
    """Also a token in the user's place, an unusual parameter, an address without its scheme."""
    settings = Settings.load({"LLM_BASE_URL": address}, tmp_path)
    assert set(settings.secrets) == secrets
    assert "hunter" not in without_password(address) + repr(settings)


def test_what_holds_no_secret_is_shown_as_it_is() -> None:
    for text in ("https://host:1/path?page=2#top", "executor-1@host", "name=https://host/mcp", "what?"):
        assert without_password(text) == text
