"""All settings as one frozen value: each field is the variable of its name in capitals."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import InitSettingsSource, SettingsConfigDict

from executor_worker.envelopes.queue_name import DEFAULT
from executor_worker.errors import ConfigError
from executor_worker.settings import addresses, kinds, stackexchange
from executor_worker.settings.control import FILE, default_worker_id
from executor_worker.settings.kinds import Kind, Shown
from executor_worker.settings.orchestrator import OrchestratorFields
from executor_worker.settings.problems import ConfigErrors
from executor_worker.settings.role_table import Role
from executor_worker.settings.roles import RoleFields, served_roles, settings_of_limits, with_limits
from executor_worker.settings.sources import (
    Credentials,
    Given,
    Layer,
    PassedOver,
    comes_as_file,
    given_twice,
    names_of,
    settings_file,
)
from executor_worker.settings.spelling import misspelt, without_effect

MAX_SLOTS = 1024
TRACES_PATH = "/v1/traces"
OTLP = "otlp"

Text = Annotated[str, kinds.text()]
Secret = Annotated[str, kinds.secret()]
Key = Annotated[str, kinds.key()]


SAMPLERS = ("always_on", "always_off", "traceidratio")
PROVIDERS = ("anthropic", "openai", "ollama", "gemini", "scripted")
# What the path of LLM_ENDPOINT says if LLM_PROVIDER says nothing.
PROVIDER_OF_PATH = {"/chat/completions": "openai", "/api/chat": "ollama-native", "/api/generate": "ollama-native"}


def _is_fallback_url(word: str) -> bool:
    """Accept `provider=url`."""
    name, _, address = word.partition("=")
    return name.strip() in PROVIDERS and addresses.is_url(address.strip())


class Settings(OrchestratorFields, RoleFields):
    """
    Durations are seconds, sizes bytes; an empty text or tuple means not set.

    What is left out when a settings value is shown (`repr=False`) may also come as NAME_FILE and as a credential.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        case_sensitive=True,
        alias_generator=str.upper,
        enable_decoding=False,  # else lists would have to be JSON
        validate_default=False,  # they are values, and what is read are texts
        hide_input_in_errors=True,
    )

    worker_id: Annotated[
        str,
        kinds.text("a name of at most 128 ASCII characters without spaces", "executor-a", r"[!-~]{1,128}"),
        Shown("executor-<hostname>"),
    ] = Field(
        default_factory=default_worker_id,
        description="Name of this supervisor; must be unique among all that read the same Redis",
    )
    workers: Annotated[kinds.Span, kinds.span(1, MAX_SLOTS, 5)] = Field(
        kinds.Span(5, 5),
        description="Slots: items run at the same time; `2-20`: as many as there is work for, between the two",
        validation_alias=AliasChoices("WORKERS", "WORKER_POOL_SIZE"),
    )

    redis_addr: Annotated[str, kinds.redis_address()] = Field(
        "localhost:6379",
        description="`host:port`, a `redis://`, `rediss://`, `unix://` or `redis+sentinel://h1:p,h2:p/name/db` URL,"
        " or `embedded` (a private server of its own, for trying things out)",
        repr=False,
    )
    redis_user: Text = Field("", description="ACL user; what it has to be allowed: docs/SECURITY.md")
    redis_pass: Secret = Field("", description="Password", repr=False)
    redis_db: Annotated[int, kinds.whole(0, 65535, 0)] = Field(0, description="Database number")

    llm_provider: Annotated[
        str,
        kinds.choice(
            *(*PROVIDERS, "replay", "ollama-native"),
            claude="anthropic",
            gpt="openai",
            local="ollama",
            google="gemini",
        ),
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

    mcp_servers: Annotated[
        tuple[str, ...],
        kinds.urls("a list of http:// or https:// URLs", "search=https://host/mcp", kinds.is_named_url),
    ] = Field(
        (),
        description="MCP servers: comma-separated URLs or `name=url`; without a path `/mcp` and `/sse` are tried too",
    )
    mcp_config: Text = Field("", description='Path of a JSON file in the usual `{"mcpServers": {…}}` form')
    tool_modules: Annotated[
        tuple[str, ...], kinds.words("a list of Python module names", "my_tools,acme.tools", kinds.is_module)
    ] = Field((), description="Comma-separated Python modules with functions marked `@tool`")
    tool_timeout: Annotated[float, kinds.duration(0.1, "5m")] = Field(300.0, description="For one tool call")
    tool_result_chars: Annotated[int, kinds.whole(500, 10**9, 40_000)] = Field(
        40_000, description="Characters of one tool result that an agent's model is shown; it can read on"
    )
    api_tools_url: Annotated[str, kinds.url()] = Field(
        "", description="Legacy REST tools; deprecated, serve them over MCP instead"
    )
    http_allow: Annotated[tuple[str, ...], kinds.words("a list of host names", "api.example.com")] = Field(
        (),
        description="Hosts that the built-in tool `http_request` may reach; what is not public by address or network"
        " too; empty: no such tool",
    )

    max_iterations: Annotated[int, kinds.whole(1, 10_000, 10)] = Field(10, description="Model calls of one agent run")
    node_timeout: Annotated[float, kinds.duration(0.1, "15m")] = Field(
        900.0, description="Hard limit for one item, whatever it is stuck in"
    )
    queues: Annotated[tuple[str, ...], kinds.queues()] = Field(
        (DEFAULT,),
        description="Queues this pool serves, in order of preference: `default` (the two plain work streams), a name"
        " `q` (`executor.work:q`, for nodes whose config says so), or `none`",
    )
    lease: Annotated[float, kinds.duration(0.1, "30s")] = Field(
        30.0, description="An item of a vanished host is taken over after this"
    )
    max_deliveries: Annotated[int, kinds.whole(1, 10_000, 5)] = Field(
        5, description="An item is run at most this often"
    )
    drain_timeout: Annotated[float, kinds.duration(0.0, "60s")] = Field(
        60.0, description="From SIGTERM to the last worker killed"
    )
    max_items_per_worker: Annotated[int, kinds.whole(0, 10**12, 1000)] = Field(
        0, description="A worker is replaced after so many items; 0 = never"
    )
    max_rss_mb: Annotated[int, kinds.whole(0, 10**8, 512)] = Field(
        0, description="A worker is replaced when it has grown beyond this; 0 = never"
    )
    max_item_bytes: Annotated[int, kinds.size("4MiB"), Shown("4MiB")] = Field(
        4 * 2**20, description="Larger items go to the dead-letter stream"
    )
    state_ttl: Annotated[float, kinds.duration(1.0, "24h")] = Field(
        86400.0, description="How long a graph's state is kept after its last change"
    )
    event_content: Annotated[bool, kinds.switch("0")] = Field(
        False, description="Progress events also tell what models answered, tools were given and tools answered"
    )
    delete_settled: Annotated[bool, kinds.switch("1")] = Field(
        True, description="Delete a work entry when it is settled; 0 where other groups read it too"
    )
    results_maxlen: Annotated[int, kinds.whole(1, 10**12, 100_000)] = Field(
        100_000, description="Result streams are trimmed to about this, never what is still unread"
    )
    failures_to_completed: Annotated[str, kinds.choice("auto", "always", "never")] = Field(
        "auto",
        description="Whether failures are also written to `node.completed`;"
        " auto: where a group named `dago-workers` reads it",
    )

    health_host: Text = Field("0.0.0.0", description="Address the HTTP endpoints listen on")
    health_port: Annotated[int | None, kinds.or_none(kinds.whole(0, 65535, 8081))] = Field(
        8081, description="Their port; 0 = any free one, logged; empty = none"
    )

    health_token: Annotated[str, kinds.token()] = Field(
        "",
        description="Who asks for `/workers`, `/status` or `/metrics` has to bring it as a bearer token;"
        " empty: the first two answer this machine only",
        repr=False,
    )

    ctl_socket: Annotated[
        str,
        kinds.text("a path, or @ and a name, of at most 107 bytes", "/run/executor-worker/ctl.sock", r"[^\0]{1,107}"),
        Shown(f"`{FILE}` in systemd's runtime directory, else a name made of `WORKER_ID`"),
    ] = Field("", description="Unix socket on which `executor-worker ctl` reaches the pool; `@name` leaves no file")

    log_level: Annotated[str, kinds.choice("debug", "info", "warn", "error", warning="warn")] = Field(
        "info", description="`debug`, `info`, `warn` or `error`"
    )
    log_format: Annotated[str, kinds.choice("json", "text"), Shown("json; text on a terminal")] = Field(
        "", description="`json` or `text`"
    )
    log_file: Annotated[Text, Shown("stderr")] = Field(
        "", description="Path of the log file, `{date}` in it is the day (UTC); its folder is made, SIGUSR1 reopens it"
    )

    otel_sdk_disabled: Annotated[bool, kinds.shared(kinds.switch("1"))] = Field(
        False, description="`true`: no traces, whatever else says so"
    )
    otel_exporter_otlp_endpoint: Annotated[str, kinds.shared(kinds.url())] = Field(
        "", description="Traces are sent there by OTLP over HTTP, to `/v1/traces`; empty: none (docs/TRACING.md)"
    )
    otel_exporter_otlp_traces_endpoint: Annotated[str, kinds.shared(kinds.url())] = Field(
        "", description="The same as the whole address, path included; goes first"
    )
    otel_exporter_otlp_headers: Annotated[dict[str, str], kinds.shared(kinds.headers("x-key=the-key"))] = Field(
        {}, description="Headers that the collector asks for: comma-separated `name=value`", repr=False
    )
    otel_exporter_otlp_protocol: Annotated[str, kinds.shared(kinds.choice("http/protobuf"))] = Field(
        "http/protobuf", description="The only one there is"
    )
    otel_traces_exporter: Annotated[
        tuple[str, ...], kinds.lowercase_words("a list of exporters", OTLP), Shown("otlp where an endpoint is set")
    ] = Field((), description="`otlp` (also without an endpoint: to localhost:4318) or `none`; others are passed over")
    otel_service_name: Annotated[Text, Shown("executor-worker")] = Field(
        "", description="Whose traces they are; before a `service.name` in OTEL_RESOURCE_ATTRIBUTES"
    )
    otel_resource_attributes: Annotated[
        dict[str, str], kinds.shared(kinds.pairs("a list of name=value", "deployment.environment.name=production"))
    ] = Field({}, description="What else is said of where they come from: comma-separated `name=value`")
    otel_traces_sampler: Annotated[
        str, kinds.shared(kinds.choice(*(prefix + name for prefix in ("parentbased_", "") for name in SAMPLERS)))
    ] = Field(
        "parentbased_always_on",
        description="Which traces are made: `always_on`, `always_off` or `traceidratio`; with `parentbased_` in front"
        " only where an item brings no trace of its own",
    )
    otel_traces_sampler_arg: Annotated[float, kinds.shared(kinds.share())] = Field(
        1.0, description="The share that `traceidratio` takes"
    )

    unknown: tuple[str, ...] = ()
    """Sentences about variables that look like settings and are none, or that have no effect."""
    without_effect: tuple[str, ...] = ()
    """The sentence about the original programs' variables that are set; empty where none is."""
    role_table: tuple[Role, ...] = ()
    """The roles that are served, with their limits."""

    @classmethod
    def load(cls, environ: Mapping[str, str], cwd: Path | None = None) -> Settings:
        """
        Read all settings: the environment's, then the settings file's, then the credentials.

        Args:
            cwd: Where a relative ENV_FILE, and `.env`, are looked for; None: the working directory.

        Raises:
            ConfigErrors: With everything that is wrong.
        """
        folder = cwd or Path.cwd()
        problems: list[ConfigError] = []
        file = settings_file(environ, folder, problems)
        # First, so that no variable of that name can take its place.
        twice = given_twice(cls, environ, "the environment") + given_twice(cls, file, "the settings file")
        variables = {**file, **{name: text for name, text in environ.items() if text}}
        names = known_names() | _limits_of_roles(variables)
        said = {"UNKNOWN": misspelt(names, environ, file) + twice, "WITHOUT_EFFECT": without_effect(environ, file)}
        unknown = InitSettingsSource(cls, {**said, "ROLE_TABLE": ()})
        passed_over: list[PassedOver] = []
        layers = (Layer(cls, variables, folder, problems, passed_over) for variables in (environ, file))
        try:
            settings = cls(_build_sources=((unknown, *layers, Credentials(cls, environ)), {}))
        except ValidationError as error:
            problems += map(_complaint, error.errors())
        else:
            if not settings.traces_off:
                problems += [_wrong(one.field, one.given) for one in passed_over if one.field.endswith("_endpoint")]
            derived, more = settings._derived(variables, folder, problems)
        if problems:
            raise ConfigErrors(problems)
        more += settings._ineffective(passed_over)
        return settings.model_copy(update={**derived, "unknown": settings.unknown + more})

    def _derived(
        self, variables: Mapping[str, str], folder: Path, problems: list[ConfigError]
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Derive values from several settings together, and sentences to be said of that."""
        taken = settings_of_limits(frozenset(name for name in known_names() if "_FILE" not in name))
        roles = served_roles(self.roles, self.roles_config, folder, taken, problems)
        given = {name: getattr(self, name) for name in self.model_fields_set if name in RoleFields.model_fields}
        derived: dict[str, Any] = {"role_table": with_limits(roles, given, variables, problems)}
        if self._provider_of_path and "llm_provider" not in self.model_fields_set:
            derived["llm_provider"] = self._provider_of_path
        redis, said = self._redis_of_connection(problems)
        return {**derived, **redis}, said

    @property
    def _provider_of_path(self) -> str:
        path = self.llm_base_url.partition("?")[0].rstrip("/")
        return next((name for end, name in PROVIDER_OF_PATH.items() if path.endswith(end)), "")

    @property
    def llm_of_one_call(self) -> bool:
        """Tell whether the model's address is that of a call: its server is asked for nothing else."""
        return self._provider_of_path == self.llm_provider

    def _redis_of_connection(self, problems: list[ConfigError]) -> tuple[dict[str, Any], tuple[str, ...]]:
        if not self.redis_connection:
            return {}, ()
        if "redis_addr" in self.model_fields_set:
            return {}, (
                "REDIS_CONNECTION is ignored: REDIS_ADDR is set too, and goes before it; take one of them out.",
            )
        try:
            found = stackexchange.parse(self.redis_connection)
        except ValueError as error:
            fix = "Write it as host:port,password=…,user=…,ssl=true,defaultDatabase=0, or set REDIS_ADDR."
            problems.append(ConfigError("REDIS_CONNECTION", f"{error}.", fix))
            return {}, ()
        values = {
            "redis_addr": found.address,
            "redis_user": found.user,
            "redis_pass": found.password,
            "redis_db": found.database,
        }
        said = tuple(f"{name} in REDIS_CONNECTION has no effect here." for name in found.ignored)
        return {name: value for name, value in values.items() if name not in self.model_fields_set}, said

    def _ineffective(self, passed_over: Sequence[PassedOver]) -> tuple[str, ...]:
        """Say which variables, of those that others read too, have no effect here; nothing where we make no traces."""
        if not self.traces_endpoint:
            return ()
        said = [
            f"{one.given.variable} has no effect on traces: {_shown(field, one.given)} is not {field.kind.wanted}"
            f"{_fault(field, one.given)}{f'; it is as if it were {field.default}' if field.default else ''}."
            for one, field in ((one, setting_fields()[one.field]) for one in passed_over)
        ]
        others = [word for word in self.otel_traces_exporter if word != OTLP]
        if others:
            said.append(f"OTEL_TRACES_EXPORTER names {', '.join(others)} too: traces are sent by otlp only.")
        return tuple(said)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Without the secrets, and without the passwords in what is shown."""
        for name, value in super().__repr_args__():
            yield name, _without_passwords(value)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences that an operator should read at every start."""
        doubtful = (*self.unknown, *self.without_effect)
        if not self.api_tools_url:
            return doubtful
        advice = "serve these tools over MCP and name the server in MCP_SERVERS."
        return (*doubtful, f"API_TOOLS_URL is deprecated and will go: {advice}")

    @property
    def embedded(self) -> bool:
        """Tell whether a private Redis is asked for."""
        return self.redis_addr == kinds.EMBEDDED

    @property
    def secrets(self) -> tuple[str, ...]:
        """All texts that must not be shown anywhere."""
        given = (
            *(self.redis_addr, self.llm_base_url, self.api_tools_url),
            *(*self.mcp_servers, *self.llm_fallback_urls),
            *(self.otel_exporter_otlp_endpoint, self.otel_exporter_otlp_traces_endpoint),
        )
        inside = (password for address in given for password in addresses.passwords_in(address))
        keys = (self.llm_api_key, self.llm_api_key_anthropic, self.llm_api_key_openai, self.llm_api_key_gemini)
        headers = (value.rpartition(" ")[2] for value in self.otel_exporter_otlp_headers.values())
        tokens = (self.dago_token, *(entry.split(":", 2)[2] for entry in self.api_tokens))
        return tuple(
            filter(
                None,
                (
                    self.redis_pass,
                    self.redis_connection,
                    self.database_url,
                    *keys,
                    self.health_token,
                    *tokens,
                    *inside,
                    *headers,
                ),
            )
        )

    @property
    def traces_endpoint(self) -> str:
        """The address that traces are sent to; empty: none are made."""
        base = self.otel_exporter_otlp_endpoint
        given = self.otel_exporter_otlp_traces_endpoint or (f"{base}{TRACES_PATH}" if base else "")
        if self.traces_off:
            return ""
        return given or (f"http://localhost:4318{TRACES_PATH}" if self.otel_traces_exporter else "")

    @property
    def traces_off(self) -> bool:
        """Tell whether no traces are made, whatever the endpoint."""
        asked = self.otel_traces_exporter
        return self.otel_sdk_disabled or "none" in asked or (bool(asked) and OTLP not in asked)

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


@dataclass(frozen=True, slots=True)
class SettingField:
    """
    The declaration of one setting.

    Attributes:
        default: For people; empty where not set means nothing in particular.
        names: All that its variable may have, NAME_FILE included.
    """

    kind: Kind
    meaning: str
    default: str
    names: tuple[str, ...]

    @property
    def secret(self) -> bool:
        return self.kind.secret


_FOUND_OUT = ("unknown", "without_effect", "role_table")  # no variables


def setting_fields() -> dict[str, SettingField]:
    """All settings by the names of their fields, in the order of the documentation."""
    fields = Settings.model_fields
    inherited = {**RoleFields.model_fields, **OrchestratorFields.model_fields}
    ordered = [*(name for name in fields if name not in (*inherited, *_FOUND_OUT)), *inherited]
    return {name: _described(fields[name]) for name in ordered}


def known_names() -> set[str]:
    """All names under which a setting may stand in the environment."""
    return {"ENV_FILE"}.union(*(setting.names for setting in setting_fields().values()))


def _limits_of_roles(variables: Mapping[str, str]) -> set[str]:
    """Names of the limits of all roles that ROLES names: those of added roles are no fields."""
    return {f"MAX_{name.strip().upper()}" for name in variables.get("ROLES", "").split(",") if name.strip()}


def _described(field: FieldInfo) -> SettingField:
    names = names_of(field)
    if comes_as_file(field):
        names += tuple(f"{name}_FILE" for name in names)
    kind = next(item for item in field.metadata if isinstance(item, Kind))
    shown = next((item for item in field.metadata if isinstance(item, Shown)), None)
    return SettingField(kind, field.description or "", shown or kind.show(field.default), names)


def _without_passwords(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(map(_without_passwords, value))
    return addresses.without_password(value) if isinstance(value, str) else value


def _complaint(error: ErrorDetails) -> ConfigError:
    return _wrong(str(error["loc"][0]).lower(), error["input"])


def _wrong(name: str, given: Given) -> ConfigError:
    """Say what is wrong with the text of the field *name*."""
    setting, variable = setting_fields()[name], name.upper()
    otherwise = f" for {setting.default}" if setting.default else ""
    fix = f"Set it to one, for instance {variable}={setting.kind.example}, or leave it out{otherwise}."
    if setting.kind.address and "@" in given:
        fix = f"{fix} {addresses.ESCAPES}"
    problem = f"{_shown(setting, given)} is not {setting.kind.wanted}{_fault(setting, given)}."
    return ConfigError(given.variable, problem, fix)


def _fault(setting: SettingField, given: str) -> str:
    fault = setting.kind.fault(given)
    return f": it has {fault}" if fault else ""


def _shown(setting: SettingField, given: str) -> str:
    """Name a bad value; one that holds a secret, or may, is not shown, in whatever variable it stands."""
    if setting.secret:
        return addresses.ITS_VALUE
    return addresses.shown(given) if setting.kind.address or re.search("://|@", given) else repr(given)
