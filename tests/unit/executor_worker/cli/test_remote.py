"""`graph submit` over an API: who follows a run, and stops to read."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from executor_worker.cli.graph import remote
from executor_worker.cli.parser import build_parser
from executor_worker.client import NotEnded
from executor_worker.settings import Settings


class Api:
    """An API whose run has told its first events, and goes on until it is set free."""

    free = threading.Event()

    def __init__(self, *_: Any) -> None:
        pass

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit_graph(self, *_: Any) -> str:
        return "g"

    def events(self, *_: Any, **__: Any) -> Iterator[dict[str, Any]]:
        for seq, kind in enumerate(("graph.submitted", "graph.started"), 1):
            yield {"id": "x", "seq": seq, "type": kind, "timestamp": "2026-01-02T03:04:05.678Z", "data": {}}
        self.free.wait(60)

    def wait(self, _: str, timeout: float | None) -> dict[str, Any]:
        if not self.free.wait(60 if timeout is None else timeout):
            raise NotEnded("g", timeout or 0)
        return {"status": "completed"}


@pytest.fixture
def submit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    monkeypatch.setattr(remote, "DagoClient", Api)
    monkeypatch.setattr(Api, "free", threading.Event())
    (tmp_path / "g.json").write_text('{"nodes": {"a": {"type": "end"}}}')
    settings = Settings.load({"LLM_PROVIDER": "scripted", "DAGO_URL": "http://127.0.0.1:1"}, tmp_path)

    def submit(*words: str) -> int:
        return remote.submit(settings, build_parser().parse_args(["graph", "submit", str(tmp_path / "g.json"), *words]))

    yield submit
    Api.free.set()


def test_command_ends_when_its_events_are_not_read_any_more(submit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by `| head -1`: at once, while the run goes on, and with no trace of a thread."""
    reading, writing = os.pipe()
    os.close(reading)
    stdout = os.fdopen(writing, "w", buffering=1)
    monkeypatch.setattr(sys, "stdout", stdout)
    with pytest.raises(BrokenPipeError):
        submit("--follow")
    with suppress(BrokenPipeError):  # of what it could not write
        stdout.close()


def test_command_ends_with_the_run_or_its_time(submit: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """All events are told before."""
    with pytest.raises(NotEnded):
        submit("--wait", "--timeout", "0.1")
    threading.Timer(0.1, Api.free.set).start()
    assert submit("--follow") == 0
    assert capsys.readouterr().out.count("graph.started") == 1
