"""
The models: one small interface, one adapter a provider.

Adapters import their SDK, which costs a second and many MiB: so each is imported only where it is configured,
in the parent before fork (`preload`), and makes its client in the worker, on first use.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from executor_worker.errors import ConfigError
from executor_worker.providers.base import Provider
from executor_worker.providers.endpoint import PLACES, canonical, default_model, endpoint, needs_key
from executor_worker.providers.retirement import retired
from executor_worker.providers.retries import Retries
from executor_worker.watch import Watch

__all__ = [
    "ModelSettings",
    "Models",
    "canonical",
    "default_model",
    "endpoint",
    "needs_key",
    "preload",
    "retired",
]


@dataclass(frozen=True)
class ModelSettings:
    """
    Attributes:
        provider: Name or alias.
        base_url: Empty: the provider's own endpoint.
        model: Used by callers wherever a node names none.
        timeout_s: Limit of one attempt, from connecting to the last event.
        max_retries: Attempts after the first.
        script: File of rules for the scripted provider, or the replayed recording; empty: none.
    """

    provider: str = "anthropic"
    api_key: str = field(default="", repr=False)
    base_url: str = ""
    model: str = ""
    timeout_s: float = 120.0
    max_retries: int = 3
    script: str = ""


class Models:
    """The configured provider; safe to construct before fork."""

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings
        self._provider: Provider | None = None
        self._pid = 0

    @property
    def default(self) -> Provider:
        """
        Make the provider on first use, once per process: a connection must not be shared across a fork.

        Raises:
            ConfigError: A setting can't be used, or the provider's SDK is not installed.
        """
        if self._provider is None or self._pid != os.getpid():
            self._provider = _adapter(canonical(self.settings.provider))(self.settings)
            self._pid = os.getpid()
        return self._provider

    def check(self, timeout_s: float = 10.0) -> str:
        """
        Ask the provider which models it has, which costs nothing.

        Returns:
            A sentence for the operator.

        Raises:
            ModelError: The provider can't be used as configured.
        """
        provider = self.default
        settings = self.settings
        known = provider.known_models(Watch(time.monotonic() + timeout_s))
        if known and settings.model and not {settings.model, f"{settings.model}:latest"} & _bare(known):
            return f"{provider.name} answers, but does not list the model {settings.model}"
        return f"{provider.name} answers" + (f" and has the model {settings.model}" if known and settings.model else "")

    def close(self) -> None:
        if self._provider is not None and self._pid == os.getpid():
            self._provider.close()
        self._provider = None


def preload(provider: str) -> None:
    """
    Import what *provider* needs and read the certificates, before fork.

    Raises:
        ConfigError: There is no such provider, or its SDK is not installed.
    """
    name = canonical(provider)
    _adapter(name)
    if PLACES[name].base_url:
        # Imported here for the same reason as the adapters: it brings in the HTTP client.
        from executor_worker.providers.wire import tls_context

        tls_context()


def _adapter(name: str) -> Callable[[ModelSettings], Provider]:
    try:
        return _ADAPTERS[name]()
    except ModuleNotFoundError as error:
        problem = f"{name} needs the package {error.name}, which is not installed."
        raise ConfigError("LLM_PROVIDER", problem, f"Install it: pip install {error.name}") from error


def _anthropic() -> Callable[[ModelSettings], Provider]:
    from executor_worker.providers.anthropic_messages import AnthropicMessages  # only where configured

    return lambda settings: AnthropicMessages(
        api_key=settings.api_key,
        base_url=endpoint("anthropic", settings.base_url),
        timeout_s=settings.timeout_s,
        retries=Retries(settings.max_retries),
    )


def _openai(name: str) -> Callable[[ModelSettings], Provider]:
    from executor_worker.providers.openai_chat import OpenAIChat  # only where configured

    return lambda settings: OpenAIChat(
        name=name,
        api_key=settings.api_key,
        base_url=endpoint(name, settings.base_url),
        timeout_s=settings.timeout_s,
        retries=Retries(settings.max_retries),
    )


def _scripted() -> Callable[[ModelSettings], Provider]:
    from executor_worker.providers.scripted import Scripted  # only where configured

    return lambda settings: Scripted(
        timeout_s=settings.timeout_s,
        retries=Retries(settings.max_retries),
        script=settings.script,
    )


def _replay() -> Callable[[ModelSettings], Provider]:
    from executor_worker.providers.replay import Replay  # only where configured

    return lambda settings: Replay(settings.script)


_ADAPTERS: dict[str, Callable[[], Callable[[ModelSettings], Provider]]] = {
    "anthropic": _anthropic,
    "openai": lambda: _openai("openai"),
    "ollama": lambda: _openai("ollama"),
    "gemini": lambda: _openai("gemini"),
    "scripted": _scripted,
    "replay": _replay,
}


def _bare(models: list[str]) -> set[str]:
    """Gemini lists its models as `models/<name>`."""
    return {model.removeprefix("models/") for model in models}
