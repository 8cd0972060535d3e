"""The configured provider: made late, once a process; models that were retired."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from datetime import date
from types import ModuleType

import pytest

from executor_worker.errors import ConfigError, ModelRefused
from executor_worker.providers import Models, ModelSettings, canonical, endpoint, preload, retired
from executor_worker.settings import Settings
from executor_worker.settings.known_providers import KNOWN, Known
from tests.unit.executor_worker.providers.dialects import KEY, Dialect, asked, run_context
from tests.unit.executor_worker.providers.fault_server import FaultServer, failure, page, stream


@pytest.mark.parametrize("provider", ["anthropic", "claude", "openai", "gpt", "ollama", "local", "gemini", "google"])
def test_every_provider_answers_under_its_name(provider: str, faulty: FaultServer) -> None:
    """By name or alias, at the address of the settings."""
    dialect = Dialect("anthropic" if provider in ("anthropic", "claude") else "openai")
    faulty.will(stream(dialect.begin(), dialect.text("here"), dialect.end()))
    models = Models(ModelSettings(provider, api_key=KEY, base_url=faulty.url))
    assert models.default.complete(asked(), run_context()).text == "here"
    assert models.default is models.default
    models.close()
    models.close()


def test_the_key_is_not_in_the_settings_text() -> None:
    """Nor is it shown by a debugger's print."""
    assert KEY not in repr(ModelSettings("openai", api_key=KEY))


def in_child(work: Callable[[], None]) -> int:
    """Run *work* in a forked child; its exit status is 0 if it did not raise."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 -- a forked child must never return into pytest
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_has_a_client_of_its_own(dialect: Dialect, faulty: FaultServer) -> None:
    """Even where the parent made and used one before the fork."""
    faulty.will(stream(dialect.begin(), dialect.text("here"), dialect.end()))
    preload(dialect.name)
    models = Models(ModelSettings(dialect.name, api_key=KEY, base_url=faulty.url, max_retries=0))
    parents = models.default
    assert parents.complete(asked(), run_context()).text == "here"

    def work() -> None:
        assert models.default is not parents
        assert models.default.complete(asked(), run_context()).text == "here"

    assert in_child(work) == 0
    assert models.default is parents
    assert parents.complete(asked(), run_context()).text == "here"
    models.close()


def test_only_the_configured_sdk_is_imported_and_starts_no_thread() -> None:
    """Each weighs a second and many MiB; making the models imports none. A process that forks must have one thread."""
    code = (
        "import os, sys, json\n"
        "from executor_worker.providers import Models, ModelSettings, preload\n"
        "loaded = lambda: [name for name in ('anthropic', 'openai', 'httpx2') if name in sys.modules]\n"
        "models = Models(ModelSettings('scripted')); models.default; preload('scripted'); steps = [loaded()]\n"
        "preload('anthropic'); steps.append(loaded())\n"
        "preload('openai'); steps.append(loaded())\n"
        "print(json.dumps([*steps, len(os.listdir('/proc/self/task'))]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == [[], ["anthropic", "httpx2"], ["anthropic", "openai", "httpx2"], 1]


def test_a_missing_sdk_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    monkeypatch.setitem(sys.modules, "openai", None)
    monkeypatch.delitem(sys.modules, "executor_worker.providers.openai_chat", raising=False)
    with pytest.raises(ConfigError, match="LLM_PROVIDER: openai needs the package openai"):
        preload("gpt")


def test_a_check_tells_what_the_server_has(dialect: Dialect, faulty: FaultServer) -> None:
    """The model is there, is not, can't be known, or the key is wrong."""
    listed = page(200, json.dumps({"data": [{"id": "models/big"}, {"id": "small:latest"}]}))
    faulty.will(listed, listed, listed, page(200, '{"data": []}'), failure(401, "authentication_error", "bad key"))

    def checked(model: str) -> str:
        models = Models(ModelSettings(dialect.name, api_key=KEY, base_url=faulty.url, model=model))
        try:
            return models.check(5)
        finally:
            models.close()

    assert checked("big") == f"{dialect.name} answers and has the model big"
    assert checked("small") == f"{dialect.name} answers and has the model small"
    assert checked("other") == f"{dialect.name} answers, but does not list the model other"
    assert checked("any") == f"{dialect.name} answers"
    with pytest.raises(ModelRefused, match="bad key"):
        checked("big")


def test_retired_models() -> None:
    """Past and future by today's date; models that are not listed are not retired."""
    old = retired("claude-sonnet-4-20250514", date(2026, 11, 21))
    assert old == "the model claude-sonnet-4-20250514 was retired on 2026-06-15"
    soon = retired("claude-sonnet-4-5", date(2026, 11, 21))
    assert soon == "the model claude-sonnet-4-5 will be retired on 2026-11-30"
    assert retired("claude-sonnet-4-5", date(2026, 12, 1)) == "the model claude-sonnet-4-5 was retired on 2026-11-30"
    assert retired("claude-sonnet-5-5") is None


def test_every_date_the_sdk_gives_is_understood() -> None:
    """None falls back to the bare text."""
    from anthropic.resources.messages import DEPRECATED_MODELS

    said = [retired(model, date(2030, 1, 1)) or "" for model in DEPRECATED_MODELS]
    assert said
    assert all(" was retired on 20" in text for text in said)


@pytest.mark.parametrize("name", [name for known, one in KNOWN.items() for name in (known, *one.aliases)])
def test_settings_take_every_provider_that_is_known(name: str) -> None:
    """By name and alias: what the list has needs no other place."""
    assert Settings.load({"LLM_PROVIDER": name, "ENV_FILE": os.devnull}).llm_provider == canonical(name)


def test_a_provider_is_a_file_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name, its endpoint and its `make` are all that is asked for."""
    made = ModuleType("made_up")
    vars(made)["make"] = lambda name, settings, retries: (name, settings.model)
    monkeypatch.setitem(sys.modules, "executor_worker.providers.made_up", made)
    monkeypatch.setitem(KNOWN, "mine", Known("made_up", "https://models.example.com", "m", keyed=False))
    models = Models(ModelSettings("mine", model="m"))
    made_of: object = models.default
    assert made_of == ("mine", "m")
    assert endpoint("mine") == "https://models.example.com"
    preload("mine")
