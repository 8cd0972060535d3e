"""All configured MCP servers, and which of them has a tool of a given name."""

from __future__ import annotations

import concurrent.futures
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from functools import partial

from executor_worker.errors import UnknownTool
from executor_worker.tools.base import Log
from executor_worker.tools.event_loop import Loop
from executor_worker.tools.known_names import KnownNames, Names
from executor_worker.tools.mcp.server import McpServer
from executor_worker.tools.mcp.tool import McpTool
from executor_worker.tools.mcp_config import ServerConfig

# So long after the first look-up of all, names are waited for that a server which is still connecting may have, or has,
# as the pool knows. A caller that looks for another name does not wait.
_MAY_HAVE_SECONDS, _HAS_SECONDS = 1.0, 3.0
_LIST_SECONDS = 3.0
_LOOK_AGAIN_SECONDS = 5.0  # a server's tools are listed anew for an unknown name at most this often
_LEAVE_SECONDS = 4.0
_POLL_SECONDS = 0.1


class McpServers:
    """Connects when first asked for a tool, which must come after forking: to all servers at once."""

    def __init__(
        self,
        configs: Sequence[ServerConfig],
        loop: Loop,
        default_timeout: float,
        environ: Mapping[str, str],
        log: Log,
        known: KnownNames,
        host: bytes | str | None = None,
    ) -> None:
        """
        Args:
            known: What other processes have seen of the servers.
            host: See `McpServer`.
        """
        self._servers = [
            McpServer(config, environ, log, known.note, host, partial(known.states.note, at))
            for at, config in enumerate(configs)
        ]
        self._known_names = known
        self._loop = loop
        self._default_timeout = default_timeout
        self._owners: list[concurrent.futures.Future[None]] = []
        self._started_at = 0.0
        self._listed_again = 0.0

    def find(self, name: str) -> McpTool | None:
        """
        Look *name* up, plain or as `server.tool`, in what the servers listed.

        Raises:
            UnknownTool: Two servers have a tool of that name.
        """
        self._start()
        self._await_owners(name)
        return self._known(name)

    def _await_owners(self, name: str) -> None:
        """Wait for servers that are still connecting and may have a tool of that name, for a while."""
        if self._settled():
            return
        known = self._known_names.read()
        has = [server for server in self._servers if _owns(server, name, known)]
        may = [server for server in self._servers if server.name not in known]
        for servers, seconds in ((has, _HAS_SECONDS), (may, _MAY_HAVE_SECONDS)):
            left = self._started_at + seconds - time.monotonic()
            self._wait(lambda: all(server.is_settled for server in servers), left)  # noqa: B023 - called here
        self._known_names.note_missed(server.name for server in may if not server.is_settled)

    def find_again(self, name: str) -> McpTool | None:
        """Look a name up that no server has: ask all servers once more, and give those that were not reached time."""
        unreached = self._unreached_for(name)
        attempts = {server: server.attempts for server in unreached}  # before they hurry: some need no time to fail
        for server in unreached:
            self._loop.run(server.hurry)
        longest = max((server.config.target.connect_seconds for server in attempts), default=0.0)

        def tried() -> bool:
            return all(server.was_reached or server.attempts > before for server, before in attempts.items())

        found = self._listed_anew(name)
        if found is None:
            self._wait(lambda: tried() or self._known(name) is not None, longest)
        return found or self._known(name)

    def _unreached_for(self, name: str) -> list[McpServer]:
        """Those never reached that may have a tool of that name: only the one, if it is named too."""
        named = [server for server in self._servers if name.startswith(f"{server.name}.")]
        return [server for server in named or self._servers if not server.was_reached]

    def has(self, name: str) -> bool:
        """Tell whether a server has listed a tool of that name, plain or as `server.tool`."""
        return any(
            name in server.tools or name.removeprefix(f"{server.name}.") in server.tools
            for server in self._servers
            if server.tools
        )

    def all(self) -> list[McpServer]:
        return list(self._servers)

    def unreached(self) -> list[McpServer]:
        """Servers that never listed their tools to this process."""
        return [server for server in self._servers if not server.was_reached]

    def tools(self) -> list[McpTool]:
        """List the tools that can be called now; as `server.tool` if two servers share a name."""
        self._start()
        self._wait(self._settled, self._longest())
        reached = [server for server in self._servers if server.client is not None]
        shared = Counter(name for server in self._servers for name in server.tools or ())
        return [
            self._tool(server, name, name if shared[name] == 1 else f"{server.name}.{name}")
            for server in reached
            for name in server.tools or ()
        ]

    def names(self) -> list[str]:
        """All names ever listed, for suggestions."""
        return [name for server in self._servers for name in server.tools or ()]

    def probe(self) -> list[tuple[str, bool, str]]:
        """Connect to all; for each its name, whether it answered, and what it is or why not."""
        self._start()
        self._wait(self._settled, self._longest())
        return [_finding(server) for server in self._servers]

    def close(self) -> None:
        """Leave all servers; those that were started here are ended."""
        if not self._owners:
            return
        for server in self._servers:
            self._loop.run(server.leave)
        concurrent.futures.wait(self._owners, _LEAVE_SECONDS)
        self._owners.clear()

    def _start(self) -> None:
        if not self._owners:
            # In a context of their own: what they log, for as long as they live, is not about the item at hand.
            self._owners = [Context().run(self._loop.run, server.own) for server in self._servers]
            self._started_at = time.monotonic()

    def _settled(self) -> bool:
        return all(server.is_settled for server in self._servers)

    def _longest(self) -> float:
        return max((server.config.target.connect_seconds for server in self._servers), default=0.0) + _POLL_SECONDS

    def _wait(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return
            waiting = next((server for server in self._servers if not server.is_settled), self._servers[0])
            with waiting.changed:
                waiting.changed.wait(min(_POLL_SECONDS / 4, left))

    def _listed_anew(self, name: str) -> McpTool | None:
        """Ask again: not every server tells when its tools change."""
        connected = {server: server.listings for server in self._servers if server.client is not None}
        if not connected or time.monotonic() - self._listed_again < _LOOK_AGAIN_SECONDS:
            return None
        self._listed_again = time.monotonic()
        for server in connected:
            self._loop.run(server.list_again)

        def listed() -> bool:
            return all(server.listings > before or server.client is None for server, before in connected.items())

        self._wait(lambda: listed() or self._known(name) is not None, _LIST_SECONDS)
        return self._known(name)

    def _known(self, name: str) -> McpTool | None:
        having = [server for server in self._servers if name in (server.tools or ())]
        if len(having) > 1:
            full = " or ".join(f"{server.name}.{name}" for server in having)
            raise UnknownTool(f"{len(having)} MCP servers have a tool {name!r}: name it {full}")
        if having:
            return self._tool(having[0], name, name)
        for server in self._servers:
            tool = name.removeprefix(f"{server.name}.")
            if tool != name and tool in (server.tools or ()):
                return self._tool(server, tool, name)
        return None

    def _tool(self, server: McpServer, tool: str, name: str) -> McpTool:
        return McpTool(server, (server.tools or {})[tool], name, self._default_timeout, self._loop)


def _owns(server: McpServer, name: str, known: Names) -> bool:
    """Tell whether *server* has that tool by all that is known: what was listed before, and what MCP_CONFIG says."""
    tool = name.removeprefix(f"{server.name}.")
    listed = known.get(server.name) or ()
    return name in listed or name in server.config.tools or tool != name


def _finding(server: McpServer) -> tuple[str, bool, str]:
    if server.client is None:
        return server.name, False, server.problem
    count = len(server.tools or ())
    return server.name, True, f"{count} tool{'' if count == 1 else 's'} ({server.described})"
