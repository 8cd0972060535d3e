"""The model providers there are: a line each, and the file it names."""

from __future__ import annotations

from dataclasses import dataclass

from executor_worker.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Known:
    """
    Attributes:
        adapter: The file in `providers` whose `make` makes it.
        base_url: Its own endpoint; empty if there is none.
        default_model: None if the operator has to name one.
        keyed: Whether its own endpoint wants a key.
        aliases: Other words for it in LLM_PROVIDER.
        elsewhere: Whether an address of it may be set while another is LLM_PROVIDER.
    """

    adapter: str
    base_url: str
    default_model: str | None
    keyed: bool
    aliases: tuple[str, ...] = ()
    elsewhere: bool = True


_GEMINI = "https://generativelanguage.googleapis.com/v1beta/openai"
KNOWN = {
    "anthropic": Known("anthropic_messages", "https://api.anthropic.com", "claude-sonnet-5-5", True, ("claude",)),
    "openai": Known("openai_chat", "https://api.openai.com/v1", None, True, ("gpt",)),
    "ollama": Known("openai_chat", "http://localhost:11434/v1", None, False, ("local",)),
    "gemini": Known("openai_chat", _GEMINI, None, True, ("google",)),
    "scripted": Known("scripted", "", "scripted", keyed=False),
    "replay": Known("replay", "", "replay", keyed=False, elsewhere=False),
    "ollama-native": Known("ollama_native", "http://localhost:11434/api/chat", None, keyed=False, elsewhere=False),
}
_ALIASES = {alias: name for name, known in KNOWN.items() for alias in known.aliases}


def canonical(provider: str) -> str:
    """
    Give the provider's own name for a name or alias, in any case.

    Raises:
        ConfigError: There is no such provider.
    """
    name = provider.strip().lower()
    name = _ALIASES.get(name, name)
    if name not in KNOWN:
        raise ConfigError("LLM_PROVIDER", f"{provider!r} is no provider.", f"Set one of {', '.join(KNOWN)}.")
    return name
