"""Ollama's own chat: what is sent, how lines become an answer, and the addresses that lead to it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from executor_worker.errors import ModelError
from executor_worker.providers import Models, ModelSettings, endpoint, needs_key
from executor_worker.providers.base import ModelRequest, ToolSpec, UserTurn
from executor_worker.run_context import RunContext
from executor_worker.settings import Settings


class Server:
    """Answers each request with the next of `answers`: a status, a content type and a body."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str, str]] = []
        self.seen: list[tuple[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.seen.append((self.path, json.loads(body)))
                status, kind, text = outer.answers.pop(0)
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/api/chat"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def ask(server: Server, **more: Any) -> Any:
    models = Models(ModelSettings("ollama-native", base_url=server.url, max_retries=0))
    try:
        request = ModelRequest("m", (UserTurn("hi"),), **more)
        return models.complete(request, RunContext(time.monotonic() + 10))
    finally:
        models.close()


def lines(*parts: Any) -> tuple[int, str, str]:
    return 200, "application/x-ndjson", "\n".join(json.dumps(part) for part in parts)


def test_lines_become_one_answer_with_its_usage(server: Server) -> None:
    """Texts are joined; the last line brings the counts."""
    server.answers.append(
        lines(
            {"model": "m", "message": {"role": "assistant", "content": "he"}, "done": False},
            {"model": "m", "message": {"role": "assistant", "content": "llo"}, "done": False},
            {"model": "m", "done": True, "done_reason": "length", "prompt_eval_count": 3, "eval_count": 2},
        )
    )
    reply = ask(server, max_tokens=7, system="be brief")
    assert (reply.text, reply.stop_reason, reply.usage.input_tokens, reply.usage.output_tokens) == (
        "hello",
        "max_tokens",
        3,
        2,
    )
    assert server.seen == [
        (
            "/api/chat",
            {
                "model": "m",
                "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
                "stream": True,
                "options": {"num_predict": 7},
            },
        )
    ]


def test_a_server_that_does_not_stream_is_understood(server: Server) -> None:
    """One answer, spread over lines and with nothing in it but the text."""
    server.answers.append((200, "application/json", json.dumps({"message": {"content": "all of it"}}, indent=2)))
    assert ask(server).text == "all of it"


def test_an_answer_that_breaks_off_is_none(server: Server) -> None:
    """The last line says `done`."""
    server.answers.append(lines({"message": {"content": "he"}, "done": False}))
    with pytest.raises(ModelError, match="broke off"):
        ask(server)


def test_an_unknown_model_is_said_to_be_unknown(server: Server) -> None:
    """Its sentence reaches the author."""
    server.answers.append((404, "application/json", '{"error":"model \\"m\\" not found"}'))
    with pytest.raises(ModelError, match="not found"):
        ask(server)


def test_tool_calls_come_with_their_arguments(server: Server) -> None:
    """Arguments are an object here, and calls have no ids."""
    call = {"function": {"name": "look", "arguments": {"at": 1}}}
    server.answers.append(lines({"message": {"content": "", "tool_calls": [call]}, "done": True}))
    schema = {"type": "object", "properties": {"at": {"type": "integer"}}}
    reply = ask(server, tools=(ToolSpec("look", "looks", schema),))
    [made] = reply.tool_calls
    assert (made.name, made.arguments, reply.stop_reason) == ("look", {"at": 1}, "tool_use")


@pytest.mark.parametrize(
    ("given", "provider", "url"),
    [
        ("http://h:11434/api/chat", "ollama-native", "http://h:11434/api/chat"),
        ("http://h:11434/api/generate", "ollama-native", "http://h:11434/api/chat"),
        ("http://h:8355/v1/chat/completions", "openai", "http://h:8355/v1"),
        ("http://h:8355/odd/chat/completions", "openai", "http://h:8355/odd"),
    ],
)
def test_the_path_of_the_endpoint_says_which_provider_it_is(
    tmp_path: Path, given: str, provider: str, url: str
) -> None:
    """Where LLM_PROVIDER says nothing; no key is needed then."""
    settings = Settings.load({"LLM_ENDPOINT": given}, tmp_path)
    assert settings.llm_provider == provider
    assert endpoint(provider, given) == url
    assert not needs_key(provider, given)
    assert Settings.load({"LLM_ENDPOINT": given, "LLM_PROVIDER": "ollama"}, tmp_path).llm_provider == "ollama"


def test_an_endpoint_is_used_as_it_is_with_its_query(server: Server) -> None:
    """And its server is asked for nothing else; a whole completion without a reason to finish is one."""
    server.answers.append((200, "application/json", json.dumps({"choices": [{"message": {"content": "ok"}}]})))
    url = server.url.replace("/api/chat", "/odd/chat/completions?version=2&x=")
    models = Models(ModelSettings("openai", base_url=url, max_retries=0, of_one_call=True))
    assert models.complete(ModelRequest("m", (UserTurn("hi"),)), RunContext(time.monotonic() + 10)).text == "ok"
    models.close()
    assert [path for path, _ in server.seen] == ["/odd/chat/completions?version=2&x="]
