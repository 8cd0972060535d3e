"""Wiring: the parts of a worker and a keeper, made from settings."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from executor_worker.broker.connection.endpoint import Endpoint
from executor_worker.broker.connection.link import Link
from executor_worker.broker.fleet.throttle import account_prefix
from executor_worker.errors import ConfigError
from executor_worker.providers import ModelSettings, default_model, endpoint, needs_key
from executor_worker.providers.prices import Prices
from executor_worker.settings import Settings
from executor_worker.settings.addresses import without_password
from executor_worker.settings.proxies import proxy_problem
from executor_worker.telemetry.tracing import NO_TRACING, Tracing

if TYPE_CHECKING:
    from executor_worker.nodes.executor import Executor
    from executor_worker.providers.base import Answering
    from executor_worker.tools import ToolRegistry, ToolSettings
    from executor_worker.tools.base import Toolbox

# `run` and `work` wait for Redis as long as it takes; a person at a terminal does not.
PATIENCE_S = 5.0
_FOREIGN_KEYS = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY", "gemini": "GEMINI_API_KEY"}


def endpoint_of(settings: Settings) -> Endpoint:
    """
    Raises:
        ConfigError: REDIS_ADDR can't be understood, or is `embedded`.
    """
    if settings.embedded:
        fix = "Set it to the address which that pool logs as `redis.embedded`."
        raise ConfigError("REDIS_ADDR", "'embedded' is known only to the pool that started it.", fix)
    return Endpoint.parse(
        settings.redis_addr, settings.redis_user or None, settings.redis_pass or None, settings.redis_db
    )


def connect(settings: Settings) -> Link:
    """
    Connect as a command does that a person waits for.

    Raises:
        ConfigError: See `endpoint_of`.
        StreamUnavailable: No server answers.
        StreamRefused: Wrong password, or no permission.
    """
    link = Link(endpoint_of(settings), name="executor-worker", timeout_s=PATIENCE_S)
    link.connect()
    return link


def model_name(settings: Settings) -> str:
    """Name the model of nodes that name none; empty if there is no such default."""
    return settings.llm_model or default_model(settings.llm_provider) or ""


def model_settings(settings: Settings) -> ModelSettings:
    return ModelSettings(
        provider=settings.llm_provider,
        api_key=settings.llm_api_key,
        base_url=settings.llm_base_url,
        model=model_name(settings),
        timeout_s=settings.llm_timeout,
        max_retries=settings.llm_max_retries,
        script=settings.llm_script,
        keys=settings.fallback_keys,
        base_urls=settings.fallback_urls,
        of_one_call=settings.llm_of_one_call,
    )


def accounts_of(settings: Settings) -> tuple[str, ...]:
    """Give what the names of the throttles of all keys that *settings* hold begin with."""
    models, every = model_settings(settings), []
    for name in (settings.llm_provider, *settings.fallback_providers):
        with suppress(ConfigError):  # a fallback without its key is passed over
            every.append(models.of(name))
    return tuple(account_prefix(one.provider, endpoint(one.provider, one.base_url), one.api_key) for one in every)


def executor_of(settings: Settings, models: Answering, tools: Toolbox, prices: Prices) -> Executor:
    from executor_worker.nodes.context_budget import ContextBudget
    from executor_worker.nodes.executor import Executor  # nodes and schemas, which `status` and `dead` can do without

    return Executor(
        models=models,
        tools=tools,
        default_model=model_name(settings),
        max_iterations=settings.max_iterations,
        prices=prices,
        room=ContextBudget(settings.tool_result_chars, settings.llm_context_tokens),
    )


def tool_settings(settings: Settings) -> ToolSettings:
    from executor_worker.tools import ToolSettings  # pydantic and more, which `status` and `dead` can do without

    return ToolSettings(
        mcp_servers=settings.mcp_servers,
        mcp_config=settings.mcp_config,
        tool_modules=settings.tool_modules,
        tool_timeout_s=settings.tool_timeout,
        api_tools_url=settings.api_tools_url,
        http_allow=settings.http_allow,
    )


def tool_registry(settings: Settings) -> ToolRegistry:
    """
    Make all tools known to this process, as a worker does.

    Raises:
        ConfigError: MCP_SERVERS, MCP_CONFIG or TOOL_MODULES can't be used.
    """
    from executor_worker.telemetry.logs import log
    from executor_worker.tools import ToolRegistry

    return ToolRegistry(tool_settings(settings), log=log)


def traces_variable(settings: Settings) -> str:
    """Name what traces are asked for by."""
    names = ("otel_exporter_otlp_traces_endpoint", "otel_exporter_otlp_endpoint", "otel_traces_exporter")
    return next(name for name in names if getattr(settings, name)).upper()


def tracing_of(settings: Settings, instance: str) -> Tracing:
    """
    Args:
        instance: Whose spans they are; a name no other process has.

    Raises:
        ConfigError: Traces are asked for, and what they are made with is not installed.
    """
    collector_url = settings.traces_endpoint
    if not collector_url:
        return NO_TRACING
    try:
        # A dozen packages more, for those who want it only.
        from executor_worker.telemetry.tracing.otlp import OtlpTracing
        from executor_worker.telemetry.tracing.sending import Collector, Sender
    except ModuleNotFoundError as error:
        problem = f"traces need the package {error.name}, which is not installed."
        raise ConfigError(
            traces_variable(settings), problem, "Install it: pip install 'da-node-executor[otel]'."
        ) from error
    if unusable := proxy_problem(collector_url, "socks", "requests[socks]"):
        raise unusable
    named = {"service.name": settings.otel_service_name} if settings.otel_service_name else {}
    collector = Collector(
        endpoint=collector_url,
        shown=without_password(collector_url),
        headers=settings.otel_exporter_otlp_headers,
        resource={
            "service.name": "executor-worker",
            "service.instance.id": instance,
            **settings.otel_resource_attributes,
            **named,
        },
        sampler=settings.otel_traces_sampler,
        ratio=settings.otel_traces_sampler_arg,
    )
    return OtlpTracing(Sender(collector), settings.llm_provider)


def require_model(settings: Settings, environ: Mapping[str, str]) -> None:
    """
    Raises:
        ConfigError: The provider needs a key and there is none, or its proxy can't be used.
    """
    _require_key(settings, environ)
    places = {settings.llm_provider: settings.llm_base_url} | {
        name: settings.fallback_urls.get(name, "") for name in settings.fallback_providers
    }
    addresses = (endpoint(provider, base_url) for provider, base_url in places.items())
    for problem in filter(None, map(proxy_problem, filter(None, addresses))):
        raise problem


def _require_key(settings: Settings, environ: Mapping[str, str]) -> None:
    if settings.llm_api_key or not needs_key(settings.llm_provider, settings.llm_base_url):
        return
    foreign = _FOREIGN_KEYS.get(settings.llm_provider, "")
    hint = f"({foreign} is set, but not read.) " if environ.get(foreign) else ""
    fix = f"{hint}Set LLM_API_KEY or LLM_API_KEY_FILE, or LLM_PROVIDER=scripted to try things out without one."
    raise ConfigError("LLM_API_KEY", f"it is not set, and the provider {settings.llm_provider} needs one.", fix)
