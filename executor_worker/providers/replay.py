"""
A model that answers what one has answered before: no network, no key.

A recording is what `executor-worker once --record FILE` writes: JSON lines, a run's steps in order, any number of runs
one after the other. A request is answered by the run that was opened with the same prompt and system text, with the
answer that came at the same point of the conversation. Tools are called for real.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from executor_worker.errors import ConfigError, ModelRejected
from executor_worker.json_text import loads
from executor_worker.providers.base import ModelReply, ModelRequest, ModelTurn, Provider, UserTurn
from executor_worker.providers.model_settings import ModelSettings
from executor_worker.providers.retries import Retries
from executor_worker.run_context import RunContext
from executor_worker.text_files import as_utf8

FIX = "Name a file that `executor-worker once --record FILE` has written."


@dataclass(slots=True)
class _Run:
    prompt: str | None
    system: str | None
    replies: list[ModelReply] = field(default_factory=list)


class Replay:
    """
    Args:
        recording: Path of the recording.

    Raises:
        ConfigError: There is none, or it is something else.
    """

    name = "replay"

    def __init__(self, recording: str) -> None:
        if not recording:
            raise ConfigError("LLM_SCRIPT", "it is not set, and LLM_PROVIDER=replay answers from it.", FIX)
        self._runs = _runs(recording)

    def complete(self, request: ModelRequest, run_context: RunContext) -> ModelReply:
        run_context.check()
        opening = request.turns[0] if request.turns else None
        prompt = opening.text if isinstance(opening, UserTurn) else None
        at = sum(isinstance(turn, ModelTurn) for turn in request.turns)
        opened = [run for run in self._runs if (run.prompt, run.system) == (prompt, request.system)]
        if not opened:
            raise ModelRejected("replay: no run in the recording was opened with this prompt; record it anew")
        found = next((run.replies[at] for run in opened if at < len(run.replies)), None)
        if found is None:
            raise ModelRejected(f"replay: the recording has no answer number {at + 1} to this prompt; record it anew")
        return found

    def known_models(self, run_context: RunContext) -> list[str]:
        """Say that any model will do."""
        run_context.check()
        return []

    def close(self) -> None:
        """Nothing is open."""


def _runs(recording: str) -> list[_Run]:
    try:
        lines = as_utf8(Path(recording).expanduser().read_bytes()).splitlines()
    except OSError as error:
        raise ConfigError("LLM_SCRIPT", f"{recording!r} can't be read: {error.strerror}.", FIX) from error
    runs: list[_Run] = []
    try:
        for record in filter(None, map(_record, lines)):
            if record["step"] == "began":
                runs.append(_Run(record.get("prompt"), record.get("system")))
            elif record["step"] == "replied":
                runs[-1].replies.append(ModelReply.of_json(record))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ConfigError("LLM_SCRIPT", f"{recording!r} is no recording.", FIX) from error
    return runs


def _record(line: bytes) -> dict[str, Any] | None:
    return loads(line) if line.strip() else None


def make(_name: str, settings: ModelSettings, _retries: Retries) -> Provider:
    return Replay(settings.script)
