"""
The models: one small interface, one adapter a provider.

Adapters import their SDK, which costs a second and many MiB: so each is imported only if it is configured,
in the parent before fork (`preload`), and makes its client in the worker, on first use.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from loguru import logger

from executor_worker.errors import ConfigError, ModelError, ModelNotFound
from executor_worker.providers.base import Choice, ModelReply, ModelRequest, Provider
from executor_worker.providers.endpoint import default_model, endpoint, key_variable, needs_key
from executor_worker.providers.fallbacks import ELSEWHERE, Miss, choices, fallback, spoken, unanswered
from executor_worker.providers.model_settings import ModelSettings
from executor_worker.providers.retirement import retired
from executor_worker.providers.retries import Retries
from executor_worker.providers.throttle import Throttles, alone
from executor_worker.run_context import RunContext
from executor_worker.settings.known_providers import KNOWN, canonical

__all__ = [
    "ModelSettings",
    "Models",
    "canonical",
    "default_model",
    "endpoint",
    "key_variable",
    "needs_key",
    "preload",
    "retired",
]


class Models:
    """
    The configured provider, and those that nodes fall back on; safe to construct before fork.

    Args:
        throttles: Makes what holds calls back when a provider asks for it.
    """

    def __init__(self, settings: ModelSettings, throttles: Throttles = alone) -> None:
        self.settings = settings
        self._throttles = throttles
        self._providers: dict[str, Provider] = {}
        self._pid = 0

    @property
    def default(self) -> Provider:
        """The configured provider; see `provider`."""
        return self.provider(canonical(self.settings.provider))

    def provider(self, name: str) -> Provider:
        """
        Make a provider on first use, once per process: a connection must not be shared across a fork.

        Raises:
            ConfigError: A setting can't be used, or the provider's SDK is not installed.
        """
        if self._pid != os.getpid():
            self._providers, self._pid = {}, os.getpid()
        if name not in self._providers:
            settings = self.settings.of(name)
            throttle = self._throttles(name, endpoint(name, settings.base_url), settings.api_key)
            retries = Retries(settings.max_retries, throttle=throttle)
            self._providers[name] = _adapter(name)(name, settings, retries)
        return self._providers[name]

    def complete(self, request: ModelRequest, run_context: RunContext) -> ModelReply:
        """
        Call the model, and if it can't answer its fallbacks, one after the other.

        Raises:
            ConfigError: The configured provider can't be used.
            ModelError: The first model's, with what came of the others.
            Interrupt, NodeTimeout, Cancelled: As from `Provider.complete`.
        """
        asked = Choice(request.model, canonical(self.settings.provider))
        listed = choices(request, asked.provider)
        missed: list[Miss] = []
        for choice in self._not_given_up(listed, run_context):
            started = run_context.clock()
            try:
                reply = self._ask(choice, request, run_context, required=choice == listed[0])
            except ModelError as error:
                missed.append(Miss(choice, error, run_context.clock() - started))
                if not isinstance(error, ELSEWHERE):
                    break
                if choice != listed[-1]:
                    logger.bind(model=choice.model, error_code=error.code).warning("model.passed_over")
            else:
                _count(missed, run_context)
                told = fallback(choice, asked, missed) or reply.fallback  # a recording's own
                return replace(reply, turn=spoken(choice, reply.turn, asked), fallback=told)
        # The first is counted by the caller, as the model that was asked for.
        _count([miss for miss in missed if miss.choice != listed[0]], run_context)
        raise unanswered(missed)

    def _not_given_up(self, listed: Sequence[Choice], run_context: RunContext) -> Iterator[Choice]:
        """Yield what is to be asked: a model that was given up before the item was given back is not asked again."""
        each, before = self.settings.max_retries + 1, run_context.tries
        first = min(before // each, len(listed) - 1)
        try:
            for at in range(first, len(listed)):
                run_context.spent, run_context.tries = at * each, before - at * each if at == first else 0
                yield listed[at]
        finally:
            run_context.spent = 0

    def _ask(self, choice: Choice, request: ModelRequest, run_context: RunContext, *, required: bool) -> ModelReply:
        try:
            provider = self.provider(choice.provider)
        except ConfigError as error:
            if required:
                raise
            raise ModelNotFound(str(error)) from error
        return provider.complete(replace(request, model=choice.model, fallbacks=()), run_context)

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
        known = provider.known_models(RunContext(time.monotonic() + timeout_s))
        if known and settings.model and not {settings.model, f"{settings.model}:latest"} & _bare(known):
            return f"{provider.name} answers, but does not list the model {settings.model}"
        return f"{provider.name} answers" + (f" and has the model {settings.model}" if known and settings.model else "")

    def lacking(self, models: Iterable[str], timeout_s: float = 10.0) -> list[str]:
        """
        Name those of *models* that the provider does not list; none if it lists nothing.

        Raises:
            ModelError: The provider can't be used as configured.
        """
        known = _bare(self.default.known_models(RunContext(time.monotonic() + timeout_s)))
        return [model for model in models if known and not {model, f"{model}:latest"} & known]

    def close(self) -> None:
        if self._pid == os.getpid():
            for provider in self._providers.values():
                provider.close()
        self._providers = {}


def _count(missed: Iterable[Miss], run_context: RunContext) -> None:
    for miss in missed:
        run_context.model_called(miss.choice.model, miss.seconds, None)


def preload(provider: str) -> None:
    """
    Import what *provider* needs and read the certificates, before fork.

    Raises:
        ConfigError: There is no such provider, or its SDK is not installed.
    """
    name = canonical(provider)
    _adapter(name)
    if KNOWN[name].base_url:
        # Imported here for the same reason as the adapters: it brings in the HTTP client.
        from executor_worker.providers.wire import tls_context

        tls_context()


def _adapter(name: str) -> Callable[[str, ModelSettings, Retries], Provider]:
    """Import what makes *name*: only where it is configured."""
    try:
        module = importlib.import_module(f"{__name__}.{KNOWN[name].adapter}")
    except ModuleNotFoundError as error:
        problem = f"{name} needs the package {error.name}, which is not installed."
        raise ConfigError("LLM_PROVIDER", problem, f"Install it: pip install {error.name}") from error
    make: Callable[[str, ModelSettings, Retries], Provider] = module.make
    return make


def _bare(models: list[str]) -> set[str]:
    """Gemini lists its models as `models/<name>`."""
    return {model.removeprefix("models/") for model in models}
