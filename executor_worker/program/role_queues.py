"""Role queues: the kind of work that serves them, made from the settings of roles."""

from __future__ import annotations

from executor_worker.broker.roles.source import RoleQueue, role_source
from executor_worker.program.place_limits import ROLE_LIMIT, TOTAL, place_limits
from executor_worker.settings import Settings
from executor_worker.settings.role_table import BUILT_IN, Role
from executor_worker.worker.kinds.chat import ChatKind
from executor_worker.worker.kinds.role import RoleKind, RoleSpec
from executor_worker.worker.limits import Limits


def role_kind(settings: Settings, limits: Limits) -> RoleKind:
    """Make the kind of work that serves the roles of ROLES."""
    roles = settings.role_table
    start = "$" if settings.roles_start == "$" else "0"
    queues = [RoleQueue(role.name, role.stream, _limits_of(role, settings)) for role in roles]
    source = role_source(queues, ttl_s=settings.state_ttl, start=start, history=bool(settings.database_url))
    return RoleKind([_spec(role, settings) for role in roles], source, limits, settings.state_ttl)


def _limits_of(role: Role, settings: Settings) -> tuple[str, ...]:
    names = (ROLE_LIMIT + role.name, TOTAL)
    return tuple(name for name in names if name in place_limits(settings).most)


def chat_kind(settings: Settings, limits: Limits) -> ChatKind:
    """Make the kind of work that answers the sibling system's chat."""
    roles = BUILT_IN | {role.name: role for role in settings.role_table}

    def model(level: str) -> str:
        return roles[level].model_beside(settings.llm_model) if level in roles else settings.llm_model

    return ChatKind(limits, settings.state_ttl, model)


def _spec(role: Role, settings: Settings) -> RoleSpec:
    return RoleSpec(
        name=role.name,
        stream=role.stream,
        model=role.model_beside(settings.llm_model),
        message=role.message,
        system=role.system,
        max_tokens=role.max_tokens,
        temperature=role.temperature,
        tools=role.tools,
        output_schema=role.output_schema,
        model_from_job=role.model_from_job,
        needs_payload=role.needs_payload,
    )
