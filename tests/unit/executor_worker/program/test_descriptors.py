"""Descriptors that a pool needs, and what it says where it may not have them."""

from __future__ import annotations

import gc
import os
import resource

import pytest

from executor_worker.errors import ConfigError
from executor_worker.program.descriptors import Descriptors
from executor_worker.settings import Settings


def required(hard: int, *, before: int = 20, **variables: str) -> str:
    """What is said of settings in a child with that hard limit; empty: nothing."""
    settings = Settings.load(variables)  # here: a child may be unable to open any file
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            Descriptors(before).require(settings)
            status = 0
        except ConfigError as error:
            os.write(writer, str(error).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    said = os.read(reader, 4096).decode()
    os.close(reader)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return said


@pytest.mark.parametrize(
    ("hard", "workers", "enough"),
    [
        (1024, "5", True),
        (1024, "200", True),
        (1024, "300", False),
        (80, "2", True),
        (40, "2", False),
        (40, "1-2", False),
    ],
)
def test_a_pool_with_too_few_is_refused(hard: int, workers: str, enough: bool) -> None:
    """And only such a one: the last slot's worker has to have some to spare."""
    said = required(hard, WORKERS=workers)
    assert not said if enough else f"and this one may open {hard} at most" in said and "ulimit -n" in said


def test_processes_of_the_api_count() -> None:
    """As they have slots of their own."""
    assert not required(80, WORKERS="1", API="0")
    assert "10 processes need" in required(80, WORKERS="1", API="1", API_PROCESSES="9")


def test_what_is_open_is_counted_by_the_lowest_free() -> None:
    """So one more is open than before, once one more is opened."""
    gc.disable()  # it may close some meanwhile
    try:
        before = Descriptors.at_start().open
        taken = os.dup(0)
        assert taken == before and Descriptors.at_start().open > before
        os.close(taken)
    finally:
        gc.enable()
