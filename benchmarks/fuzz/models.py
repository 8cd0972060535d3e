"""Models' replies: what a server of either protocol sends, whole, spoilt and mangled, over a real connection."""

from __future__ import annotations

import functools
import json
import time
from typing import Any

from benchmarks.fuzz.codes import ending
from benchmarks.fuzz.material import Material
from benchmarks.fuzz.nodes import settle, tools
from executor_worker.nodes.executor import Executor, Task
from executor_worker.outcome import Completed, Failed
from executor_worker.providers.base import ModelReply, ModelRequest, Provider
from executor_worker.run_context import RunContext
from tests.unit.executor_worker.nodes.doubles import Box
from tests.unit.executor_worker.providers.dialects import Dialect
from tests.unit.executor_worker.providers.fault_server import FaultServer, Reply, cut, page, stream

SECONDS = 10.0
STATUSES = (200, 400, 401, 404, 413, 429, 500, 503, 529, 204, 302)
TYPES = ("text/event-stream", "application/json", "text/html", "", "text/event-stream; charset=latin-1")


class _Server:
    """One server and its two clients, for all cases."""

    def __init__(self) -> None:
        self.http = FaultServer()
        self.dialects = [Dialect("anthropic"), Dialect("openai")]
        self.providers = [one.provider(self.http.url, timeout_s=5.0, max_retries=0) for one in self.dialects]

    def close(self) -> None:
        for provider in self.providers:
            provider.close()
        self.http.close()


@functools.cache
def server() -> _Server:
    return _Server()


def close() -> None:
    """Close the server, if there was one."""
    if server.cache_info().currsize:
        server().close()
        server.cache_clear()


class _Models:
    """The address at which the executor finds the adapter."""

    def __init__(self, provider: Provider) -> None:
        self.default = provider

    def complete(self, request: ModelRequest, run_context: RunContext) -> ModelReply:
        return self.default.complete(request, run_context)


def body(material: Material, dialect: Dialect) -> tuple[str, str | None]:
    """A reply's text, and what it says where it is whole."""
    texts = [text for text in (material.text() for _ in range(3)) if text.strip() and text.isprintable()]
    said = "".join(texts) or "hello"
    kind = material.random.randrange(4)
    if kind == 0:
        return dialect.begin() + dialect.text(said) + dialect.ping() + dialect.end(), said
    if kind == 1:
        return dialect.whole(said), said
    if kind == 2:
        arguments = json.dumps({"a": material.value(2)}) if material.chance(0.6) else material.text()
        return dialect.calling((material.random.choice(("give", "fail", "no")), arguments)), None
    return dialect.begin() + dialect.text(said) + dialect.failure("overloaded_error", material.text()), None


def spoilt(material: Material, text: str) -> str:
    """Each event's JSON with something else in some of its places."""
    lines = []
    for line in text.split("\n"):
        prefix = "data: " if line.startswith("data: ") else ""
        try:
            value: Any = material.spoilt(json.loads(line.removeprefix(prefix)), 0.25)
            lines.append(prefix + json.dumps(value))
        except (ValueError, RecursionError):
            lines.append(line)
    return "\n".join(lines)


def reply(material: Material, dialect: Dialect) -> tuple[Reply, str | None]:
    """Choose what the server is to do, and what must come of it if it does it well."""
    text, said = body(material, dialect)
    streamed = not text.startswith("{")
    if material.chance(0.2):
        return (stream(text) if streamed else page(200, text)), said
    if material.chance(0.7):
        text = spoilt(material, text)
    if material.chance(0.3):
        text = material.mangled(text.encode("utf-8", "replace")).decode("utf-8", "replace")
    text = text.encode("utf-8", "replace").decode()
    if material.chance(0.05):
        return cut(text), None
    if material.chance(0.1):
        retry = {"retry-after": material.random.choice(("0", "-1", "x", "1e9", "Wed, 21 Oct 2099 07:28:00 GMT"))}
        return page(material.random.choice(STATUSES), text, material.random.choice(TYPES), **retry), None
    return (stream(text) if streamed else page(200, text)), None


def case(material: Material) -> str:
    """Run an llm node or an agent on it."""
    which = material.random.randrange(2)
    here = server()
    answer, said = reply(material, here.dialects[which])
    here.http.requests.clear()
    here.http.headers.clear()
    here.http.will(answer)
    # What is remembered of a model (that it asked to wait, say) is another case's.
    model = f"m-{material.random.getrandbits(48):x}"
    config: dict[str, Any] = {"llm_config": {"prompt": "p", "model": model}}
    if material.chance(0.4):
        config |= {"tools": ["*"], "max_iterations": 2}
    executor = Executor(models=_Models(here.providers[which]), tools=Box(tools(material)), default_model="m")
    outcome = executor.execute(Task("g", "n", "", config, {}, {}), RunContext(time.monotonic() + SECONDS))
    told = ending(outcome)
    if said is not None:
        assert isinstance(outcome, Completed), outcome
        assert outcome.output["result" if outcome.mode == "agent" else "content"] == said
    elif isinstance(outcome, Failed):
        assert told.startswith("llm_") or told in ("max_iterations", "node_timeout"), outcome
    settle(outcome)
    return told
