"""From a message of the chat list to a question to a model, and what is published of the answer; no Redis here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from executor_worker.broker import Claim, Delivery, Held
from executor_worker.outcome import Completed, Failed
from executor_worker.program.role_queues import chat_kind
from executor_worker.settings import Settings
from executor_worker.worker.item import Intake
from executor_worker.worker.kinds import by_name
from executor_worker.worker.kinds.chat import ChatCommit, ChatKind, ChatWork
from executor_worker.worker.limits import Limits
from executor_worker.worker.stages import Conclusion, Run, Stamp
from tests.unit.executor_worker.worker.holders import StubHolder

STAMP = Stamp("w.1", 1_800_000_000.0, 1.0)


def chat(folder: Path, **variables: str) -> ChatKind:
    settings = Settings.load({"LLM_PROVIDER": "scripted", "ROLES": "chat", **variables}, cwd=folder)
    return chat_kind(settings, Limits(900.0, 2, 500))


def opened(kind: ChatKind, data: bytes) -> ChatWork:
    delivery = Delivery(Held("dago:executor:chat", "1-1", 1, "w.1", 0), {b"data": data}, "chat")
    work = Intake(by_name(kind), wall=lambda: STAMP.now).open(Claim(delivery, StubHolder()))
    assert isinstance(work, ChatWork)
    return work


def message(**members: str) -> bytes:
    return json.dumps({"ConnectionId": "c", "Message": "hi", **members}).encode()


@pytest.mark.parametrize(
    ("members", "llm_model", "model"),
    [
        ({"Model": "m", "NodeLevel": "Manager"}, "set", "m"),
        ({"NodeLevel": "Inspector"}, "", "trt-llm-inspector"),
        ({"NodeLevel": "manager"}, "set", "set"),
        ({"NodeLevel": "Other"}, "set", "set"),
        ({}, "set", "set"),
    ],
)
def test_the_model_is_the_messages_its_levels_or_that_of_the_settings(
    tmp_path: Path, members: dict[str, str], llm_model: str, model: str
) -> None:
    work = opened(chat(tmp_path, **({"LLM_MODEL": llm_model} if llm_model else {})), message(**members))
    assert isinstance(work.decision, Run)
    assert work.decision.task.config == {"llm_config": {"prompt": "{{message}}", "model": model}}
    assert work.decision.task.inputs == {"message": "hi"}


def test_an_answer_is_published_and_an_error_is_kept(tmp_path: Path) -> None:
    """With the two names that its hub knows; what is no message, too, is kept as it came."""
    kind = chat(tmp_path)

    def commit(work: ChatWork, conclusion: Conclusion) -> ChatCommit:
        made = kind.draft(work, conclusion, STAMP).commit()
        assert isinstance(made, ChatCommit)
        return made

    work = opened(kind, message())
    answered = commit(work, Conclusion(Completed({"content": "hello"}, "llm")))
    assert (json.loads(answered.answer), answered.kept) == ({"ConnectionId": "c", "Content": "hello"}, b"")
    failed = commit(work, Conclusion(Failed("away", "llm_unavailable")))
    assert failed.answer == b"" and json.loads(failed.kept)["error_code"] == "llm_unavailable"
    for data in (b"no json", b"[]", b'{"ConnectionId":"c"}', b"x" * 501):
        odd = opened(kind, data)
        assert isinstance(odd.decision, Conclusion)
        kept = json.loads(commit(odd, odd.decision).kept)
        assert (kept["message"], kept["error_code"]) == (data.decode(), "invalid_item")
