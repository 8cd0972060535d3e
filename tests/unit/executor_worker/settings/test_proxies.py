"""Proxies of the environment: which one is taken for an address, and what is said of those that can't be used."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from executor_worker.errors import ConfigError
from executor_worker.program.wiring import require_model, tool_registry, tracing_of
from executor_worker.settings import Settings
from executor_worker.settings.proxies import proxy_for, proxy_problem

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def settings(folder: Path, **environ: str) -> Settings:
    return Settings.load({"LLM_API_KEY": "k", "WORKER_ID": "w", **environ}, folder)


def test_the_proxy_of_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its scheme, else the one for all; none for what is excepted."""
    monkeypatch.setenv("ALL_PROXY", "http://all:1")
    monkeypatch.setenv("https_proxy", "secure:2")
    monkeypatch.setenv("NO_PROXY", "near.example")
    assert proxy_for("http://far.example") == "http://all:1"
    assert proxy_for("https://far.example/v1") == "http://secure:2"
    assert proxy_for("https://near.example/v1") is None


@pytest.mark.skipif(importlib.util.find_spec("socksio") is not None, reason="socksio is installed here")
@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "SOCKS5"])
@pytest.mark.parametrize("variable", ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy"])
def test_socks_without_its_package_is_a_wrong_setting(
    variable: str, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At start, by the variable, with what to install; the password is not shown."""
    monkeypatch.setenv(variable, f"{scheme}://me:planted@proxy:1080")
    for make in (
        lambda: require_model(settings(tmp_path), {}),
        lambda: require_model(settings(tmp_path, LLM_PROVIDER="ollama", LLM_API_KEY_OPENAI="k"), {}),
        lambda: tool_registry(settings(tmp_path, MCP_SERVERS="https://tools.example/mcp")),
        lambda: tool_registry(settings(tmp_path, API_TOOLS_URL="https://tools.example")),
    ):
        with pytest.raises(ConfigError, match=f"^{variable}: ") as raised:
            make()
        assert "pip install 'httpx2[socks]'" in str(raised.value)
        assert "planted" not in str(raised.value)


@pytest.mark.skipif(importlib.util.find_spec("socks") is not None, reason="PySocks is installed here")
def test_socks_for_traces_needs_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are sent by requests."""
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    with pytest.raises(ConfigError, match=r"pip install 'requests\[socks\]'"):
        tracing_of(settings(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="https://collector.example"), "w.1")


@pytest.mark.parametrize("address", ["socks4://proxy:1", "ftp://proxy:1", "http://", "http://u:pl@nted@proxy:x/"])
def test_what_is_no_proxy_is_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else it may be."""
    monkeypatch.setenv("HTTPS_PROXY", address)
    problem = proxy_problem("https://api.example")
    assert problem is not None
    assert problem.variable == "HTTPS_PROXY"
    assert "nted" not in str(problem)


def test_what_needs_no_proxy_is_not_kept_from_working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Excepted addresses, another scheme, a provider without a network."""
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    monkeypatch.setenv("NO_PROXY", "localhost,api.anthropic.com,tools.example")
    require_model(settings(tmp_path), {})
    require_model(settings(tmp_path, LLM_PROVIDER="ollama"), {})
    require_model(settings(tmp_path, LLM_PROVIDER="scripted"), {})
    tool_registry(settings(tmp_path, MCP_SERVERS="https://tools.example/mcp")).close()
