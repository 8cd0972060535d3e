"""Is the database of the history there, and has it its tables?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from executor_worker.cli.checks.finding import Finding, fix, from_error, ok
from executor_worker.errors import ConfigError, HistoryError
from executor_worker.program.history import history_of
from executor_worker.settings import Settings

MIGRATE = "Run `executor-worker history migrate`."


def check_history(settings: Settings) -> Iterator[Finding]:
    if not settings.database_url:
        return
    try:
        with closing(history_of(settings)) as history:
            missing = history.missing()
    except ConfigError as error:
        yield from_error(error)
    except HistoryError as error:
        advice = error.fix or "correct it, or start the database"
        yield fix("DATABASE_URL", f"{error}: {advice}. Redis keeps what is to be written.")
    else:
        if missing:
            yield fix("DATABASE_URL", f"the database lacks {', '.join(missing)}. {MIGRATE}")
        else:
            yield ok("DATABASE_URL", "the database answers, and has its tables")
