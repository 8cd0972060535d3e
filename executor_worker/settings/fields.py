"""All settings as one frozen value: each field is the variable of its name in capitals."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from executor_worker.settings import kinds
from executor_worker.settings.kinds import Kind
from executor_worker.settings.reading import SettingField, names_of, read_settings, variables

MAX_SLOTS = 1024


def _setting(
    kind: Kind,
    default: Any,
    meaning: str,
    *,
    aliases: tuple[str, ...] = (),
    shown: str | None = None,
    secret: bool = False,
    as_file: bool = False,
    empty_counts: bool = False,
) -> Any:
    """Declare a setting; *shown* is the default for people where it can't be read off the value."""
    kept = shown if shown is not None else str(default) if default not in ("", ()) else ""
    setting = SettingField(kind, meaning, kept, aliases, secret, secret or as_file, empty_counts)
    return field(default=default, repr=not setting.as_file, metadata={"setting": setting})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Durations are seconds, sizes bytes; an empty text or tuple means not set."""

    worker_id: str = _setting(
        kinds.text("a name without spaces, at most 128 characters long", "executor-a", r"[^\s\x00-\x1f]{1,128}"),
        "",
        "Name of this supervisor; must be unique among all that read the same Redis",
        shown="executor-<hostname>",
    )
    workers: int = _setting(
        kinds.whole(1, MAX_SLOTS, 5), 5, "Slots: items run at the same time", aliases=("WORKER_POOL_SIZE",)
    )

    redis_addr: str = _setting(
        kinds.redis_address(),
        "localhost:6379",
        "`host:port`, a `redis://`, `rediss://`, `unix://` or `redis+sentinel://h1:p,h2:p/name/db` URL, or `embedded`"
        " (a private server of its own, for trying things out)",
        as_file=True,
    )
    redis_user: str = _setting(kinds.text(), "", "ACL user")
    redis_pass: str = _setting(kinds.text(), "", "Password", secret=True)
    redis_db: int = _setting(kinds.whole(0, 65535, 0), 0, "Database number")

    llm_provider: str = _setting(
        kinds.choice(
            *("anthropic", "openai", "ollama", "gemini", "scripted"),
            claude="anthropic",
            gpt="openai",
            local="ollama",
            google="gemini",
        ),
        "anthropic",
        "`anthropic`, `openai` (any compatible endpoint), `ollama`, `gemini`, `scripted` (no network);"
        " also `claude`, `gpt`, `local`, `google`",
    )
    llm_api_key: str = _setting(
        kinds.text(), "", "The provider's key", shown="required where the provider needs one", secret=True
    )
    llm_base_url: str = _setting(
        kinds.base_url(),
        "",
        "The provider's address; for `openai` and `ollama` with or without `/v1/chat/completions`",
        aliases=("LLM_ENDPOINT",),
        shown="the provider's own",
    )
    llm_model: str = _setting(
        kinds.text(), "", "Used wherever a node names no model", shown="`claude-sonnet-5-5` for anthropic"
    )
    llm_script: str = _setting(kinds.text(), "", "Path of a JSON file: what the provider `scripted` answers")
    llm_timeout: float = _setting(kinds.duration(0.1, "120s"), 120.0, "For one model call", shown="120s")
    llm_max_retries: int = _setting(kinds.whole(0, 100, 3), 3, "Repeats of a model call; waits honour `retry-after`")

    mcp_servers: tuple[str, ...] = _setting(
        kinds.words("a list of http:// or https:// URLs", "search=https://host/mcp", kinds.is_named_url),
        (),
        "MCP servers: comma-separated URLs, `name=url` allowed",
    )
    mcp_config: str = _setting(kinds.text(), "", 'Path of a JSON file in the usual `{"mcpServers": {…}}` form')
    tool_modules: tuple[str, ...] = _setting(
        kinds.words("a list of Python module names", "my_tools,acme.tools", kinds.is_module),
        (),
        "Comma-separated Python modules with functions marked `@tool`",
    )
    tool_timeout: float = _setting(kinds.duration(0.1, "5m"), 300.0, "For one tool call", shown="300s")
    api_tools_url: str = _setting(kinds.url(), "", "Legacy REST tools; deprecated, serve them over MCP instead")
    http_allow: tuple[str, ...] = _setting(
        kinds.words("a list of host names", "api.example.com"),
        (),
        "Hosts that the built-in tool `http_request` may reach; empty: there is no such tool",
    )

    max_iterations: int = _setting(kinds.whole(1, 10_000, 10), 10, "Model calls of one agent run")
    node_timeout: float = _setting(
        kinds.duration(0.1, "15m"), 900.0, "Hard limit for one item, whatever it is stuck in", shown="900s"
    )
    lease: float = _setting(
        kinds.duration(0.1, "30s"), 30.0, "An item of a vanished host is taken over after this", shown="30s"
    )
    max_deliveries: int = _setting(kinds.whole(1, 10_000, 5), 5, "An item is run at most this often")
    drain_timeout: float = _setting(
        kinds.duration(0.0, "60s"), 60.0, "From SIGTERM to the last worker killed", shown="60s"
    )
    max_items_per_worker: int = _setting(
        kinds.whole(0, 10**12, 1000), 0, "A worker is replaced after so many items; 0 = never"
    )
    max_rss_mb: int = _setting(
        kinds.whole(0, 10**8, 512), 0, "A worker is replaced when it has grown beyond this; 0 = never"
    )
    max_item_bytes: int = _setting(
        kinds.size("4MiB"), 4 * 2**20, "Larger items go to the dead-letter stream", shown="4MiB"
    )
    state_ttl: float = _setting(
        kinds.duration(1.0, "24h"), 86400.0, "How long a graph's state is kept after its last change", shown="86400s"
    )
    delete_settled: bool = _setting(
        kinds.switch("1"), True, "Delete a work entry when it is settled; 0 where other groups read it too", shown="1"
    )
    results_maxlen: int = _setting(
        kinds.whole(1, 10**12, 100_000), 100_000, "Result streams are trimmed to about this, never what is still unread"
    )
    failures_to_completed: str = _setting(
        kinds.choice("auto", "always", "never"),
        "auto",
        "Whether failures are also written to `node.completed`; auto: where a group named `dago-workers` reads it",
    )

    health_host: str = _setting(kinds.text(), "0.0.0.0", "Address the HTTP endpoints listen on")
    health_port: int | None = _setting(
        kinds.whole(0, 65535, 8081), 8081, "Their port; 0 = any free one, logged; empty = none", empty_counts=True
    )

    log_level: str = _setting(
        kinds.choice("debug", "info", "warn", "error", warning="warn"), "info", "`debug`, `info`, `warn` or `error`"
    )
    log_format: str = _setting(kinds.choice("json", "text"), "", "`json` or `text`", shown="json; text on a terminal")
    log_file: str = _setting(kinds.text(), "", "Path of the log file; SIGUSR1 reopens it", shown="stderr")

    unknown: tuple[str, ...] = ()
    """Sentences about variables that look like settings and are none."""

    @classmethod
    def load(cls, environ: Mapping[str, str], cwd: Path | None = None) -> Settings:
        """
        Read all settings: the environment's, then the settings file's, then the credentials.

        Args:
            cwd: Where a relative ENV_FILE, and `.env`, are looked for; None: the working directory.

        Raises:
            ConfigErrors: With everything that is wrong.
        """
        values, unknown = read_settings(setting_fields(), environ, cwd or Path.cwd())
        values.setdefault("worker_id", f"executor-{socket.gethostname()}")
        return cls(**values, unknown=tuple(unknown))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What an operator should know at every start, in sentences."""
        if not self.api_tools_url:
            return self.unknown
        advice = "serve these tools over MCP and name the server in MCP_SERVERS."
        return (*self.unknown, f"API_TOOLS_URL is deprecated and will go: {advice}")

    @property
    def embedded(self) -> bool:
        """Whether a private Redis is asked for."""
        return self.redis_addr == kinds.EMBEDDED

    @property
    def secrets(self) -> tuple[str, ...]:
        """All texts that must not be shown anywhere."""
        addresses = (self.redis_addr, self.llm_base_url, self.api_tools_url, *self.mcp_servers)
        inside = (password for address in addresses for password in kinds.passwords_in(address))
        return tuple(filter(None, (self.redis_pass, self.llm_api_key, *inside)))


def setting_fields() -> dict[str, SettingField]:
    """All settings by the names of their fields, in the order of the documentation."""
    declared = {item.name: item.metadata.get("setting") for item in dataclasses.fields(Settings)}
    return {name: setting for name, setting in declared.items() if setting is not None}


def known_names() -> set[str]:
    """All names under which a setting may stand in the environment."""
    return names_of(variables(setting_fields()).values())
