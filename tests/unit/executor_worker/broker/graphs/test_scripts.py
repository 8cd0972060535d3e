"""What holds for all scripts of runs."""

from __future__ import annotations

import pytest

from executor_worker.broker.connection.script import Script
from executor_worker.broker.graphs import scripts
from executor_worker.broker.graphs.source import GIVE_UP, RUNS, SETTLE_NODE
from executor_worker.broker.queue.document import DOCUMENTS
from executor_worker.broker.queue.source import Sources

MOST_BYTES = 60 * 1024
ALL = [
    *(getattr(scripts, name)() for name in dir(scripts) if name.endswith("_script")),
    Sources(RUNS, DOCUMENTS).settling[SETTLE_NODE],
    Sources(RUNS, DOCUMENTS).settling[GIVE_UP],
    Sources(RUNS, DOCUMENTS).taking("take"),
]


@pytest.mark.parametrize("one", ALL, ids=lambda one: str(one.name))
def test_no_script_is_too_large(one: Script) -> None:
    """Each is sent in full to a server that does not know it."""
    assert len(one.source) <= MOST_BYTES
