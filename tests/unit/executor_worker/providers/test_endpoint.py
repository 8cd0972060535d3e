"""Where calls go: names, aliases and addresses as people write them."""

from __future__ import annotations

import pytest

from executor_worker.errors import ConfigError
from executor_worker.providers import canonical, default_model, endpoint, needs_key


@pytest.mark.parametrize(
    ("provider", "given", "used"),
    [
        ("openai", "", "https://api.openai.com/v1"),
        ("ollama", "", "http://localhost:11434/v1"),
        ("anthropic", "", "https://api.anthropic.com"),
        ("gemini", "", "https://generativelanguage.googleapis.com/v1beta/openai"),
        ("openai", "http://vllm:8000", "http://vllm:8000/v1"),
        ("openai", "http://vllm:8000/", "http://vllm:8000/v1"),
        ("openai", "http://vllm:8000/v1", "http://vllm:8000/v1"),
        ("openai", "http://vllm:8000/v1/", "http://vllm:8000/v1"),
        ("openai", "http://vllm:8000/v1/chat/completions", "http://vllm:8000/v1"),
        ("openai", "http://vllm:8000/v1/chat/completions/", "http://vllm:8000/v1"),
        ("openai", "https://gateway.example/llm", "https://gateway.example/llm/v1"),
        ("openai", "https://api.perplexity.example/chat/completions", "https://api.perplexity.example"),
        ("openai", "https://gateway.example/v2beta/openai", "https://gateway.example/v2beta/openai"),
        ("openai", "api.example.com", "https://api.example.com/v1"),
        ("ollama", "localhost:11434", "http://localhost:11434/v1"),
        ("local", "10.0.0.7:11434", "http://10.0.0.7:11434/v1"),
        ("ollama", "http://localhost:11434/api/chat", "http://localhost:11434/v1"),
        ("ollama", "http://localhost:11434/api/generate", "http://localhost:11434/v1"),
        ("anthropic", "http://gateway:4000", "http://gateway:4000"),
        ("claude", "http://gateway:4000/v1", "http://gateway:4000"),
        ("anthropic", "http://gateway:4000/x/v1/messages", "http://gateway:4000/x"),
        ("scripted", "http://whatever", ""),
    ],
)
def test_addresses_in_every_form(provider: str, given: str, used: str) -> None:
    """With or without scheme, version and path."""
    assert endpoint(provider, given) == used


@pytest.mark.parametrize("given", ["ftp://x", "http://", "http://x:port/", "http://x:0"])
def test_what_is_no_address_is_a_config_error(given: str) -> None:
    """Named with its variable and its value."""
    with pytest.raises(ConfigError, match="LLM_BASE_URL"):
        endpoint("openai", given)


def test_a_password_in_a_bad_address_is_not_shown() -> None:
    """Secrets never."""
    with pytest.raises(ConfigError) as caught:
        endpoint("openai", "ftp://user:passw0rd@host/x")
    assert "passw0rd" not in str(caught.value)


def test_names_and_aliases() -> None:
    """In any case; others are refused with the list."""
    pairs = {"claude": "anthropic", "GPT": "openai", "local": "ollama", "google": "gemini", " Scripted ": "scripted"}
    assert {name: canonical(name) for name in pairs} == pairs
    with pytest.raises(ConfigError, match=r"LLM_PROVIDER: 'mystery' is no provider.*anthropic, openai"):
        canonical("mystery")


def test_who_needs_a_key_and_who_has_a_default_model() -> None:
    """One's own compatible server may do without."""
    assert needs_key("anthropic")
    assert needs_key("claude", "http://gateway:4000")
    assert needs_key("gpt")
    assert needs_key("openai", "https://api.openai.com")
    assert not needs_key("openai", "http://localhost:8000/v1")
    assert needs_key("gemini")
    assert not needs_key("ollama")
    assert not needs_key("scripted")
    assert default_model("claude") == "claude-sonnet-5-5"
    assert default_model("openai") is None
