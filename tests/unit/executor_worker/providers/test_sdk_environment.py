"""What is in the environment for the providers' SDKs is not for whatever LLM_BASE_URL is."""

from __future__ import annotations

import os

import pytest

from executor_worker.providers.openai_chat import OpenAIChat
from executor_worker.providers.retries import Retries
from tests.unit.executor_worker.providers.dialects import KEY, Dialect, asked, run_context
from tests.unit.executor_worker.providers.fault_server import FaultServer, page

PLANTED = {
    "OPENAI_API_KEY": "planted",
    "OPENAI_ADMIN_KEY": "planted",
    "OPENAI_ORG_ID": "planted",
    "OPENAI_PROJECT_ID": "planted",
    "OPENAI_BASE_URL": "http://planted.invalid",
    "OPENAI_CUSTOM_HEADERS": "x-team: planted\nauthorization: planted",
    "ANTHROPIC_API_KEY": "planted",
    "ANTHROPIC_AUTH_TOKEN": "planted",
    "ANTHROPIC_BASE_URL": "http://planted.invalid",
    "ANTHROPIC_CUSTOM_HEADERS": "x-team: planted\nauthorization: planted",
    "ANTHROPIC_PROFILE": "planted",
}


def test_nothing_of_the_environment_is_sent(
    dialect: Dialect, faulty: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys, organisation, project, headers; and it is there for others as it was."""
    for name, text in PLANTED.items():
        monkeypatch.setenv(name, text)
    faulty.will(page(200, dialect.whole("ok")))
    provider = dialect.provider(faulty.url)
    assert provider.complete(asked(), run_context()).text == "ok"
    provider.close()
    (headers,) = faulty.headers
    assert "planted" not in str(headers)
    assert headers["authorization"] == f"Bearer {KEY}"
    assert {name: os.environ[name] for name in PLANTED} == PLANTED


def test_a_server_without_a_key_gets_no_other(faulty: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of one's own never gets OpenAI's."""
    monkeypatch.setenv("OPENAI_API_KEY", "planted")
    faulty.will(page(200, Dialect("openai").whole("ok")))
    model = OpenAIChat(name="ollama", api_key="", base_url=faulty.url, timeout_s=5, retries=Retries(0))
    model.complete(asked(), run_context())
    model.close()
    assert faulty.headers[0]["authorization"] == "Bearer none"
