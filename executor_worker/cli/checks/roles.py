"""Would the role queues be served as meant: who else serves them, what waits there, are the limits of any use?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from executor_worker.broker.roles.outlook import Outlook, look_at_queues
from executor_worker.cli.checks.finding import Finding, fix, ok
from executor_worker.errors import ExecutorError
from executor_worker.program.wiring import connect
from executor_worker.settings import Settings


def check_roles(settings: Settings) -> Iterator[Finding]:
    if not settings.role_table:
        return
    yield from _limits(settings)
    try:
        with closing(connect(settings)) as link:
            found = look_at_queues(link, [role.stream for role in settings.role_table])
    except ExecutorError:
        return  # what is wrong with Redis is said by its own check
    for one in found:
        yield from _queue(one, settings)


def _limits(settings: Settings) -> Iterator[Finding]:
    total = settings.max_total
    for role in settings.role_table:
        if total and role.limit > total:
            variable = f"MAX_{role.name.upper()}"
            text = f"{role.limit} can never be reached: MAX_TOTAL lets {total} jobs of all roles run."
            yield fix(variable, f"{text} Raise MAX_TOTAL, or lower it.")


def _queue(one: Outlook, settings: Settings) -> Iterator[Finding]:
    if one.foreign:
        names = ", ".join(one.foreign[:3])
        text = f"another executor reads {one.stream}: {names} was active within the last minute"
        yield fix("ROLES", f"{text}. It takes half of the jobs: stop it.")
    if one.entries and not one.grouped and settings.roles_start == "group":
        text = f"{one.stream} has {one.entries} entries and no group yet: all of them would be run"
        advice = "Set ROLES_START=$ to begin with what comes from now on, if they are old, or 0 if they are to be run"
        yield fix("ROLES_START", f"{text}. {advice}.")
    elif not one.foreign:
        yield ok("ROLES", _waiting(one, settings))


def _waiting(one: Outlook, settings: Settings) -> str:
    passed_over = not one.grouped and settings.roles_start == "$"
    count = 0 if passed_over else one.waiting
    older = f"; {one.entries} older ones are passed over, as ROLES_START says" if passed_over and one.entries else ""
    left = f"; {one.left} left pending by another executor are taken over after LEASE" if one.left else ""
    return f"{count} jobs wait in {one.stream}{older}{left}"
