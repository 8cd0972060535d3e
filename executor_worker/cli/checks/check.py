"""`check`: the most likely mistakes, found before the pool finds them; one line each, ok or what to do."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

from executor_worker.cli.checks.finding import Finding, from_error
from executor_worker.cli.checks.history import check_history
from executor_worker.cli.checks.local import (
    check_api,
    check_exposure,
    check_names,
    check_paths,
    check_port,
    check_settings_file,
    check_timeouts,
)
from executor_worker.cli.checks.model import check_model
from executor_worker.cli.checks.redis import check_redis
from executor_worker.cli.checks.roles import check_roles
from executor_worker.cli.checks.tools import check_tools
from executor_worker.cli.checks.traces import check_traces
from executor_worker.cli.display import console, on_terminal, print_json
from executor_worker.cli.exits import CONFIG, DONE
from executor_worker.cli.status.pool_http import look_at_pool
from executor_worker.program.start_logs import start_logs
from executor_worker.settings import ConfigErrors, Settings


def check(args: argparse.Namespace) -> int:
    try:
        settings = Settings.load(os.environ)
    except ConfigErrors as errors:
        _report((from_error(problem) for problem in errors.problems), as_json=args.json)
        return CONFIG
    start_logs(settings, quiet=True)
    found = _report(_findings(settings), as_json=args.json)
    return max((one.status for one in found if not one.right), default=DONE)


def _findings(settings: Settings) -> Iterator[Finding]:
    pool = look_at_pool(settings)
    yield from check_settings_file()
    yield from check_names(settings)
    yield from check_timeouts(settings)
    yield from check_paths(settings)
    yield from check_port(settings, pool)
    yield from check_exposure(settings)
    yield from check_api(settings)
    yield from check_redis(settings, pool)
    yield from check_roles(settings)
    yield from check_history(settings)
    yield from check_model(settings)
    yield from check_tools(settings)
    yield from check_traces(settings)


def _report(findings: Iterator[Finding], *, as_json: bool) -> list[Finding]:
    """Print each finding as it comes; return all."""
    seen = []
    for finding in findings:
        seen.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        print_json([{"ok": one.right, "subject": one.subject, "text": one.text} for one in seen])
    return seen


def _print(finding: Finding) -> None:
    word = "ok " if finding.right else "fix"
    if not on_terminal():
        print(f"{word} {finding.subject}: {finding.text}", flush=True)
        return
    from rich.text import Text  # rich: only with a terminal to be rich on

    line = Text.assemble((word, "green" if finding.right else "bold red"), " ", (finding.subject, "bold"), ": ")
    console().print(line.append(finding.text), soft_wrap=True)
