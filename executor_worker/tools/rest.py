"""Legacy REST tools (API_TOOLS_URL), deprecated: serve them over MCP instead."""

from __future__ import annotations

import hashlib
import time
from typing import Any
from urllib.parse import quote

import httpx2
import orjson

from executor_worker.errors import NodeTimeout, ToolError, ToolFailed, ToolTimeout, ToolUnavailable, ToolUncertain
from executor_worker.network_errors import reason_of
from executor_worker.run_context import Circuit, RunContext
from executor_worker.settings.addresses import without_password
from executor_worker.settings.proxies import proxy_for
from executor_worker.tools.base import Answer, Effects, OnProgress, key_header, unheard, unsure
from executor_worker.tools.functions.functions import CallOverdue, time_limit
from executor_worker.tools.functions.json_value import to_json

_CONNECT_SECONDS = 5.0
_LIST_SECONDS = 10.0
_LIST_AGAIN_SECONDS = 5.0  # after a failure, or for an unknown name
_LARGEST_ANSWER = 64 * 1024 * 1024  # bytes
_LONGEST_MESSAGE = 500  # characters


class RestTools:
    """
    The tools of one REST server: `GET <url>/tools`, `POST <url>/tools/<name>`.

    Attributes:
        problem: Why its tools could not be listed; empty when they could.
        was_reached: Whether they ever could.
        circuit: All its tools, which are held back together.
    """

    def __init__(self, url: str, default_timeout: float) -> None:
        self.url = url.rstrip("/")
        self.problem = ""
        self.was_reached = False
        digest = hashlib.blake2b(without_password(url).encode(), digest_size=6).hexdigest()
        self.circuit = Circuit("rest", "API_TOOLS_URL", digest)
        self._default_timeout = default_timeout
        self._tools: dict[str, RestTool] = {}
        self._asked_at = -_LIST_AGAIN_SECONDS
        self._client: httpx2.Client | None = None

    def find(self, name: str) -> RestTool | None:
        """Look *name* up; the list is fetched anew for an unknown one, every five seconds at most."""
        if name not in self._tools:
            self._list()
        return self._tools.get(name)

    def tools(self) -> list[RestTool]:
        """All there are; none while the server can't be reached."""
        self._list()
        return [] if self.problem else list(self._tools.values())

    def names(self) -> list[str]:
        return list(self._tools)

    def probe(self) -> tuple[str, bool, str]:
        self._list()
        return "API_TOOLS_URL", not self.problem, self.problem or f"{len(self._tools)} tools (REST, deprecated)"

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def client(self) -> httpx2.Client:
        if self._client is None:  # made after forking
            self._client = httpx2.Client(
                timeout=httpx2.Timeout(_CONNECT_SECONDS, read=None, write=30.0),
                verify=httpx2.create_ssl_context(),
                proxy=proxy_for(self.url),
                trust_env=False,  # it would fail by proxies for others than this server
            )
        return self._client

    def _list(self) -> None:
        now = time.monotonic()
        if now - self._asked_at < _LIST_AGAIN_SECONDS:
            return
        self._asked_at = now
        try:
            with time_limit(_LIST_SECONDS):
                response = self.client().get(f"{self.url}/tools", timeout=_LIST_SECONDS)
                response.raise_for_status()
                listed = response.json()
            self._tools = self._parsed(listed)
        except CallOverdue:
            self.problem = f"no answer within {_LIST_SECONDS:g} s"
        except httpx2.HTTPStatusError as error:
            self.problem = f"GET /tools answered with HTTP status {error.response.status_code}"
        except (httpx2.HTTPError, ValueError) as error:
            self.problem = f"its tools can't be listed: {str(error)[:_LONGEST_MESSAGE]}"
        else:
            self.problem, self.was_reached = "", True

    def _parsed(self, listed: Any) -> dict[str, RestTool]:
        entries = listed.get("tools") if isinstance(listed, dict) else listed
        if not isinstance(entries, list):
            raise ValueError("GET /tools answered with something that is no list")
        tools = (RestTool(self, entry, self._default_timeout) for entry in entries if _is_tool(entry))
        return {tool.name: tool for tool in tools}


class RestTool:
    """See `Tool`."""

    def __init__(self, server: RestTools, entry: dict[str, Any], timeout: float) -> None:
        self.name: str = entry["name"]
        self.description = str(entry.get("description") or "")
        schema = entry.get("input_schema")
        self.input_schema: dict[str, Any] = schema if isinstance(schema, dict) else {"type": "object"}
        self.effects: Effects | None = None
        self.timeout = timeout
        self.source = "rest"
        self.surely_fits = unsure
        self.circuits = (server.circuit, Circuit("tool", self.name, server.circuit.scope))
        self._server = server

    def call(
        self, arguments: dict[str, Any], run_context: RunContext, key: str, on_progress: OnProgress = unheard
    ) -> Answer:
        """POST the parameters; see `Tool.call`."""
        run_context.check()
        left = run_context.left()
        try:
            with time_limit(min(self.timeout, left)):
                status, body = self._post(arguments, {**key_header(key), **run_context.tracing.headers})
        except CallOverdue:
            if left <= self.timeout:
                raise NodeTimeout(f"the node's time is up in tool {self.name}") from None
            raise ToolTimeout(f"tool {self.name} gave no answer within {self.timeout:g} s") from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise ToolUnavailable(f"the server of API_TOOLS_URL can't be reached: {reason_of(error)}") from error
        except httpx2.TransportError as error:
            raise ToolUncertain(
                f"the connection was lost while tool {self.name} was being called: it may have done its work"
            ) from error
        if status >= 400:
            raise self._refusal(status, body)
        value = to_json(_value(body))
        return Answer(value, is_json=True)

    def _post(self, arguments: dict[str, Any], headers: dict[str, str]) -> tuple[int, bytes]:
        url = f"{self._server.url}/tools/{quote(self.name, safe='')}"
        with self._server.client().stream("POST", url, json=arguments, headers=headers) as response:
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > _LARGEST_ANSWER:
                    raise ToolFailed(f"tool {self.name} answered with more than {_LARGEST_ANSWER >> 20} MiB")
            return response.status_code, bytes(body)

    def _refusal(self, status: int, body: bytes) -> ToolError:
        if status in (429, 503):
            return ToolUnavailable(f"the server of API_TOOLS_URL takes no calls now (HTTP {status})")
        said = body[:_LONGEST_MESSAGE].decode(errors="replace").strip()
        return ToolFailed(f"tool {self.name} answered with HTTP status {status}{f': {said}' if said else ''}")


def _is_tool(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("name"), str) and bool(entry["name"])


def _value(body: bytes) -> Any:
    if not body:
        return None
    try:
        return orjson.loads(body)
    except ValueError:
        return body.decode(errors="replace")
