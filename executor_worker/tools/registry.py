"""All tools of a process, looked up by name: MCP servers', functions, built-in ones, legacy REST."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from executor_worker.errors import ToolUnavailable, UnknownTool
from executor_worker.run_context import Circuit
from executor_worker.settings.proxies import proxy_problem
from executor_worker.tools.base import Log, Tool, silent
from executor_worker.tools.builtin.built_in import built_in_tools
from executor_worker.tools.event_loop import Loop
from executor_worker.tools.functions.functions import FunctionTool
from executor_worker.tools.functions.loading import load_functions
from executor_worker.tools.isolation import IsolatedTool, Isolation
from executor_worker.tools.known_names import KnownNames
from executor_worker.tools.mcp_config import Remote, load_servers
from executor_worker.tools.settings import ToolSettings

if TYPE_CHECKING:
    from executor_worker.tools.mcp import McpServers
    from executor_worker.tools.rest import RestTools

_MOST_NAMES = 10  # shown of those that are known


class ToolRegistry:
    """
    The process's `Toolbox`.

    Making it reads the settings and starts nothing, so that it may be made before forking;
    servers are connected to at the first look-up, which must come after.

    Attributes:
        built_in: The tools that are always there.
    """

    def __init__(
        self,
        settings: ToolSettings,
        functions: Sequence[FunctionTool] | None = None,
        log: Log = silent,
        known: KnownNames | None = None,
        host: bytes | str | None = None,
        built_in: list[FunctionTool] | None = None,
    ) -> None:
        """
        Args:
            functions: From `load_functions`; None: loaded here.
            known: What the pool's processes have seen of the servers; None: only this one looks.
            host: Address of the pool's host of shared servers; None: each server is this process' own.
            built_in: From `built_in_tools`; None: made here.

        Raises:
            ConfigError: MCP_SERVERS, MCP_CONFIG, TOOL_MODULES or the proxy for a server can't be used.
        """
        self._log = log
        self._settings = settings
        self._known = known or KnownNames()
        self._host = host
        self._loop = Loop()
        self._isolation = Isolation(settings.tool_modules, log)
        self.built_in = built_in_tools(settings.http_allow) if built_in is None else built_in
        found = load_functions(settings.tool_modules, log) if functions is None else functions
        self._functions = self._by_name([*found, *self.built_in])
        self.secrets: tuple[str, ...] = ()  # of the servers, never to be shown
        self._mcp = self._mcp_servers()
        # A server's tool goes before a function of its name.
        self.at_hand = (
            {}
            if self._mcp
            else {name: tool for name, tool in self._functions.items() if not isinstance(tool, IsolatedTool)}
        )
        self._rest = self._rest_tools()
        self._reported: set[str] = set()

    @property
    def function_names(self) -> list[str]:
        """Names of the functions, built-in ones included."""
        return sorted(self._functions)

    @property
    def functions(self) -> Iterable[Tool]:
        """The functions, built-in ones included."""
        return self._functions.values()

    def circuits_of_function(self, name: str) -> Sequence[Circuit]:
        """Say with what a function is held back."""
        circuits: Sequence[Circuit] = getattr(self._functions.get(name), "circuits", ())
        return circuits

    @property
    def scopes(self) -> list[str]:
        """Scopes of its servers, as circuits tell them apart."""
        servers = [server.config.circuit.scope for server in self._mcp.all()] if self._mcp else []
        return [*servers, self._rest.circuit.scope] if self._rest else servers

    def find(self, name: str) -> Tool:
        """
        Look a tool up by its exact name, or as `server.tool`; see `Toolbox.find`.

        A name that a server has waits only for servers that are still connecting and may have it too, a few seconds at
        most; one that no other has, for as long as connecting may take.
        """
        found: Tool | None = self._mcp.find(name) if self._mcp else None
        found = found or self._functions.get(name)
        if found is None and self._rest:
            found = self._rest.find(name)
        if found is None and self._mcp:
            found = self._mcp.find_again(name)
        if found is not None:
            if isinstance(found, IsolatedTool):
                found.prepare()
            return found
        self._refuse_while_unreached(name)
        raise UnknownTool(f"there is no tool {name!r}{self._suggestion(name)}")

    def unreached(self, name: str) -> Sequence[Circuit]:
        """Say which server was never reached and may have a tool of that name; see `Toolbox.unreached`."""
        if name in self._functions or not (self._mcp or self._rest):
            return ()
        if (self._mcp and self._mcp.has(name)) or (self._rest and name in self._rest.names()):
            return ()
        servers = self._unreached_for(name)
        return (servers[0][2],) if servers else ()

    def all(self) -> list[Tool]:
        """Every tool that can be called now, by name; servers that can't be reached are logged and left out."""
        tools: dict[str, Tool] = {tool.name: tool for tool in self._rest.tools()} if self._rest else {}
        tools |= self._functions
        if any(isinstance(tool, IsolatedTool) for tool in self._functions.values()):
            self._isolation.start()
        if self._mcp:
            tools |= {tool.name: tool for tool in self._mcp.tools()}
        self._report_unreached()
        return [tools[name] for name in sorted(tools)]

    def left_out(self) -> list[tuple[str, str, str]]:
        """List what servers have listed in a way that can't be used: server, tool and why."""
        servers = self._mcp.all() if self._mcp else []
        return [(server.name, one.tool, one.reason) for server in servers for one in server.left_out]

    def replaced(self) -> list[tuple[str, str, str]]:
        """List names that more than one has: the name, whose tool is called, and whose is not."""
        functions = [(tool.name, tool.source) for tool in (*self._functions.values(), *self._hidden)]
        servers = self._mcp.all() if self._mcp else []
        having = [(name, f"mcp {server.name}") for server in servers for name in server.tools or ()]
        found: dict[str, list[str]] = {}
        for name, source in (
            *having,
            *functions,
            *((name, "rest") for name in (self._rest.names() if self._rest else ())),
        ):
            found.setdefault(name, []).append(source)
        return [(name, sources[0], ", ".join(sources[1:])) for name, sources in found.items() if len(sources) > 1]

    def probe(self) -> list[tuple[str, bool, str]]:
        """Try every configured server: its name, whether it answered, and what it is or why not."""
        findings = self._mcp.probe() if self._mcp else []
        return [*findings, self._rest.probe()] if self._rest else findings

    def close(self) -> None:
        """Leave all servers, and end those that were started here."""
        if self._mcp:
            self._mcp.close()
        if self._rest:
            self._rest.close()
        self._isolation.close()
        self._loop.close()

    def _by_name(self, functions: Sequence[FunctionTool]) -> dict[str, Tool]:
        """The first of each name: functions go before built-in ones."""
        named: dict[str, Tool] = {}
        self._hidden: list[Tool] = []
        for tool in functions:
            tool.timeout = tool.own_timeout or self._settings.tool_timeout_s
            tool.log = self._log
            if tool.name in named:
                self._hidden.append(tool)
            else:
                named[tool.name] = IsolatedTool(tool, self._isolation) if tool.isolate else tool
        return named

    def _mcp_servers(self) -> McpServers | None:
        settings = self._settings
        configs = load_servers(settings.mcp_servers, settings.mcp_config, settings.environ)
        if not configs:
            return None
        self._require_proxies(config.target.url for config in configs if isinstance(config.target, Remote))
        self.secrets = tuple(secret for config in configs for secret in config.secrets)
        from executor_worker.tools.mcp import McpServers  # 27 MiB and 0.6 s, for those who have a server

        timeout_s, environ = settings.tool_timeout_s, settings.environ
        return McpServers(configs, self._loop, timeout_s, environ, self._log, self._known, self._host)

    def _rest_tools(self) -> RestTools | None:
        if not self._settings.api_tools_url:
            return None
        self._require_proxies([self._settings.api_tools_url])
        from executor_worker.tools.rest import RestTools  # its HTTP client, for those who still use it

        return RestTools(self._settings.api_tools_url, self._settings.tool_timeout_s)

    @staticmethod
    def _require_proxies(urls: Iterable[str]) -> None:
        for problem in filter(None, map(proxy_problem, urls)):
            raise problem

    def _refuse_while_unreached(self, name: str) -> None:
        for server, problem, _ in self._unreached_for(name)[:1]:
            raise ToolUnavailable(f"there is no tool {name!r} so far, and server {server} was never reached: {problem}")

    def _unreached_for(self, name: str) -> list[tuple[str, str, Circuit]]:
        """Servers never reached that may have a tool of that name, the likeliest first: name, problem, circuit."""
        servers = self._mcp.unreached() if self._mcp else []
        unreached = [(server.name, server.problem, server.config.circuit) for server in servers]
        if self._rest and not self._rest.was_reached:
            unreached.append(("of API_TOOLS_URL", self._rest.problem, self._rest.circuit))
        return sorted(unreached, key=lambda entry: not name.startswith(f"{entry[0]}."))

    def _suggestion(self, name: str) -> str:
        known = {*self._functions}
        known.update(self._mcp.names() if self._mcp else ())
        known.update(self._rest.names() if self._rest else ())
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        if near:
            return f"; the nearest: {', '.join(near)}"
        shown = sorted(known)[:_MOST_NAMES]
        return f"; there are {', '.join(shown)}{' …' if len(known) > len(shown) else ''}"

    def _report_unreached(self) -> None:
        findings = [(server.name, server.client is not None) for server in self._mcp.all()] if self._mcp else []
        if self._rest:
            findings.append(("API_TOOLS_URL", not self._rest.problem))
        for name, reached in findings:
            if reached:
                self._reported.discard(name)
            elif name not in self._reported:
                self._reported.add(name)
                self._log("warn", "tools.left_out", server=name, advice="`executor-worker check` says why")
