"""A model server that is not ours: aimock, speaking Messages and chat completions on a real port."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2

from tests.kit.counterparts import node_command
from tests.kit.processes import Process
from tests.kit.waiting import free_port, wait_until


class ModelServer:
    """
    A running aimock; it answers what it was told to, and 503 to all else (`--strict`).

    Attributes:
        url: What LLM_BASE_URL takes for `anthropic`.
        openai_url: What LLM_BASE_URL takes for `openai`.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.openai_url = f"{self.url}/v1"
        self.options = options
        # Something has to be there for it to start with; nothing ever says this.
        (folder / "fixtures.json").write_text(
            json.dumps({"fixtures": [{"match": {"userMessage": "\x00never"}, "response": {"content": ""}}]})
        )
        self._http = httpx2.Client(base_url=self.url, timeout=10)
        self._process: Process | None = None
        self.start()

    @property
    def process(self) -> Process:
        assert self._process is not None, "the server is not running"
        return self._process

    @property
    def env(self) -> dict[str, str]:
        """The settings that lead a pool here, as `anthropic`."""
        return {"LLM_PROVIDER": "anthropic", "LLM_BASE_URL": self.url, "LLM_API_KEY": "test-key"}

    @property
    def openai_env(self) -> dict[str, str]:
        """The settings that lead a pool here, as `openai`."""
        return {
            "LLM_PROVIDER": "openai",
            "LLM_BASE_URL": self.openai_url,
            "LLM_API_KEY": "test-key",
            "LLM_MODEL": "test-model",
        }

    def start(self) -> None:
        """Start it, on the same port again after a `kill`."""
        command = [*node_command("aimock"), "-p", str(self.port), "-f", str(self.folder / "fixtures.json"), "--strict"]
        with (self.folder / "log").open("ab") as log:
            self._process = Process([*command, *self.options], stdout=log, stderr=log)
        wait_until(self._answers, 20, f"aimock answers; its log: {self.folder / 'log'}")

    def _answers(self) -> bool:
        assert self.process.running(), (self.folder / "log").read_text()[-2000:]
        try:
            return self._http.get("/__aimock/health").is_success
        except httpx2.TransportError:
            return False

    def kill(self) -> None:
        """End it as a crash would; what it was told is forgotten."""
        self.process.kill()

    def answer(
        self, message: str, response: dict[str, Any] | str, *, match: dict[str, Any] | None = None, **more: Any
    ) -> None:
        """
        Answer requests whose last user message contains *message*; what was told first wins.

        Args:
            response: A text, or aimock's own form: `{"content": …}`, `{"toolCalls": [{"name", "arguments"}]}`,
                `{"error": {"message", "type"}, "status": 429}`.
            match: More conditions, e.g. `{"hasToolResult": False}`, `{"turnIndex": 1}`, `{"sequenceIndex": 0}`.
            more: More of the fixture, e.g. `latency=50`, `chaos={"disconnectRate": 1}`.
        """
        said = {"content": response} if isinstance(response, str) else response
        conditions = {"userMessage": message, **(match or {})}
        self._post("/__aimock/fixtures", {"fixtures": [{"match": conditions, "response": said, **more}]})

    def calls_tool(self, message: str, tool: str, arguments: dict[str, Any], then: str) -> None:
        """Answer *message* by calling *tool*, and its result by the text *then*."""
        called = {"toolCalls": [{"name": tool, "arguments": arguments}]}
        self.answer(message, called, match={"hasToolResult": False})
        self.answer(message, then, match={"hasToolResult": True})

    def fail_next(self, status: int, kind: str = "api_error", message: str = "injected") -> None:
        """Answer the next request, whatever it is, with an error; several add up."""
        self._post("/__aimock/error", {"status": status, "body": {"type": kind, "message": message}})

    def requests(self) -> list[dict[str, Any]]:
        """All that was asked so far, oldest first: `path`, `headers`, `body`, `response.status`."""
        journal: list[dict[str, Any]] = self._http.get("/__aimock/journal").json()
        return journal

    def reset(self) -> None:
        """Forget what it was told and asked."""
        self._post("/__aimock/reset", {})

    def _post(self, path: str, body: dict[str, Any]) -> None:
        answer = self._http.post(path, json=body)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"

    def close(self) -> None:
        """End it for good."""
        self._http.close()
        if self._process is not None:
            self._process.kill()
