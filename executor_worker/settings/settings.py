"""All settings as one frozen value: each field is the variable of its name in capitals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import InitSettingsSource

from executor_worker.errors import ConfigError
from executor_worker.settings import addresses, kinds
from executor_worker.settings.aliases import Overridden, overridden, redis_of_connection
from executor_worker.settings.catalogue import complaint, fault_of, known_names, setting_fields, shown_of, wrong
from executor_worker.settings.parts.models import ModelFields
from executor_worker.settings.parts.observing import ObservingFields
from executor_worker.settings.parts.orchestrator import OrchestratorFields
from executor_worker.settings.parts.pool import PoolFields
from executor_worker.settings.parts.roles import RoleFields, served_roles, settings_of_limits, with_limits
from executor_worker.settings.parts.tools import ToolFields
from executor_worker.settings.parts.tracing import OTLP, TraceFields
from executor_worker.settings.parts.work import WorkFields
from executor_worker.settings.places import placed_in
from executor_worker.settings.problems import ConfigErrors
from executor_worker.settings.role_table import Role
from executor_worker.settings.sources import (
    Credentials,
    Layer,
    PassedOver,
    given_twice,
    settings_file,
)
from executor_worker.settings.spelling import misspelt, without_effect


class Settings(
    OrchestratorFields,
    RoleFields,
    TraceFields,
    ObservingFields,
    WorkFields,
    ToolFields,
    ModelFields,
    PoolFields,
):
    """
    All parts, and what follows from several of them together.

    What is left out when a settings value is shown (`repr=False`) may also come as NAME_FILE and as a credential.
    """

    unknown: tuple[str, ...] = ()
    """Sentences about variables that look like settings and are none, or that have no effect."""
    overridden: tuple[Overridden, ...] = ()
    """Variables that are ignored, since another one of the same meaning is set to something else."""
    without_effect: tuple[str, ...] = ()
    """The sentence about the original programs' variables that are set; empty if none is."""
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
        twice = given_twice(cls, environ) + given_twice(cls, file)
        variables = {**file, **{name: text for name, text in environ.items() if text}}
        names = known_names() | _limits_of_roles(variables)
        said = {"UNKNOWN": misspelt(names, environ, file) + twice, "WITHOUT_EFFECT": without_effect(environ, file)}
        unknown = InitSettingsSource(cls, {**said, "ROLE_TABLE": (), "OVERRIDDEN": overridden(environ, file)})
        passed_over: list[PassedOver] = []
        layers = (Layer(cls, variables, folder, problems, passed_over) for variables in (environ, file))
        try:
            settings = cls(_build_sources=((unknown, *layers, Credentials(cls, environ)), {}))
        except ValidationError as error:
            problems += map(complaint, error.errors())
        else:
            if not settings.traces_off:
                problems += [wrong(one.field, one.given) for one in passed_over if one.field.endswith("_endpoint")]
            derived, more = settings._derived(variables, folder, problems)
        if problems:
            raise ConfigErrors([placed_in(problem, environ, file) for problem in problems])
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
        if self.provider_of_path and "llm_provider" not in self.model_fields_set:
            derived["llm_provider"] = self.provider_of_path
        redis, said, ignored = redis_of_connection(self, problems)
        return {**derived, **redis, "overridden": self.overridden + ignored}, said

    def _ineffective(self, passed_over: Sequence[PassedOver]) -> tuple[str, ...]:
        """Say which variables, of those that others read too, have no effect here; nothing if we make no traces."""
        if not self.traces_endpoint:
            return ()
        said = [
            f"{one.given.variable} has no effect on traces: {shown_of(field, one.given)} is not {field.kind.wanted}"
            f"{fault_of(field, one.given)}{f'; it is as if it were {field.default}' if field.default else ''}."
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
            *(self.redis_addr, self.database_url, self.llm_base_url, self.api_tools_url),
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


def _limits_of_roles(variables: Mapping[str, str]) -> set[str]:
    """Names of the limits of all roles that ROLES names: those of added roles are no fields."""
    return {f"MAX_{name.strip().upper()}" for name in variables.get("ROLES", "").split(",") if name.strip()}


def _without_passwords(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(map(_without_passwords, value))
    return addresses.without_password(value) if isinstance(value, str) else value
