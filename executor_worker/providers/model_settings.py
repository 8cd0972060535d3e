"""Settings that adapters are made from: the configured provider, and those that fallbacks name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from executor_worker.errors import ConfigError
from executor_worker.providers.endpoint import key_variable, needs_key
from executor_worker.settings.known_providers import canonical


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
        keys, base_urls: Of other providers, by name, for fallbacks that name them.
        of_one_call: `base_url` is the address of a call: its server is asked for nothing else.
    """

    provider: str = "anthropic"
    api_key: str = field(default="", repr=False)
    base_url: str = field(default="", repr=False)  # may hold a password, as URLs do
    model: str = ""
    timeout_s: float = 120.0
    max_retries: int = 3
    script: str = ""
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    base_urls: Mapping[str, str] = field(default_factory=dict, repr=False)
    of_one_call: bool = False

    def of(self, provider: str) -> ModelSettings:
        """
        Give what holds for *provider*, the configured one or another.

        Raises:
            ConfigError: It needs a key, and there is none.
        """
        if provider == canonical(self.provider):
            return self
        key, base_url = self.keys.get(provider, ""), self.base_urls.get(provider, "")
        if not key and needs_key(provider, base_url):
            problem = f"it is not set, and a fallback to {provider} needs it."
            raise ConfigError(key_variable(provider), problem, f"Set it, or {key_variable(provider)}_FILE.")
        return replace(self, provider=provider, api_key=key, base_url=base_url, of_one_call=False)
