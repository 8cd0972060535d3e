"""Settings of the models that nodes ask."""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasChoices, Field

from executor_worker.settings import addresses, kinds
from executor_worker.settings.kinds import Shown
from executor_worker.settings.known_providers import KNOWN
from executor_worker.settings.parts.part import Key, Part, Text

PROVIDERS = tuple(name for name, known in KNOWN.items() if known.elsewhere)
# What the path of LLM_ENDPOINT says if LLM_PROVIDER says nothing.
PROVIDER_OF_PATH = {"/chat/completions": "openai", "/api/chat": "ollama-native", "/api/generate": "ollama-native"}


def _is_fallback_url(word: str) -> bool:
    """Accept `provider=url`."""
    name, _, address = word.partition("=")
    return name.strip() in PROVIDERS and addresses.is_url(address.strip())


class ModelFields(Part):
    """The models' part of `Settings`."""

    llm_provider: Annotated[
        str,
        kinds.choice(*KNOWN, **{alias: name for name, known in KNOWN.items() for alias in known.aliases}),
    ] = Field(
        "anthropic",
        description="`anthropic`, `openai` (any compatible endpoint), `ollama`, `gemini`, `scripted`, `replay` (neither"
        " uses a network), `ollama-native`; also `claude`, `gpt`, `local`, `google`; where it is not set, the path of"
        " `LLM_ENDPOINT` says",
    )
    llm_api_key: Annotated[Key, Shown("required where the provider needs one")] = Field(
        "", description="The provider's key", repr=False
    )
    llm_base_url: Annotated[str, kinds.base_url(), Shown("the provider's own")] = Field(
        "",
        description="The provider's address; for `openai` and `ollama` with or without `/v1/chat/completions`",
        validation_alias=AliasChoices("LLM_BASE_URL", "LLM_ENDPOINT"),
    )
    llm_model: Annotated[Text, Shown("`claude-sonnet-5-5` for anthropic")] = Field(
        "",
        description="Used wherever a node names no model",
        validation_alias=AliasChoices("LLM_MODEL", "DEFAULT_MODEL"),
    )
    llm_api_key_anthropic: Key = Field(
        "", description="Anthropic's key where it is not LLM_PROVIDER, for `fallbacks` that name it", repr=False
    )
    llm_api_key_openai: Key = Field("", description="The same for `openai`", repr=False)
    llm_api_key_gemini: Key = Field("", description="The same for `gemini`", repr=False)
    llm_fallback_urls: Annotated[
        tuple[str, ...],
        kinds.urls("a list of provider=address", "ollama=http://localhost:11434", _is_fallback_url),
    ] = Field((), description="Addresses of providers that are not LLM_PROVIDER: comma-separated `provider=url`")
    llm_script: Text = Field(
        "", description="Path of a file: what `scripted` answers, or the recording that `replay` answers from"
    )
    llm_timeout: Annotated[float, kinds.duration(0.1, "120s")] = Field(120.0, description="For one model call")
    llm_max_retries: Annotated[int, kinds.whole(0, 100, 3)] = Field(
        3, description="Repeats of a model call; waits honour `retry-after`"
    )
    llm_prices: Text = Field(
        "", description="Path of a JSON file: what models cost, for `cost_usd` in results and for `budget.usd`"
    )
    llm_context_tokens: Annotated[int, kinds.whole(1000, 10**9, 150_000)] = Field(
        150_000,
        description="A longer prompt of an agent has its old tool results cleared; they stay readable to the model",
    )

    @property
    def provider_of_path(self) -> str:
        """The provider that the path of LLM_ENDPOINT says; empty: it says none."""
        path = self.llm_base_url.partition("?")[0].rstrip("/")
        return next((name for end, name in PROVIDER_OF_PATH.items() if path.endswith(end)), "")

    @property
    def llm_of_one_call(self) -> bool:
        """Tell whether the model's address is that of a call: its server is asked for nothing else."""
        return self.provider_of_path == self.llm_provider

    @property
    def fallback_keys(self) -> dict[str, str]:
        """Keys of providers that nodes may fall back on, by name; empty if there is none."""
        keys = {
            "anthropic": self.llm_api_key_anthropic,
            "openai": self.llm_api_key_openai,
            "gemini": self.llm_api_key_gemini,
        }
        return {name: key for name, key in keys.items() if name != self.llm_provider}

    @property
    def fallback_urls(self) -> dict[str, str]:
        """Their addresses, by name, if they are not their own."""
        pairs = (word.partition("=") for word in self.llm_fallback_urls)
        return {name.strip(): address.strip() for name, _, address in pairs}

    @property
    def fallback_providers(self) -> tuple[str, ...]:
        """The providers besides LLM_PROVIDER that something is set for."""
        named = {**{name: True for name, key in self.fallback_keys.items() if key}, **self.fallback_urls}
        return tuple(name for name in PROVIDERS if name in named and name != self.llm_provider)
