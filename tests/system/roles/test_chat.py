"""Chat: a list of messages in, answers on a channel out, and nothing lost in between."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

from tests.kit import ModelServer, Pool, wait_until
from tests.system.roles.conftest import Json, Roles


def test_a_message_is_answered_also_when_its_worker_dies(
    roles: Roles, serve: Callable[..., Pool], model_server: ModelServer
) -> None:
    """It lies in the holding list while it is run, and is not forgotten there; an error is kept, and is no answer."""
    model_server.answer("hello", "hi there", latency=1500)
    heard: Any = roles.redis.pubsub()  # type: ignore[no-untyped-call]
    heard.subscribe("AI.RESPONSE")
    pool = serve(ROLES="chat", QUEUES="none", WORKERS="1")
    message = {"UserId": "u", "ConnectionId": "c-1", "Message": "hello {{name}}", "NodeLevel": "Manager"}
    roles.redis.rpush("chat.jobs", json.dumps(message), '{"ConnectionId":"c-2"}')
    wait_until(lambda: roles.redis.llen("chat.jobs:holding") == 1, 20, "it is held")
    wait_until(model_server.requests, 20, "the model is asked")
    os.kill(pool.worker_pid(), signal.SIGKILL)
    answers: list[Json] = []

    def answered() -> list[Json]:
        one: Any = heard.get_message(ignore_subscribe_messages=True, timeout=0.1)
        if one:
            answers.append(json.loads(one["data"]))
        return answers

    assert wait_until(answered, 40, "an answer") == [{"ConnectionId": "c-1", "Content": "hi there"}]
    wait_until(lambda: roles.redis.llen("chat.jobs:dead") == 1, 20, "what has no text is kept")
    kept: Any = roles.redis.lrange("chat.jobs:dead", 0, -1)
    assert json.loads(kept[0])["error_code"] == "invalid_item"
    assert (roles.redis.llen("chat.jobs"), roles.redis.llen("chat.jobs:holding")) == (0, 0)
    assert model_server.requests()[-1]["body"]["model"] == "trt-llm-manager"
    answers.clear()
    roles.redis.delete("dago:executor:chat")  # and with it what stood for a message that was held
    roles.redis.rpush("chat.jobs:holding", json.dumps(message))
    assert wait_until(answered, 40, "another answer") == [{"ConnectionId": "c-1", "Content": "hi there"}]
    wait_until(lambda: roles.redis.llen("chat.jobs:holding") == 0, 20, "it is held no more")
    heard.close()
