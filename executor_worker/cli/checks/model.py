"""Is the model's endpoint there, does it know our key, is the model still offered?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from executor_worker.cli.checks.finding import Finding, fix, from_error, ok
from executor_worker.cli.exits import CONFIG
from executor_worker.errors import ConfigError, ModelError, ModelRefused, NodeError
from executor_worker.program.wiring import PATIENCE_S, model_name, model_settings, require_model
from executor_worker.providers import Models, key_variable, retired
from executor_worker.providers.prices import Prices
from executor_worker.settings import Settings
from executor_worker.settings.addresses import without_password


def check_model(settings: Settings) -> Iterator[Finding]:
    yield from _retirement(settings)
    try:
        require_model(settings, os.environ)
    except ConfigError as error:
        yield from_error(error, CONFIG)
        return
    yield from _prices(settings)
    yield from _endpoint(settings)
    yield from _fallbacks(settings)


def _fallbacks(settings: Settings) -> Iterator[Finding]:
    """Look at what nodes may fall back on; which of it they name is theirs to say."""
    missing = [key_variable(name) for name, key in settings.fallback_keys.items() if not key]
    yield ok("fallbacks", f"those to other models of {settings.llm_provider} need nothing more")
    for provider in settings.fallback_providers:
        yield _fallback(settings, provider)
    unset = [name for name in missing if name.rpartition("_")[2].lower() not in settings.fallback_providers]
    if unset:
        yield ok("fallbacks", f"not set: {', '.join(unset)}; a node's fallback to that provider is passed over")


def _fallback(settings: Settings, provider: str) -> Finding:
    variable = key_variable(provider) if provider in settings.fallback_keys else "LLM_FALLBACK_URLS"
    models = None
    try:
        own = replace(model_settings(settings).of(provider), model="", provider=provider)
        models = Models(own)
        return ok(variable, f"fallback {models.check(PATIENCE_S)}")
    except ConfigError as error:
        return from_error(error)
    except NodeError as error:
        return fix(variable, f"fallback {provider}: {error}. Correct it, or leave it out.")
    finally:
        if models is not None:
            models.close()


def _retirement(settings: Settings) -> Iterator[Finding]:
    model = model_name(settings)
    if not model:
        text = f"not set: with {settings.llm_provider} every node has to name its own"
        yield ok("LLM_MODEL", text)
    elif settings.llm_provider == "anthropic" and (sentence := retired(model)):
        yield fix("LLM_MODEL", f"{sentence}; name a current one, for instance claude-sonnet-5-5.")


def _prices(settings: Settings) -> Iterator[Finding]:
    if not settings.llm_prices:
        return
    try:
        prices = Prices.load(settings.llm_prices)
    except ConfigError as error:
        yield from_error(error)
        return
    model = model_name(settings)
    if model and prices.find(model) is None:
        yield fix("LLM_PRICES", f"{settings.llm_prices} has no price for LLM_MODEL, {model}; add it.")
    else:
        yield ok("LLM_PRICES", f"{settings.llm_prices} has the prices of {len(prices.table)} models")


def _endpoint(settings: Settings) -> Iterator[Finding]:
    models = Models(model_settings(settings))
    where = without_password(settings.llm_base_url) or f"provider {settings.llm_provider}"
    try:
        yield ok("LLM_PROVIDER", models.check(PATIENCE_S))
        yield from _models_of_roles(settings, models)
    except ConfigError as error:
        yield from_error(error)
    except ModelError as error:
        if isinstance(error, ModelRefused):
            yield fix("LLM_API_KEY", f"{error}. Correct the key, or fill its account.")
            return
        advice = f"Start what should answer at {where}, or correct LLM_BASE_URL"
        if not settings.llm_base_url:
            advice = "See whether this machine may reach it, or name another address by LLM_BASE_URL"
        yield fix("LLM_BASE_URL", f"{error}. {advice}.")
    except NodeError:
        yield fix("LLM_BASE_URL", f"{where} did not answer within {PATIENCE_S:g} s; see whether it can be reached.")
    finally:
        models.close()


def _models_of_roles(settings: Settings, models: Models) -> Iterator[Finding]:
    """Look for models that roles ask for, and that the endpoint has not; one that lists none is not asked."""
    asked: dict[str, list[str]] = {}
    for role in settings.role_table:
        asked.setdefault(role.model_beside(settings.llm_model), []).append(role.name)
    for model in models.lacking(asked, PATIENCE_S) if asked else ():
        roles = f"the role{'s' if len(asked[model]) > 1 else ''} {', '.join(asked[model])}"
        advice = "Load it there, name another in ROLES_CONFIG, or one for all roles by LLM_MODEL"
        yield fix("ROLES", f"{models.default.name} does not list {model}, the model of {roles}. {advice}.")
